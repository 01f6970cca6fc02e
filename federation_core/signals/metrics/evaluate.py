"""The engine: evaluates an expression on a grid, whole frames at a time.

Rule: the engine does no I/O and does not know clusters. What a selector stands for comes from a `Source`: raw samples
beside a cluster, the clusters' united results at the root. It evaluates what Prometheus 3 would, or raises.
Source: Prometheus documentation, "Querying basics", "Operators", "Functions".
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from federation_core.signals.metrics.aggregate import aggregate
from federation_core.signals.metrics.binary import apply_binary
from federation_core.signals.metrics.expr import (
    Aggregate,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    Unary,
    VectorSelector,
)
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.functions import FUNCTIONS, Argument
from federation_core.signals.metrics.series import drop_name, unite
from federation_core.signals.metrics.windows import Windows


class Source(Protocol):
    """Where selectors get their data."""

    def vector(self, node: VectorSelector, grid: Grid) -> Frame:
        """Return the instant vector of a selector on the grid."""
        ...

    def windows(self, node: MatrixSelector, grid: Grid) -> Windows:
        """Return the windows of a matrix selector on the grid."""
        ...


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation on one grid. `warnings` collects what must be said with the answer, each once."""

    grid: Grid
    source: Source
    warnings: dict[str, None] = field(default_factory=dict)

    def warn(self, text: str) -> None:
        """Note a warning."""
        self.warnings[text] = None

    def frame(self, expr: Expr) -> Frame:
        """Return the value of a scalar or vector expression.

        Raises QueryExecutionError: Prometheus would refuse to evaluate it on this data.
        """
        match expr:
            case NumberLiteral(value=value):
                return Frame.scalar(self.grid, value)
            case VectorSelector():
                return self.source.vector(expr, self.grid)
            case Unary(operand=operand):
                negated = self.frame(operand)
                return drop_name(replace(negated, values=-negated.values))
            case Call(function=name, arguments=arguments):
                return self._call(name, arguments)
            case Aggregate(operator=operator, operand=operand, grouping=grouping, parameter=parameter):
                size = None if parameter is None else self.frame(parameter)
                return aggregate(operator, self.frame(operand), grouping, size, self.warn)
            case Binary(left=left, right=right):
                return apply_binary(expr, self.frame(left), self.frame(right))
        raise TypeError(f"not an expression with a value per step: {type(expr).__name__}")

    def _call(self, name: str, arguments: tuple[Expr, ...]) -> Frame:
        function = FUNCTIONS[name]
        result = function.apply([self._argument(argument) for argument in arguments], self.warn).pruned()
        return unite(result) if function.keeps_name else drop_name(result)

    def _argument(self, expr: Expr) -> Argument:
        return self.source.windows(expr, self.grid) if isinstance(expr, MatrixSelector) else self.frame(expr)


def evaluate(expr: Expr, grid: Grid, source: Source) -> tuple[Frame, tuple[str, ...]]:
    """Return the value of an expression on a grid, and the warnings that belong to it.

    Raises QueryExecutionError: Prometheus would refuse to evaluate it on this data.
    """
    evaluation = Evaluation(grid, source)
    # Overflow, 0/0 and comparisons with NaN have defined values in PromQL; they are no accidents to report.
    with np.errstate(all="ignore"):
        return evaluation.frame(expr), tuple(evaluation.warnings)

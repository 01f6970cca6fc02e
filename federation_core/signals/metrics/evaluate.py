"""The engine: evaluates an expression on a grid, whole frames at a time.

Rule: the engine does no I/O and does not know clusters. What a selector stands for comes from a `Source`: raw samples
beside a cluster, the clusters' united results at the root. It evaluates what Prometheus 3 would, or raises. What would
take more room than the query may have is refused before the room is taken.
Source: Prometheus documentation, "Querying basics", "Operators", "Functions".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

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
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
)
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.functions import FUNCTIONS
from federation_core.signals.metrics.functions.contract import Argument, Context
from federation_core.signals.metrics.moments import is_pinned, moment_of, subquery_grid
from federation_core.signals.metrics.series import drop_marked_names, drop_name, unite
from federation_core.signals.metrics.session import Session, Source
from federation_core.signals.metrics.windows import Windows, columns_of, windows_of
from federation_core.tenancy import Limits

T = TypeVar("T", bound=Argument)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A part of an evaluation: all that is evaluated on one grid."""

    grid: Grid
    session: Session

    def frame(self, expr: Expr) -> Frame:
        """Return the value of a scalar or vector expression.

        Raises QueryExecutionError: Prometheus would refuse to evaluate it on this data. QueryTooLarge.
        """
        self.session.check()
        found = self._once(expr) if self.grid.steps > 1 and is_pinned(expr) else self._frame(expr)
        self.session.require_room(found.values.size)
        if self.session.delayed_names and found.unnamed is None:
            found = replace(found, unnamed=np.zeros(found.series_count, dtype=np.bool_))
        return found

    def _once(self, expr: Expr) -> Frame:
        """Evaluate what has the same value at every step at one of them."""
        found = Evaluation(replace(self.grid, steps=1), self.session).frame(expr)
        self.session.require_room(found.series_count * self.grid.steps)
        values = np.repeat(found.values, self.grid.steps, axis=1)
        return replace(found, grid=self.grid, values=values, present=np.repeat(found.present, self.grid.steps, axis=1))

    def windows(self, expr: Expr) -> Windows:
        """Return the value of a range vector expression.

        Raises QueryExecutionError, QueryTooLarge.
        """
        match expr:
            case MatrixSelector():
                return self.session.source.windows(expr, self.grid)
            case Subquery():
                return self._subquery(expr)
        raise TypeError(f"not a range vector: {type(expr).__name__}")

    def _frame(self, expr: Expr) -> Frame:
        match expr:
            case NumberLiteral(value=value):
                return Frame.scalar(self.grid, value)
            case VectorSelector():
                return self.session.source.vector(expr, self.grid)
            case Unary(operand=operand):
                negated = self.frame(operand)
                return drop_name(replace(negated, values=-negated.values))
            case Call():
                return self._call(expr)
            case Aggregate():
                return self._aggregate(expr)
            case Binary(left=left, right=right):
                first, second = self._all((left, right), self.frame)
                return apply_binary(expr, first, second, self.session)
        raise TypeError(f"not an expression with a value per step: {type(expr).__name__}")

    def _all(self, exprs: Sequence[Expr], evaluate_one: Callable[[Expr], T]) -> list[T]:
        """Evaluate several operands; the earlier ones are held while the later ones are evaluated."""
        before, found = self.session.held, []
        for expr in exprs:
            found.append(evaluate_one(expr))
            self.session.held += _size(found[-1])
        self.session.held = before
        return found

    def _call(self, call: Call) -> Frame:
        session = self.session
        if call.function == "timestamp" and isinstance(call.arguments[0], VectorSelector):
            return drop_name(self._delayable(session.source.timestamps(call.arguments[0], self.grid)))
        function = FUNCTIONS[call.function]
        context = Context(
            self.grid, call, session.warn, session.info, session.check, session.require_room, session.write
        )
        arguments = self._all(call.arguments, self._argument)
        result = function.apply(arguments, context).pruned()
        if function.keeps_name:
            return unite(result)
        # Over a range, Prometheus looks at whole series: those that become one are an error though they never meet.
        ranged = any(isinstance(argument, Windows) for argument in arguments)
        return drop_name(self._delayable(result), strictly=ranged)

    def _delayable(self, frame: Frame) -> Frame:
        if not self.session.delayed_names or frame.unnamed is not None:
            return frame
        return replace(frame, unnamed=np.zeros(frame.series_count, dtype=np.bool_))

    def _argument(self, expr: Expr) -> Argument:
        match expr:
            case StringLiteral(value=value):
                return value
            case MatrixSelector() | Subquery():
                return self.windows(expr)
        return self.frame(expr)

    def _aggregate(self, node: Aggregate) -> Frame:
        operands = (node.operand,) if node.parameter is None else (node.operand, node.parameter)
        vector, *parameter = self._all(operands, self._argument)
        assert isinstance(vector, Frame)
        return aggregate(node, vector, parameter[0] if parameter else None, self.session)

    def _subquery(self, node: Subquery) -> Windows:
        inner = subquery_grid(node, self.grid)
        self.session.require_room(inner.steps)
        if inner.steps:
            values = drop_marked_names(Evaluation(inner, self.session).frame(node.operand))
        else:
            values = Frame.empty(inner)
        self.session.require_room(values.values.size + values.series_count * self.grid.steps)
        return windows_of(columns_of(values), self.grid, node.window_ms, node.offset_ms, moment_of(node))


def _size(value: Argument) -> int:
    match value:
        case Frame():
            return value.values.size
        case Windows():
            return value.first.size
    return 0


def evaluate(
    expr: Expr,
    grid: Grid,
    source: Source,
    *,
    max_values: int = Limits().max_values,
    check: Callable[[], None] = lambda: None,
    delayed_names: bool = False,
    held: int = 0,
) -> tuple[Frame | Windows | str, tuple[str, ...]]:
    """Return the value of an expression on a grid, and its annotations: a frame, the windows of a range, a string.

    Moments (`@ start()`) and the steps of subqueries must have been resolved. See `Session` for the options; `held`
    values are held already by what was evaluated before.

    Raises QueryExecutionError: Prometheus would refuse to evaluate it on this data. QueryTooLarge: there is no room.
    """
    if isinstance(expr, StringLiteral):
        return expr.value, ()
    session = Session(source, max_values, check, delayed_names, held=held)
    evaluation = Evaluation(grid, session)
    # Overflow, 0/0 and comparisons with NaN have defined values in PromQL; they are no accidents to report.
    with np.errstate(all="ignore"):
        if isinstance(expr, MatrixSelector | Subquery):
            return evaluation.windows(expr), session.annotations()
        return drop_marked_names(evaluation.frame(expr)), session.annotations()

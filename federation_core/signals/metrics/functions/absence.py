"""absent and absent_over_time: one series where there is none.

Rule: the series has the labels that the argument's selector fixes by an equality matcher, as it is written: never the
name, and no label that further matchers are about; the result of any other expression fixes none.
Source: Prometheus documentation, "Functions / absent, absent_over_time".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from federation_core.labels import NAME, Labels, MatchOp
from federation_core.signals.metrics.expr import Expr, MatrixSelector, VectorSelector
from federation_core.signals.metrics.frame import Bools, Frame
from federation_core.signals.metrics.functions.contract import (
    Argument,
    Context,
    Function,
    frame_argument,
    windows_argument,
)


def labels_of_absent(expr: Expr) -> Labels:
    """Return the labels of the series that stands for the absence of an expression's result."""
    if not isinstance(expr, VectorSelector | MatrixSelector):
        return Labels()
    fixed: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in expr.selector.matchers:
        if matcher.op is MatchOp.EQ and matcher.label not in seen:
            fixed[matcher.label] = matcher.value
            seen.add(matcher.label)
        else:
            fixed.pop(matcher.label, None)
    fixed.pop(NAME, None)
    return Labels.of(fixed)


def _absent(arguments: Sequence[Argument], context: Context) -> Frame:
    return _where_not(frame_argument(arguments[0]).present, context)


def _absent_over_time(arguments: Sequence[Argument], context: Context) -> Frame:
    return _where_not(windows_argument(arguments[0]).counts > 0, context)


def _where_not(present: Bools, context: Context) -> Frame:
    """Return 1 at the steps at which no row of a mask, S × T, has anything."""
    absent = np.logical_not(np.logical_or.reduce(present, axis=0, keepdims=True))
    return Frame((labels_of_absent(context.call.arguments[0]),), context.grid, np.ones(absent.shape), absent)


FUNCTIONS = (
    Function("absent", _absent, per_series=False),
    Function("absent_over_time", _absent_over_time, per_series=False),
)

"""Aggregation operators, with by and without.

Rule: every aggregation is decided step by step, its parameter too. What a parameter cannot be is an error, or a
warning, whether or not there is anything to aggregate.
Source: Prometheus documentation, "Operators / Aggregation operators".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from federation_core.signals.metrics.count_values import count_values
from federation_core.signals.metrics.dispersion import (
    deviation_of,
    quantiles_of,
    variance_of,
    warnable_quantiles,
)
from federation_core.signals.metrics.expr import Aggregate
from federation_core.signals.metrics.frame import Floats, Frame, Ints
from federation_core.signals.metrics.functions.contract import Argument, frame_argument, string_argument
from federation_core.signals.metrics.groups import Groups, counts_of, filled, marks_of
from federation_core.signals.metrics.quantile import warn_about_quantile
from federation_core.signals.metrics.reductions import REDUCTIONS, overflows
from federation_core.signals.metrics.selection import SELECTIONS, select_by_rank, select_by_ratio, sizes_of
from federation_core.signals.metrics.session import Session

__all__ = ["AGGREGATIONS", "SELECTIONS", "aggregate"]

_WITHOUT_PARAMETER: Mapping[str, Callable[[Frame, Groups, Ints], Floats]] = {
    **REDUCTIONS,
    "stddev": deviation_of,
    "stdvar": variance_of,
}
#: Aggregations to series of their own: one per group, or one per group and value.
AGGREGATIONS = frozenset(_WITHOUT_PARAMETER) | {"quantile", "count_values"}


def aggregate(node: Aggregate, frame: Frame, parameter: Argument | None, session: Session) -> Frame:
    """Apply the node's aggregation to a vector; `parameter` is its evaluated parameter.

    Raises QueryExecutionError: the parameter is none that the aggregation can have. QueryTooLarge.
    """
    if node.operator == "count_values":
        assert parameter is not None
        return count_values(frame, node.grouping, string_argument(parameter), session)
    numbers = None if parameter is None else frame_argument(parameter).values[0]
    if node.operator in SELECTIONS:
        assert numbers is not None
        return _select(node, frame, numbers, session)
    if numbers is not None:
        warn_about_quantile(warnable_quantiles(numbers), session.warn)
    if not frame.series_count:
        return Frame.empty(frame.grid)
    groups = Groups.of(frame.labels, node.grouping)
    counts = counts_of(frame, groups)
    if numbers is not None:
        values = quantiles_of(frame, groups, counts, numbers)
    else:
        values = _WITHOUT_PARAMETER[node.operator](frame, groups, counts)
    if node.operator == "sum" and not np.isfinite(values).all():
        _tell_overflow(values, frame, groups, session)
    return Frame(groups.labels, frame.grid, values, counts > 0, unnamed=marks_of(frame, groups)).pruned()


def _tell_overflow(totals: Floats, frame: Frame, groups: Groups, session: Session) -> None:
    if overflows(totals, filled(frame, groups, 0.0), groups).any():
        # An average across clusters rests on such sums and is infinite with them, where one engine's would not be.
        session.warn("a sum of finite values left the range of float64 and is infinite")


def _select(node: Aggregate, frame: Frame, numbers: Floats, session: Session) -> Frame:
    if node.operator == "limit_ratio":
        return select_by_ratio(frame, numbers, session)
    sizes = sizes_of(numbers)
    if sizes is None or not frame.series_count:
        return Frame.empty(frame.grid)
    return select_by_rank(node.operator, frame, Groups.of(frame.labels, node.grouping), sizes)

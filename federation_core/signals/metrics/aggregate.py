"""Aggregation operators: sum avg min max count topk bottomk, with by and without.

Rule: groups and their rows are taken in order of the rows given, so equal input gives equal bits. Sums are
compensated. Ties of topk and bottomk are decided by label set, `cluster` compared last, so that every split of the
series over clusters keeps the same ones; NaN is taken last.
Source: Prometheus documentation, "Operators / Aggregation operators".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from federation_core.errors import QueryExecutionError
from federation_core.labels import CLUSTER, NAME, Labels
from federation_core.signals.metrics.compensated import sum_runs
from federation_core.signals.metrics.expr import Aggregate, Grouping
from federation_core.signals.metrics.frame import Floats, Frame, Ints
from federation_core.signals.metrics.functions.contract import Argument, frame_argument
from federation_core.signals.metrics.series import rank_labels
from federation_core.signals.metrics.session import Session

#: Aggregations that answer with a choice of their input series instead of one series per group.
SELECTIONS = frozenset({"topk", "bottomk"})


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Rows sorted by group: `order` lists the rows, group g's begin at starts[g]; `labels` are the groups'."""

    labels: tuple[Labels, ...]
    order: Ints
    starts: Ints

    @classmethod
    def of(cls, frame: Frame, grouping: Grouping) -> Groups:
        """Group the rows of a vector."""
        if grouping.without:
            dropped = (*grouping.labels, NAME)
            keys = [labels.without(dropped) for labels in frame.labels]
        else:
            keys = [labels.only(grouping.labels) for labels in frame.labels]
        distinct, index = rank_labels(keys)
        order = np.argsort(index, kind="stable")
        return cls(tuple(distinct), order, np.searchsorted(index[order], np.arange(len(distinct))))


def aggregate(node: Aggregate, frame: Frame, parameter: Argument | None, session: Session) -> Frame:
    """Apply the node's aggregation to a vector; `parameter` is its evaluated parameter.

    Raises QueryExecutionError: the parameter is NaN, or no 64-bit integer.
    """
    operator = node.operator
    # A wrong parameter is an error whether or not there is anything to choose from.
    sizes = _sizes(frame_argument(parameter)) if parameter is not None else np.zeros(frame.grid.steps)
    if not frame.series_count:
        return Frame.empty(frame.grid)
    groups = Groups.of(frame, node.grouping)
    if operator in SELECTIONS:
        return _select(frame, groups, sizes, largest=operator == "topk")
    counts = np.add.reduceat(frame.present[groups.order].astype(np.int64), groups.starts, axis=0)
    values = AGGREGATIONS[operator](frame, groups, counts)
    if operator == "sum" and _overflown(values, frame, groups):
        # An average across clusters rests on such sums and is infinite with them, where one engine's would not be.
        session.warn("a sum of finite values left the range of float64 and is infinite")
    return Frame(groups.labels, frame.grid, values, counts > 0).pruned()


def _filled(frame: Frame, groups: Groups, absent: float) -> Floats:
    return np.where(frame.present, frame.values, absent)[groups.order]


def _sum(frame: Frame, groups: Groups, counts: Ints) -> Floats:
    return sum_runs(_filled(frame, groups, 0.0), groups.starts)


def _avg(frame: Frame, groups: Groups, counts: Ints) -> Floats:
    divisors = np.maximum(counts, 1)
    totals = _sum(frame, groups, counts)
    if np.isfinite(totals).all():
        return totals / divisors
    # A sum that left the range of float64 says nothing about the mean: divide before adding.
    sizes = np.diff(groups.starts, append=len(groups.order))
    shares = sum_runs(_filled(frame, groups, 0.0) / np.repeat(divisors, sizes, axis=0), groups.starts)
    means: Floats = np.where(np.isfinite(totals), totals / divisors, shares)
    return means


def _min(frame: Frame, groups: Groups, counts: Ints) -> Floats:
    smallest: Floats = np.fmin.reduceat(_filled(frame, groups, np.nan), groups.starts, axis=0)
    return smallest


def _max(frame: Frame, groups: Groups, counts: Ints) -> Floats:
    largest: Floats = np.fmax.reduceat(_filled(frame, groups, np.nan), groups.starts, axis=0)
    return largest


def _count(frame: Frame, groups: Groups, counts: Ints) -> Floats:
    return counts.astype(np.float64)


def _overflown(totals: Floats, frame: Frame, groups: Groups) -> bool:
    """Tell whether any sum is infinite or NaN although all of its values are finite."""
    if np.isfinite(totals).all():
        return False
    strange = ~np.isfinite(_filled(frame, groups, 0.0))
    return bool((~np.isfinite(totals) & ~np.logical_or.reduceat(strange, groups.starts, axis=0)).any())


#: Aggregations to one series per group: (frame, groups, samples per group and step) → values.
AGGREGATIONS: Mapping[str, Callable[[Frame, Groups, Ints], Floats]] = {
    "sum": _sum,
    "avg": _avg,
    "min": _min,
    "max": _max,
    "count": _count,
}


def _sizes(parameter: Frame) -> Floats:
    sizes = parameter.values[0]
    if np.isnan(sizes).any():
        raise QueryExecutionError("Parameter value is NaN")
    # The bounds themselves are not integers of 64 bits either, as float64 rounds them up.
    if (np.abs(sizes) >= 2.0**63).any():
        raise QueryExecutionError(f"Scalar value {sizes[np.abs(sizes).argmax()]:g} overflows int64")
    whole: Floats = np.floor(sizes)
    return whole


def _select(frame: Frame, groups: Groups, sizes: Floats, *, largest: bool) -> Frame:
    """Keep in every group and at every step the `sizes` largest (or smallest) values."""
    rows = _in_tie_order(frame, groups)
    values, absent = frame.values[rows], ~frame.present[rows]
    group = np.repeat(np.arange(len(groups.starts)), np.diff(groups.starts, append=len(rows)))
    keys = (-values if largest else values, absent, np.broadcast_to(group[:, None], values.shape))
    # lexsort is stable, sorts NaN last and takes its last key first.
    order = np.lexsort(keys, axis=0)
    place = np.arange(len(rows)) - groups.starts[group]
    kept = np.zeros_like(frame.present)
    steps = np.arange(frame.grid.steps)
    kept[rows[order], steps] = place[:, None] < sizes
    kept &= frame.present
    chosen = replace(frame, present=kept)
    if frame.grid.is_instant:
        # An instant's answer is listed by rank, group by group.
        chosen = chosen.take(rows[order[:, 0]])
    return chosen.pruned()


def _in_tie_order(frame: Frame, groups: Groups) -> Ints:
    ties = [(labels.without((CLUSTER,)), labels.get(CLUSTER)) for labels in frame.labels]
    rank = np.empty(len(ties), dtype=np.int64)
    rank[sorted(range(len(ties)), key=ties.__getitem__)] = np.arange(len(ties))
    group = np.empty(len(ties), dtype=np.int64)
    group[groups.order] = np.repeat(np.arange(len(groups.starts)), np.diff(groups.starts, append=len(ties)))
    return np.lexsort((rank, group))

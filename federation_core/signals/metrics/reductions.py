"""Aggregations of a group to one value: sum avg min max count group.

Rule: sums are compensated. Values are added in order of the rows; NaN is a value that min and max pass over.
Source: Prometheus documentation, "Operators / Aggregation operators".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from federation_core.signals.metrics.compensated import sum_runs
from federation_core.signals.metrics.frame import Bools, Floats, Frame, Ints
from federation_core.signals.metrics.groups import Groups, filled


def sum_of(frame: Frame, groups: Groups, counts: Ints) -> Floats:
    """Return the sum of every group and step."""
    addends = filled(frame, groups, 0.0)
    totals = sum_runs(addends, groups.starts)
    overflown = overflows(totals, addends, groups)
    if overflown.any():
        # Partial sums of both signs that overflow give NaN when they are added; one after the other they do not.
        for group in np.flatnonzero(overflown.any(axis=1)).tolist():
            rows = slice(groups.starts[group], groups.starts[group] + groups.sizes[group])
            steps = np.flatnonzero(overflown[group])
            totals[group, steps] = np.cumsum(addends[rows, steps], axis=0)[-1]
    return totals


def overflows(totals: Floats, addends: Floats, groups: Groups) -> Bools:
    """Tell which sums are infinite or NaN although all of their values are finite."""
    strange = ~np.isfinite(totals)
    if not strange.any():
        return strange
    return strange & ~np.logical_or.reduceat(~np.isfinite(addends), groups.starts, axis=0)


def mean_of(frame: Frame, groups: Groups, counts: Ints) -> Floats:
    """Return the mean of every group and step."""
    addends = filled(frame, groups, 0.0)
    divisors = np.maximum(counts, 1)
    totals = sum_runs(addends, groups.starts)
    if np.isfinite(totals).all():
        return totals / divisors
    # A sum that left the range of float64 says nothing about the mean: divide before adding.
    shares = sum_runs(addends / np.repeat(divisors, groups.sizes, axis=0), groups.starts)
    means: Floats = np.where(np.isfinite(totals), totals / divisors, shares)
    return means


def _min(frame: Frame, groups: Groups, counts: Ints) -> Floats:
    smallest: Floats = np.fmin.reduceat(filled(frame, groups, np.nan), groups.starts, axis=0)
    return smallest


def _max(frame: Frame, groups: Groups, counts: Ints) -> Floats:
    largest: Floats = np.fmax.reduceat(filled(frame, groups, np.nan), groups.starts, axis=0)
    return largest


def _count(frame: Frame, groups: Groups, counts: Ints) -> Floats:
    return counts.astype(np.float64)


def _group(frame: Frame, groups: Groups, counts: Ints) -> Floats:
    return np.ones(counts.shape)


#: Operator → (frame, groups, samples per group and step) → a value per group and step.
REDUCTIONS: Mapping[str, Callable[[Frame, Groups, Ints], Floats]] = {
    "sum": sum_of,
    "avg": mean_of,
    "min": _min,
    "max": _max,
    "count": _count,
    "group": _group,
}

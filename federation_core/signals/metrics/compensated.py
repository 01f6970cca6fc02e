"""Sums that do not lose small terms: error-free addition, vectorised over whole arrays.

Rule: the rounding error of every addition is kept and added back at the end, which is Neumaier's sum; where a
partial sum is not finite there is no error to keep. The order of additions is fixed by the order of the rows.
"""

from __future__ import annotations

import numpy as np

from federation_core.signals.metrics.frame import Floats, Ints


def two_sum(left: Floats, right: Floats) -> tuple[Floats, Floats]:
    """Return left + right and the exact error of that rounding, elementwise; the error is 0 beside ±Inf and NaN."""
    total = left + right
    share = total - left
    error = (left - (total - share)) + (right - share)
    error[~np.isfinite(total)] = 0.0
    return total, error


def sum_runs(values: Floats, starts: Ints) -> Floats:
    """Sum runs of consecutive rows: N × T values, runs beginning at the rows `starts`; returns len(starts) × T.

    Neighbours are added pairwise, level by level, so a run of n rows takes log2(n) passes over whole arrays.
    """
    sizes = np.diff(starts, append=len(values))
    rank = np.arange(len(values)) - np.repeat(starts, sizes)
    totals, errors = values, np.zeros_like(values)
    while len(totals) > len(starts):
        kept = np.flatnonzero(rank % 2 == 0)
        # A kept row has a partner exactly when the next row continues its run at an odd rank.
        partnered = kept[np.append(rank, 0)[kept + 1] % 2 == 1]
        merged, lost = two_sum(totals[partnered], totals[partnered + 1])
        gathered = errors[partnered] + errors[partnered + 1] + lost
        totals, errors = totals.copy(), errors.copy()
        totals[partnered], errors[partnered] = merged, gathered
        totals, errors, rank = totals[kept], errors[kept], rank[kept] // 2
    return totals + errors

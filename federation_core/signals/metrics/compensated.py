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
    finite = np.isfinite(total)
    if not finite.all():
        error[~finite] = 0.0
    return total, error


def sum_runs(values: Floats, starts: Ints) -> Floats:
    """Sum runs of consecutive rows: N × T values, runs beginning at the rows `starts`; returns len(starts) × T.

    Neighbours are added pairwise, level by level, so a run of n rows takes log2(n) passes over whole arrays.
    """
    sizes = np.diff(starts, append=len(values))
    rank = np.arange(len(values)) - np.repeat(starts, sizes)
    totals, errors = values, np.zeros((len(values), 1))
    while len(totals) > len(starts):
        kept = np.flatnonzero(rank % 2 == 0)
        # A kept row has a partner exactly when the next row continues its run at an odd rank.
        partnered = np.append(rank, 0)[kept + 1] % 2 == 1
        first = kept[partnered]
        merged, lost = two_sum(totals[first], totals[first + 1])
        lost += errors[first]
        lost += errors[first + 1]
        if len(first) < len(kept):
            totals, errors = totals[kept], np.broadcast_to(errors[kept], (len(kept), *lost.shape[1:])).copy()
            totals[partnered], errors[partnered] = merged, lost
        else:
            totals, errors = merged, lost
        rank = rank[kept] // 2
    return totals + errors

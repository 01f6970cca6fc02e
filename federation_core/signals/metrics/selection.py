"""Aggregations that answer with some of their input series: topk, bottomk, limitk and limit_ratio.

Rule: what is taken is decided group by group and step by step. NaN is taken last. Ties of topk and bottomk, and all of
limitk, are decided by label set, `cluster` compared last, so that every split of the series over clusters takes the
same ones (Prometheus' choice depends on the order in which it stores them).
Source: Prometheus documentation, "Operators / Aggregation operators".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt

from federation_core.errors import QueryExecutionError
from federation_core.signals.metrics.frame import Bools, Floats, Frame, Ints
from federation_core.signals.metrics.groups import Groups
from federation_core.signals.metrics.label_hash import hash_labels
from federation_core.signals.metrics.series import tie_ranks
from federation_core.signals.metrics.session import Session
from federation_core.signals.metrics.spelling import shortest

#: Aggregations that answer with a choice of their input series instead of one series per group.
SELECTIONS = frozenset({"topk", "bottomk", "limitk", "limit_ratio"})
#: What Prometheus takes for the bounds of a 64-bit integer among float64 numbers.
_LEAST, _MOST = -(2.0**63), 2.0**63 - 1024
#: Ranks below those of every number: of NaN, and of no value at all.
_NAN, _ABSENT = np.iinfo(np.int64).min + 1, np.iinfo(np.int64).min


def select_by_rank(operator: str, frame: Frame, groups: Groups, sizes: Floats) -> Frame:
    """Keep in every group the first `sizes`, one at each step, of its values: topk, bottomk or limitk.

    An instant's answer is listed by rank, group by group.
    """
    ranks = _ranks(operator, frame)
    ties = cache(lambda: tie_ranks(frame.labels))
    kept = np.zeros_like(frame.present)
    for _, rows in groups.blocks():
        kept[rows] = _first(ranks[rows], sizes, lambda rows=rows: ties()[rows])  # type: ignore[misc]
    kept &= frame.present
    chosen = replace(frame, present=kept)
    if not frame.grid.is_instant:
        return chosen.pruned()
    rows = np.flatnonzero(kept[:, 0])
    return chosen.take(rows[np.lexsort((ties()[rows], ~ranks[rows, 0], groups.of_rows[rows]))])


def select_by_ratio(frame: Frame, ratios: Floats, session: Session) -> Frame:
    """Keep that share of the series, one at each step, whose hash is low; a negative one keeps those with a high hash.

    The shares of r and r - 1 are complements of each other.

    Raises QueryExecutionError: a ratio is NaN.
    """
    if not ratios.any():
        return Frame.empty(frame.grid)
    if np.isnan(ratios).any():
        raise QueryExecutionError("Ratio value is NaN")
    for given, bound in ((ratios.max(), 1.0), (ratios.min(), -1.0)):
        if abs(given) > 1 and given * bound > 0:
            shown = f"got {shortest(float(given))}, capping to {shortest(bound)}"
            session.warn(f"ratio value should be between -1 and 1, {shown}")
    ratios = np.clip(ratios, -1.0, 1.0)
    places = hash_labels(frame.labels).astype(np.float64)[:, None] / 2.0**64
    taken = np.where(ratios > 0, places < ratios, (ratios < 0) & (places >= 1.0 + ratios))
    return replace(frame, present=frame.present & taken).pruned()


def sizes_of(parameter: Floats) -> Floats | None:
    """Return how many values are kept at each step, whole numbers; None where there are none at any step.

    Raises QueryExecutionError: the parameter is NaN, or no 64-bit integer, at a step.
    """
    if parameter.max() < 1:
        return None
    if np.isnan(parameter).any():
        raise QueryExecutionError("Parameter value is NaN")
    if parameter.min() <= _LEAST:
        raise QueryExecutionError(f"Scalar value {shortest(float(parameter.min()))} underflows int64")
    if parameter.max() >= _MOST:
        raise QueryExecutionError(f"Scalar value {shortest(float(parameter.max()))} overflows int64")
    whole: Floats = np.floor(parameter)
    return whole


def _ranks(operator: str, frame: Frame) -> Ints:
    """Return integers, S × T, whose order is that of preference: the higher the sooner taken."""
    if operator == "limitk":
        ranks = np.zeros(frame.values.shape, dtype=np.int64)
    else:
        # Adding +0 makes one zero of the two. The bits of floats are in order as integers, those of negative ones
        # once all but the sign are turned round.
        values = (frame.values if operator == "topk" else -frame.values) + 0.0
        bits: Ints = values.view(np.int64)
        ranks = bits ^ ((bits >> 63) & np.int64(np.iinfo(np.int64).max))
        ranks[np.isnan(values)] = _NAN
    ranks[~frame.present] = _ABSENT
    return ranks


def _first(ranks: Ints, sizes: Floats, ties: Callable[[], Ints]) -> Bools:
    """Mark, in every one of G groups of N rows, G × N × T, the first `sizes` by rank and then by tie."""
    size, steps = ranks.shape[1:]
    counts = np.clip(sizes, 0, size).astype(np.int64)
    # The place of the last one taken, in rising order; where none is, the best one's.
    places = size - np.maximum(counts, 1)
    lowest = np.partition(ranks, np.unique(places), axis=1)[:, places, np.arange(steps)][:, None, :]
    above, level = ranks > lowest, ranks == lowest
    room = (counts - np.count_nonzero(above, axis=1))[:, None, :]
    if (np.count_nonzero(level, axis=1)[:, None, :] > room).any():
        order = np.argsort(ties(), axis=1)[:, :, None]
        queue = np.cumsum(np.take_along_axis(level, order, axis=1), axis=1) <= room
        in_time: npt.NDArray[np.bool_] = np.empty_like(level)
        np.put_along_axis(in_time, order, queue, axis=1)
        level &= in_time
    first: Bools = above | level
    return first

"""histogram_quantile over classic histograms.

Rule: buckets of one histogram are the series that differ in `le` alone. They are sorted by bound, equal bounds
added, counts made to rise (tiny falls are rounding, larger ones are repaired), and the quantile is interpolated
within its bucket. Without a bucket at +Inf, without observations, or with one bucket only there is no quantile: NaN.
Source: Prometheus documentation, "Functions / histogram_quantile"; behaviour of promql's bucket quantile, Prometheus 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from federation_core.labels import NAME, Labels
from federation_core.signals.metrics.frame import Bools, Floats, Frame, Ints
from federation_core.signals.metrics.functions.contract import Argument, Context, Function, Note, frame_argument
from federation_core.signals.metrics.quantile import warn_about_quantile
from federation_core.signals.metrics.series import rank_labels

BUCKET_LABEL = "le"
#: Relative difference below which two neighbouring counts are the same count with a rounding error.
SMALL_DELTA = 1e-12
_MIN_NORMAL = float(np.finfo(np.float64).smallest_normal)


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """Histograms of G groups at T steps: for each, B places of which the first `used` hold buckets by bound.

    `bounds`, `counts`: B × G × T, in order of bound; `used`: G × T.
    """

    bounds: Floats
    counts: Floats
    used: Ints


def _histogram_quantile(arguments: Sequence[Argument], context: Context) -> Frame:
    warn = context.warn
    wanted, frame = frame_argument(arguments[0]).values[0], frame_argument(arguments[1])
    warn_about_quantile(wanted, warn)
    bounds = np.array([_bound(labels.get(BUCKET_LABEL)) for labels in frame.labels])
    malformed = np.isnan(bounds)
    if malformed.any():
        warn(f'bucket label "le" is missing or has a malformed value in {int(malformed.sum())} series, left out')
        frame, bounds = frame.take(np.flatnonzero(~malformed)), bounds[~malformed]
    if not frame.series_count:
        return Frame.empty(frame.grid)
    groups, index = rank_labels([labels.without((BUCKET_LABEL,)) for labels in frame.labels])
    buckets = _gather(frame, bounds, index, len(groups))
    quantiles = _quantiles(buckets, wanted, warn)
    labels = tuple(Labels(group.without((NAME,))) for group in groups)
    return Frame(labels, frame.grid, quantiles, buckets.used > 0)


def _bound(text: str) -> float:
    """Read a bucket's upper bound; NaN where it is not a number."""
    try:
        # Python also reads "1_0" as a number, which no exporter means.
        return float("nan") if "_" in text else float(text)
    except ValueError:
        return float("nan")


def _gather(frame: Frame, bounds: Floats, index: Ints, groups: int) -> Buckets:
    order = np.lexsort((bounds, index))
    sizes = np.bincount(index, minlength=groups)
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    shape = (int(sizes.max()), groups, frame.grid.steps)
    all_bounds, counts = np.full(shape, np.nan), np.zeros(shape)
    there = np.zeros(shape, dtype=np.bool_)
    all_bounds[place, index[order]] = bounds[order, None]
    counts[place, index[order]] = frame.values[order]
    there[place, index[order]] = frame.present[order]
    return _coalesced(*_compacted(all_bounds, counts, there))


def _compacted(bounds: Floats, counts: Floats, there: Bools) -> tuple[Floats, Floats, Ints]:
    """Move the buckets that are present to the front, keeping their order."""
    if not there.all():
        order = np.argsort(~there, axis=0, kind="stable")
        bounds, counts = np.take_along_axis(bounds, order, axis=0), np.take_along_axis(counts, order, axis=0)
    return bounds, counts, np.count_nonzero(there, axis=0)


def _coalesced(bounds: Floats, counts: Floats, used: Ints) -> Buckets:
    """Add up buckets whose bounds are numerically equal, such as "1" and "1.0"."""
    inside = np.arange(len(bounds))[:, None, None] < used
    repeats = np.zeros_like(inside)
    repeats[1:] = (bounds[1:] == bounds[:-1]) & inside[1:]
    if not repeats.any():
        return Buckets(bounds, counts, used)
    counts = counts.copy()
    for place in range(len(bounds) - 1, 0, -1):
        counts[place - 1] += np.where(repeats[place], counts[place], 0.0)
    return Buckets(*_compacted(bounds, counts, inside & ~repeats))


def _almost_equal(left: Floats, right: Floats) -> Bools:
    size, difference = np.abs(left) + np.abs(right), np.abs(left - right)
    tiny = (left == 0) | (right == 0) | (size < _MIN_NORMAL)
    relative = difference / np.minimum(size, np.finfo(np.float64).max) < SMALL_DELTA
    return np.where(tiny, difference < SMALL_DELTA * _MIN_NORMAL, relative)


def _rising(buckets: Buckets, warn: Note) -> Floats:
    """Return the counts without falls: a bucket below its predecessor, or a rounding error above, takes its count."""
    counts = buckets.counts.copy()
    previous, fell = counts[0].copy(), False
    for place in range(1, len(counts)):
        current = counts[place]
        same = _almost_equal(previous, current)
        falls = (current < previous) & ~same
        fell |= bool((falls & (place < buckets.used)).any())
        counts[place] = np.where(falls | same, previous, current)
        previous = counts[place]
    if fell:
        warn("input to histogram_quantile needed to be fixed for monotonicity")
    return counts


def _quantiles(buckets: Buckets, wanted: Floats, warn: Note) -> Floats:
    """Return the quantiles, G × T, for one wanted quantile per step."""
    used, bounds = buckets.used, buckets.bounds
    last = np.maximum(used - 1, 0)
    counts = _rising(buckets, warn)
    observations = _at(counts, last)
    rank = wanted * observations
    # The first bucket that reaches the rank; the last one takes what none before it reached.
    below = (np.arange(len(counts))[:, None, None] < last) & ~(counts >= rank)
    reached = np.cumprod(below, axis=0).sum(axis=0)
    before = np.maximum(reached - 1, 0)
    first_bucket = reached == 0
    start = np.where(first_bucket, 0.0, _at(bounds, before))
    under = np.where(first_bucket, 0.0, _at(counts, before))
    end = _at(bounds, reached)
    value = start + (end - start) * ((rank - under) / (_at(counts, reached) - under))
    value = np.where(first_bucket & (end <= 0), end, value)
    value = np.where(reached == last, _at(bounds, np.maximum(last - 1, 0)), value)
    value = np.where((used < 2) | (observations == 0) | np.isnan(observations), np.nan, value)
    value = np.where(np.isposinf(_at(bounds, last)), value, np.nan)
    value = np.where(wanted < 0, -np.inf, np.where(wanted > 1, np.inf, value))
    return np.where(np.isnan(wanted), np.nan, value)


def _at(cube: Floats, place: Ints) -> Floats:
    """Return, G × T, the entries of a B × G × T cube at one place per group and step."""
    entries: Floats = np.take_along_axis(cube, place[None], axis=0)[0]
    return entries


FUNCTIONS = (Function("histogram_quantile", _histogram_quantile),)

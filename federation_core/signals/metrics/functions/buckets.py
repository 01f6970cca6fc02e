"""Classic histograms out of bucket series: gathered per group and step, in order of bound.

Rule: buckets of one histogram are the series that differ in `le` alone. Only those present at a step belong to its
histogram; numerically equal bounds ("1" and "1.0") are one bucket with the sum of the counts. A series whose bound
cannot be read is left out and told. Histograms lie behind one another without padding, so that one with many buckets
does not cost the others anything, and are handled in blocks of steps.
Source: Prometheus documentation, "Functions / histogram_quantile"; the numbers of Go's strconv.ParseFloat.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from federation_core.labels import NAME, Labels, quote
from federation_core.signals.metrics.frame import Bools, Floats, Frame, Ints
from federation_core.signals.metrics.functions.contract import Context
from federation_core.signals.metrics.series import rank_labels

BUCKET_LABEL = "le"
#: Buckets gathered at once.
_BLOCK = 1_000_000
_HEXADECIMAL = re.compile(r"[-+]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][-+]?[0-9]+")


@dataclass(frozen=True, slots=True, eq=False)
class Histograms:
    """H histograms: `group` and `step` tell where each is; its buckets are first[h] to first[h] + used[h] - 1 of N.

    `bounds`, `counts`: N, in order of bound within a histogram; every histogram has at least one bucket.
    """

    group: Ints
    step: Ints
    first: Ints
    used: Ints
    bounds: Floats
    counts: Floats

    @property
    def owner(self) -> Ints:
        """The number of the histogram that every bucket belongs to, N."""
        return np.repeat(np.arange(len(self.first)), self.used)

    @property
    def last(self) -> Ints:
        """The place of every histogram's highest bucket, H."""
        return self.first + self.used - 1

    @property
    def complete(self) -> Bools:
        """Whether the highest bucket holds all observations, H: its bound is +Inf."""
        return np.isposinf(self.bounds[self.last])

    def answer(self, frame: Frame, answers: Floats) -> None:
        """Put one answer per histogram in its place in a frame of the groups."""
        frame.values[self.group, self.step] = answers
        frame.present[self.group, self.step] = True

    def below(self, counts: Floats, places: Ints) -> tuple[Floats, Floats]:
        """Return the bound and the count of the bucket before one of every histogram: both 0 before the lowest."""
        lowest, before = places == self.first, np.maximum(places - 1, 0)
        return np.where(lowest, 0.0, self.bounds[before]), np.where(lowest, 0.0, counts[before])

    def reaching(self, values: Floats, wanted: Floats, until: Ints, *, beyond: bool = False) -> Ints:
        """Return the place of the first bucket whose value is at least `wanted`, or more than it; else `until`.

        `values` belong to the buckets and rise, `wanted` and `until` to the histograms. The search halves the range, as
        Prometheus does: where NaN breaks the order, it must end at the same bucket.
        """
        low, high = self.first.copy(), until.copy()
        while (open_ := low < high).any():
            middle = (low + high) // 2
            found = values[middle] > wanted if beyond else values[middle] >= wanted
            high = np.where(open_ & found, middle, high)
            low = np.where(open_ & ~found, middle + 1, low)
        return low


@dataclass(frozen=True, slots=True, eq=False)
class BucketSeries:
    """Bucket series in order of group and bound: `group` and `bounds` of every row, and the groups' labels."""

    groups: tuple[Labels, ...]
    frame: Frame
    group: Ints
    bounds: Floats

    @classmethod
    def of(cls, frame: Frame, context: Context) -> BucketSeries:
        """Read the bounds of a vector's series and warn of those that cannot be read."""
        bounds = np.array([bound_of(labels.get(BUCKET_LABEL)) for labels in frame.labels], dtype=np.float64)
        for row in np.flatnonzero(np.isnan(bounds)).tolist():
            labels = frame.labels[row]
            value = quote(labels.get(BUCKET_LABEL))
            context.warn(f'bucket label "le" is missing or has a malformed value of {value}{of_metric(labels)}')
        rows = np.flatnonzero(~np.isnan(bounds))
        groups, group = rank_labels([frame.labels[row].without((BUCKET_LABEL,)) for row in rows.tolist()])
        order = np.lexsort((bounds[rows], group))
        return cls(tuple(groups), frame.take(rows[order]), group[order], bounds[rows][order])

    def histograms(self, context: Context) -> Iterator[Histograms]:
        """Yield the histograms of all groups and steps, those of some steps at a time."""
        width = max(1, _BLOCK // max(1, self.frame.series_count))
        for start in range(0, self.frame.grid.steps, width):
            context.check()
            steps = slice(start, start + width)
            # Transposed, the buckets of a group lie side by side at every step.
            present = self.frame.present[:, steps].T
            if present.any():
                yield self._gathered(present, self.frame.values[:, steps].T[present], start)

    def _gathered(self, present: Bools, counts: Floats, start: int) -> Histograms:
        step, row = np.nonzero(present)
        group, bounds = self.group[row], self.bounds[row]
        begins = np.ones(len(row), dtype=np.bool_)
        begins[1:] = (step[1:] != step[:-1]) | (group[1:] != group[:-1])
        bucket_begins = begins.copy()
        bucket_begins[1:] |= bounds[1:] != bounds[:-1]
        if not bucket_begins.all():
            counts = np.add.reduceat(counts, np.flatnonzero(bucket_begins))
            step, group = step[bucket_begins], group[bucket_begins]
            bounds, begins = bounds[bucket_begins], begins[bucket_begins]
        first = np.flatnonzero(begins)
        return Histograms(group[first], step[first] + start, first, np.diff(first, append=len(bounds)), bounds, counts)

    def unanswered(self) -> Frame:
        """Return a frame of the groups in which nothing is present yet."""
        shape = (len(self.groups), self.frame.grid.steps)
        return Frame(self.groups, self.frame.grid, np.full(shape, np.nan), np.zeros(shape, dtype=np.bool_))


def of_metric(labels: Labels) -> str:
    """Return how an annotation tells the metric that it is about, if its name is known."""
    name = labels.get(NAME)
    return f" for metric name {quote(name)}" if name else ""


def bound_of(text: str) -> float:
    """Read a bucket's upper bound; NaN where it is no number, or one beyond float64."""
    try:
        if _HEXADECIMAL.fullmatch(text):
            return float.fromhex(text)
        # Python reads spaces around a number and the digits of all scripts too; Go does not.
        bound = float(text) if text.isascii() and text == text.strip() else math.nan
    except (ValueError, OverflowError):
        return math.nan
    return math.nan if math.isinf(bound) and "n" not in text.lower() else bound

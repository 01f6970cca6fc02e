"""Replicas of one scraper: their labels dropped and their series united, before anything is computed of them.

Rule: a series is one replica's samples; another's stand only where that one has a gap. Samples are never interleaved:
replicas scrape at other moments, and a rate over both would be of neither. Going over from one replica to another makes
no fall out of a counter that has not fallen.
Source of the problem: Thanos documentation, "Query / Deduplication", and its issues on rates over deduplicated
counters. The rule is ours: docs/merge-semantics.md, "Replicas".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from federation_core.labels import Labels, Selector, backend_accepts
from federation_core.signals.metrics.expr import VectorSelector
from federation_core.signals.metrics.frame import Bools, Floats, Frame, Grid, Ints, SampleColumns
from federation_core.signals.metrics.run import SampleStore
from federation_core.signals.metrics.selected import SelectedStore, Selection, selection
from federation_core.signals.metrics.series import rank_labels

#: In scrape intervals: how far apart samples are a gap, how far from the first or last sample of the other replica the
#: first or last one is, and how near to its ends a gap is filled.
GAP: Final = 1.5
EDGE: Final = 0.95
NEAR: Final = 0.5
#: Times in ms, and values, of one replica's series.
_Samples: TypeAlias = tuple[Ints, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class _Replica:
    """One replica's series: all of it, and apart from each other its samples and its stale markers."""

    labels: Labels
    whole: _Samples
    samples: _Samples
    marks: _Samples


@dataclass(frozen=True, slots=True)
class Replicas:
    """The labels that tell replicas apart; without any, everything is left as it is."""

    names: tuple[str, ...] = ()

    def asked(self, selector: Selector) -> Selector | None:
        """Return the conditions that are left once the labels are dropped; None where none can hold without them.

        >>> from federation_core.signals.metrics.parse import parse
        >>> str(Replicas(("replica",)).asked(parse('up{replica!="a",job="x"}').selector))
        'up{job="x"}'
        >>> Replicas(("replica",)).asked(parse('up{replica="a"}').selector) is None
        True
        """
        dropped = [matcher for matcher in selector.matchers if matcher.label in self.names]
        if not all(matcher.matches("") for matcher in dropped):
            return None
        return backend_accepts(Selector(tuple(matcher for matcher in selector.matchers if matcher not in dropped)))

    def without(self, labels: Iterable[Labels]) -> list[Labels]:
        """Return label sets without the replicas' labels."""
        return [series.without(self.names) for series in labels]

    def united(self, columns: SampleColumns) -> SampleColumns:
        """Return raw samples with the replicas of each series as one series."""
        if not self.names:
            return columns
        found: dict[Labels, list[_Replica]] = {}
        stale, offsets = columns.stale, columns.offsets.tolist()
        has_marks = bool(stale.any())
        for row, (labels, bare) in enumerate(zip(columns.labels, self.without(columns.labels), strict=True)):
            span = slice(offsets[row], offsets[row + 1])
            t_ms, values, marked = columns.t_ms[span], columns.values[span], stale[span]
            all_of_it, marks = (t_ms, values), (t_ms[:0], values[:0])
            replica = _Replica(labels, all_of_it, all_of_it, marks)
            if has_marks and marked.any():
                samples, marks = (t_ms[~marked], values[~marked]), (t_ms[marked], values[marked])
                replica = _Replica(labels, all_of_it, samples, marks)
            found.setdefault(bare, []).append(replica)
        return SampleColumns.of((labels, *_one_series(replicas)) for labels, replicas in found.items())

    def seen(self, frame: Frame) -> Frame:
        """Return a frame with one row for the replicas of a series: present where any is, with the value of one."""
        if not self.names:
            return frame
        labels, row_of = rank_labels(self.without(frame.labels))
        values = np.zeros((len(labels), frame.grid.steps), dtype=np.float64)
        present = np.zeros(values.shape, dtype=np.bool_)
        for row, united in enumerate(row_of.tolist()):
            values[united] = np.where(present[united], values[united], frame.values[row])
            present[united] |= frame.present[row]
        return replace(frame, labels=tuple(labels), values=values, present=present)


#: Of a backend whose series are told apart by what they are of alone.
NO_REPLICAS: Final = Replicas()


def _one_series(replicas: Sequence[_Replica]) -> _Samples:
    if len(replicas) == 1:
        return replicas[0].whole
    first, *others = (replica.samples for replica in in_order_of_choice(replicas))
    # Of few samples most distances may be gaps: the scrape interval, which replicas share, is among the shortest.
    distances = [np.sort(t_ms[1:] - t_ms[:-1]) for t_ms, _ in (first, *others) if len(t_ms) > 1]
    interval_ms = float(min((shortest[(len(shortest) - 1) // 4] for shortest in distances), default=0))
    united = first
    if interval_ms:
        for other in others:
            united = filled(united, other, interval_ms)
    if any(len(replica.marks[0]) for replica in replicas):
        return _ended(united, replicas, interval_ms)
    return united


def in_order_of_choice(replicas: Sequence[_Replica]) -> list[_Replica]:
    """Return the replicas, the one with the most samples first.

    One sample more or less is where the span was cut and decides nothing: the order of labels does, so that the
    next refresh chooses alike.
    """
    most = max(len(replica.samples[0]) for replica in replicas)

    def lacking(replica: _Replica) -> int:
        count = most - len(replica.samples[0])
        return count if count > 1 else 0

    return sorted(replicas, key=lambda replica: (lacking(replica), replica.labels))


def filled(taken: _Samples, other: _Samples, interval_ms: float) -> _Samples:
    """Return the taken samples with another replica's where there are none for longer than `GAP` intervals.

    No sample of the other is nearer than `NEAR` intervals to one of the taken, so that the distances stay about alike.
    """
    (t_ms, values), (other_ms, other_values) = taken, other
    if not len(other_ms) or not len(t_ms):
        return taken if len(t_ms) else other
    gap = np.searchsorted(t_ms, other_ms, side="right")
    left = np.concatenate(([-np.inf], t_ms))[gap]
    right = np.concatenate((t_ms, [np.inf]))[gap]
    # Before the first and after the last sample the other's own reach tells whether there is a gap.
    width = np.minimum(right, max(other_ms[-1], t_ms[-1])) - np.maximum(left, min(other_ms[0], t_ms[0]))
    least = np.where((gap == 0) | (gap == len(t_ms)), EDGE, GAP) * interval_ms
    near_ms = NEAR * interval_ms
    chosen = (width > least) & (other_ms - left >= near_ms) & (right - other_ms >= near_ms)
    chosen &= ~_false_falls(values, other_values, gap, chosen)
    at = np.concatenate((t_ms, other_ms[chosen]))
    order = np.argsort(at, kind="stable")
    return at[order], np.concatenate((values, other_values[chosen]))[order]


def _false_falls(values: Floats, other: Floats, gap: Ints, chosen: Bools) -> Bools:
    """Mark the samples next to a switch that would make a counter fall which falls in no replica.

    Of a gap it is the first and the last at most: replicas see a target less than a scrape interval apart.
    """
    false = np.zeros(len(other), dtype=np.bool_)
    for number in np.unique(gap[chosen]).tolist():
        inside = np.flatnonzero(chosen & (gap == number))
        first, last = int(inside[0]), int(inside[-1])
        before = values[number - 1] if number else None
        after = values[number] if number < len(values) else None
        if before is not None and other[first] < before:
            false[first] = not (first and other[first - 1] > other[first])
        if after is not None and after < other[last]:
            falls_there = last + 1 < len(other) and other[last + 1] < other[last]
            falls_here = before is not None and after < before
            false[last] |= not falls_there and not falls_here
    return false


def _ended(united: _Samples, replicas: Sequence[_Replica], interval_ms: float) -> _Samples:
    """Return the samples with the stale markers that hold for all replicas: none has a sample soon after."""
    marked_ms, once = np.unique(np.concatenate([replica.marks[0] for replica in replicas]), return_index=True)
    bits = np.concatenate([replica.marks[1] for replica in replicas])[once]
    all_ms = np.sort(np.concatenate([replica.samples[0] for replica in replicas]))
    following = np.append(all_ms.astype(np.float64), np.inf)[np.searchsorted(all_ms, marked_ms, side="left")]
    ends = following - marked_ms > GAP * interval_ms
    at = np.concatenate((united[0], marked_ms[ends]))
    order = np.argsort(at, kind="stable")
    return at[order], np.concatenate((united[1], bits[ends]))[order]


@dataclass(frozen=True, slots=True)
class UnitedStore(SelectedStore):
    """The source of an evaluation on united samples that came without stale markers.

    `frames` are what the backend's engine selected, of all replicas: a series has no value where none of them has one.
    """

    def vector(self, node: VectorSelector, grid: Grid) -> Frame:
        """Return the instant vector of a selector on the grid."""
        return self._while_there(SampleStore.vector(self, node, grid), selection(node, grid))

    def timestamps(self, node: VectorSelector, grid: Grid) -> Frame:
        """Return the times, in seconds, of the samples of that instant vector."""
        return self._while_there(SampleStore.timestamps(self, node, grid), selection(node, grid))

    def _while_there(self, frame: Frame, wanted: Selection) -> Frame:
        seen = self._seen(wanted, frame.grid)
        rows: Mapping[Labels, int] = {labels: row for row, labels in enumerate(seen.labels)}
        there = np.zeros_like(frame.present)
        for row, labels in enumerate(frame.labels):
            if labels in rows:
                there[row] = seen.present[rows[labels]]
        return replace(frame, present=frame.present & there)

"""The groups of an aggregation: which rows of a vector are aggregated together.

Rule: groups are in order of first sight and their rows in order of the rows given, so equal input gives equal bits.
Source: Prometheus documentation, "Operators / Aggregation operators".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from federation_core.labels import NAME, Labels
from federation_core.signals.metrics.expr import Grouping
from federation_core.signals.metrics.frame import Bools, Floats, Frame, Ints
from federation_core.signals.metrics.series import drop_labels, keep_labels, rank_labels

A = TypeVar("A", Floats, Bools)


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Rows sorted by group: `order` lists the rows, group g's begin at starts[g]; `labels` are the groups'."""

    labels: tuple[Labels, ...]
    order: Ints
    starts: Ints

    @classmethod
    def of(cls, series: Sequence[Labels], grouping: Grouping) -> Groups:
        """Group the rows of a vector by their label sets."""
        if grouping.without:
            keys = drop_labels(series, (*grouping.labels, NAME))
        else:
            keys = keep_labels(series, grouping.labels)
        distinct, index = rank_labels(keys)
        order = np.argsort(index, kind="stable")
        return cls(tuple(distinct), order, np.searchsorted(index[order], np.arange(len(distinct))))

    @property
    def sizes(self) -> Ints:
        """The number of rows of every group."""
        return np.diff(self.starts, append=len(self.order))

    @property
    def of_rows(self) -> Ints:
        """The group of every row of the vector."""
        group = np.empty(len(self.order), dtype=np.int64)
        group[self.order] = np.repeat(np.arange(len(self.starts)), self.sizes)
        return group

    def arranged(self, array: A) -> A:
        """Return the rows of an array in order of the groups, without a copy where they are so already."""
        in_order = np.array_equal(self.order, np.arange(len(self.order)))
        return array if in_order else array[self.order]

    def blocks(self) -> Iterator[tuple[Ints, Ints]]:
        """Yield (groups, G; rows, G × N) for the groups of each size N, which is what is sorted at once.

        There are few sizes: those of S rows are √2S at most.
        """
        sizes = self.sizes
        for size in np.unique(sizes).tolist():
            groups = np.flatnonzero(sizes == size)
            yield groups, self.order[self.starts[groups, None] + np.arange(size)]


def filled(frame: Frame, groups: Groups, absent: float) -> Floats:
    """Return the values in order of the groups, with `absent` at places without a value."""
    values = frame.values if frame.present.all() else np.where(frame.present, frame.values, absent)
    return groups.arranged(values)


def counts_of(frame: Frame, groups: Groups) -> Ints:
    """Return the number of values of every group and step."""
    counts: Ints = np.add.reduceat(groups.arranged(frame.present), groups.starts, axis=0, dtype=np.int64)
    return counts


def marks_of(frame: Frame, groups: Groups) -> Bools | None:
    """Return which groups hold a row whose name is dropped at the end, where the evaluation delays that."""
    if frame.unnamed is None:
        return None
    marks: Bools = np.logical_or.reduceat(frame.unnamed[groups.order], groups.starts)
    return marks

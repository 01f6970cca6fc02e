"""Log entries as columns, and their order.

Rule: a payload is in its final order, and knows whether the store held more than it brought. The order is total:
(time, cluster, the stream's own labels, ordinal, line, metadata), or exactly its reverse, so that any cut of any split
is the same. Of a line no object is made but its text: what many lines share (label sets, metadata) stands once in a
table and is told by index, and all that is done to entries is done to columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from federation_core.labels import Labels
from federation_core.query import Direction, TimeRange

NS_PER_MS = 1_000_000

Ints = npt.NDArray[np.int64]
Texts = npt.NDArray[np.object_]
Mask = npt.NDArray[np.bool_]
Order = tuple[int, str, Labels, int, str, Labels]


@dataclass(frozen=True, slots=True)
class Entry:
    """One log line, as those see it who look at few.

    `labels` are those of its stream. `metadata` are the values that belong to this line alone, such as
    `trace_id`. `ordinal` tells entries of one stream and one nanosecond apart: their position in the store.
    `cluster` is empty until the centre has merged.
    """

    t_ns: int
    line: str
    labels: Labels
    metadata: Labels = Labels()  # noqa: RUF009 - an immutable value
    ordinal: int = 0
    cluster: str = ""

    @property
    def order(self) -> Order:
        """The sort key of `forward`; `backward` is its exact reverse. Entries with equal keys are equal."""
        return (self.t_ns, self.cluster, self.labels, self.ordinal, self.line, self.metadata)


def _no_ints() -> Ints:
    return np.empty(0, dtype=np.int64)


def _no_texts() -> Texts:
    return np.empty(0, dtype=np.object_)


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Entries in the direction asked, a column for each part of an entry; all columns are equally long.

    `labels` and `metadata` are indices into `sets`, `cluster` into `clusters`; both tables may hold more than is used,
    and the same twice. `more` says that further matching entries exist beyond the last one. Nobody writes into a
    column: payloads share them.
    """

    t_ns: Ints = field(default_factory=_no_ints)
    line: Texts = field(default_factory=_no_texts)
    labels: Ints = field(default_factory=_no_ints)
    metadata: Ints = field(default_factory=_no_ints)
    ordinal: Ints = field(default_factory=_no_ints)
    cluster: Ints = field(default_factory=_no_ints)
    sets: tuple[Labels, ...] = ()
    clusters: tuple[str, ...] = ()
    more: bool = False
    #: Where the next page begins; None until pages exist.
    cursor: str | None = None

    @classmethod
    def of(cls, entries: Iterable[Entry], more: bool = False, cursor: str | None = None) -> Entries:
        """Take entries that are in the direction asked already."""
        rows, clusters = list(entries), dict[str, int]()
        found = cls.of_columns(
            [row.t_ns for row in rows],
            [row.line for row in rows],
            [row.labels for row in rows],
            [row.metadata for row in rows],
            [row.ordinal for row in rows],
        )
        cluster = ints([clusters.setdefault(row.cluster, len(clusters)) for row in rows])
        return replace(found, cluster=cluster, clusters=tuple(clusters), more=more, cursor=cursor)

    @classmethod
    def of_columns(
        cls,
        t_ns: Sequence[int],
        line: Sequence[str],
        labels: Iterable[Labels],
        metadata: Iterable[Labels],
        ordinal: Sequence[int],
    ) -> Entries:
        """Take a store's columns; the label sets are counted here."""
        sets: dict[Labels, int] = {}
        of_streams = ints([sets.setdefault(one, len(sets)) for one in labels])
        of_lines = ints([sets.setdefault(one, len(sets)) for one in metadata])
        cluster = np.zeros(len(t_ns), dtype=np.int64)
        return cls(ints(t_ns), texts(line), of_streams, of_lines, ints(ordinal), cluster, tuple(sets), ("",))

    def __len__(self) -> int:
        return len(self.t_ns)

    def __iter__(self) -> Iterator[Entry]:
        """Make an Entry of each line, which is for tests and for few."""
        sets, clusters = self.sets, self.clusters
        lists: Any = zip(*(column.tolist() for column in self._columns), strict=True)
        for t_ns, line, labels, metadata, ordinal, cluster in lists:
            yield Entry(t_ns, line, sets[labels], sets[metadata], ordinal, clusters[cluster])

    def __getitem__(self, index: int) -> Entry:
        """Return one entry; negative numbers count from the end."""
        t_ns, line, labels, metadata, ordinal, cluster = (column[index] for column in self._columns)
        return Entry(int(t_ns), line, self.sets[labels], self.sets[metadata], int(ordinal), self.clusters[cluster])

    def __eq__(self, other: object) -> bool:
        """Tell whether both say the same, however their tables are laid out."""
        if not isinstance(other, Entries):
            return NotImplemented
        said = (self.more, self.cursor, len(self)) == (other.more, other.cursor, len(other))
        return said and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    @property
    def _columns(self) -> tuple[npt.NDArray[Any], ...]:
        return (self.t_ns, self.line, self.labels, self.metadata, self.ordinal, self.cluster)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries as values, which is for tests and for few."""
        return tuple(self)

    @property
    def streams(self) -> int:
        """The number of distinct streams, clusters told apart."""
        pairs = np.unique(self.cluster * len(self.sets) + self.labels).tolist()
        return len({(self.clusters[pair // len(self.sets)], self.sets[pair % len(self.sets)]) for pair in pairs})

    def take(self, rows: Ints | Mask | slice) -> Entries:
        """Return the entries at these places, in their order, or those that a mask keeps."""
        return replace(
            self,
            t_ns=self.t_ns[rows],
            line=self.line[rows],
            labels=self.labels[rows],
            metadata=self.metadata[rows],
            ordinal=self.ordinal[rows],
            cluster=self.cluster[rows],
        )

    def relabelled(self, labels: Ints, metadata: Ints, sets: Sequence[Labels]) -> Entries:
        """Return the entries with other label sets."""
        return replace(self, labels=labels, metadata=metadata, sets=tuple(sets))


def ints(values: Iterable[int]) -> Ints:
    """Make a column of whole numbers.

    Raises OverflowError: one has more than 64 bits.
    """
    return np.array(list(values), dtype=np.int64)


def texts(values: Sequence[str]) -> Texts:
    """Make a column of texts."""
    return np.array(values, dtype=np.object_)


def concat(parts: Sequence[Entries]) -> Entries:
    """Put entries behind one another, as they are; `more` if any has more."""
    full = [part for part in parts if len(part)]
    more = any(part.more for part in parts)
    if len(full) <= 1:
        return replace(full[0], more=more) if full else Entries(more=more)
    at_sets = np.cumsum([0, *(len(part.sets) for part in full)]).tolist()
    at_clusters = np.cumsum([0, *(len(part.clusters) for part in full)]).tolist()
    return Entries(
        np.concatenate([part.t_ns for part in full]),
        np.concatenate([part.line for part in full]),
        np.concatenate([part.labels + at for part, at in zip(full, at_sets, strict=False)]),
        np.concatenate([part.metadata + at for part, at in zip(full, at_sets, strict=False)]),
        np.concatenate([part.ordinal for part in full]),
        np.concatenate([part.cluster + at for part, at in zip(full, at_clusters, strict=False)]),
        tuple(labels for part in full for labels in part.sets),
        tuple(name for part in full for name in part.clusters),
        more,
    )


def first_entries(entries: Entries, limit: int, direction: Direction, more: bool = False) -> Entries:
    """Sort entries into `direction` and keep the first `limit` (0 keeps all).

    A connector hands over every candidate, all those that share the last nanosecond included, or says `more`.
    """
    rows = forward_order(entries)
    if direction == "backward":
        rows = rows[::-1]
    if 0 < limit < len(rows):
        rows, more = rows[:limit], True
    return replace(entries.take(rows), more=more, cursor=None)


def forward_order(entries: Entries) -> Ints:
    """Return the places of the entries in the order of `forward`."""
    rows = np.argsort(entries.t_ns, kind="stable")
    tied = _tied(entries.t_ns[rows])
    if not len(tied):
        return rows
    # What is dear to compare is compared only where all before it are equal.
    some = rows[tied]
    keys = [
        entries.t_ns[some],
        _ranks(entries.clusters, entries.cluster[some]),
        _ranks(entries.sets, entries.labels[some]),
        entries.ordinal[some],
    ]
    order = np.lexsort(keys[::-1])
    deeper = _tied(*(key[order] for key in keys))
    if len(deeper):
        places = order[deeper]
        rest = some[places]
        lines = entries.line[rest].tolist()
        last = [*(key[places] for key in keys), _ranks(lines, np.arange(len(lines)))]
        last.append(_ranks(entries.sets, entries.metadata[rest]))
        order[deeper] = places[np.lexsort(last[::-1])]
    rows[tied] = some[order]
    return rows


def _tied(*keys: Ints) -> Ints:
    """Return the places of sorted keys at which all are as they are beside it."""
    same = np.logical_and.reduce([key[1:] == key[:-1] for key in keys])
    return np.flatnonzero(np.concatenate([same, [False]]) | np.concatenate([[False], same]))


def _ranks(table: Sequence[Any], indices: Ints) -> Ints:
    """Return numbers in the order of the values of `table` that `indices` name, equal where these are."""
    used, inverse = np.unique(indices, return_inverse=True)
    values = [table[index] for index in used.tolist()]
    rank = {value: number for number, value in enumerate(sorted(set(values)))}
    return ints([rank[value] for value in values])[inverse]


def window_ns(time_range: TimeRange) -> tuple[int, int]:
    """Return the range as [start, end) in nanoseconds, as Loki reads it: an entry at `end` is outside."""
    return time_range.start_ms * NS_PER_MS, time_range.end_ms * NS_PER_MS

"""Log entries as they travel between a cluster and the centre.

Rule: a payload is in its final order, and knows whether the store held more than it brought. The order is total:
(time, cluster, the stream's own labels, ordinal), or exactly its reverse, so that any cut of any split is the same.
Columns are written, not rows: a label set and a metadata set are stored once however many entries share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import nlargest, nsmallest
from typing import Any

import msgpack

from federation_core.errors import WireVersionMismatch
from federation_core.labels import Labels
from federation_core.query import Direction, TimeRange

NS_PER_MS = 1_000_000
_WIRE = "entries/1"

Order = tuple[int, str, Labels, int, str, Labels]


@dataclass(frozen=True, slots=True)
class Entry:
    """One log line.

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


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries in the direction asked. `more` says that further matching entries exist beyond the last one."""

    entries: tuple[Entry, ...] = ()
    more: bool = False
    #: Where the next page begins; None until pages exist.
    cursor: str | None = None

    @property
    def streams(self) -> int:
        """The number of distinct streams, clusters told apart."""
        return len({(entry.cluster, entry.labels) for entry in self.entries})


def entry_order(entry: Entry) -> Order:
    """Return the sort key of an entry, for `sorted` and `heapq`."""
    return entry.order


def first_entries(entries: Iterable[Entry], limit: int, direction: Direction, more: bool = False) -> Entries:
    """Sort entries into `direction` and keep the first `limit` (0 keeps all).

    A connector hands over every candidate, all those that share the last nanosecond included, or says `more`.
    """
    backward = direction == "backward"
    if limit <= 0:
        return Entries(tuple(sorted(entries, key=entry_order, reverse=backward)), more)
    pick: Callable[..., list[Entry]] = nlargest if backward else nsmallest
    kept = pick(limit + 1, entries, key=entry_order)
    return Entries(tuple(kept[:limit]), more or len(kept) > limit)


def window_ns(time_range: TimeRange) -> tuple[int, int]:
    """Return the range as [start, end) in nanoseconds, as Loki reads it: an entry at `end` is outside."""
    return time_range.start_ms * NS_PER_MS, time_range.end_ms * NS_PER_MS


def encode(payload: Entries) -> bytes:
    """Write a payload as bytes.

    A lone surrogate, which no UTF-8 text can hold, becomes `?`.
    """
    sets: dict[Labels, int] = {}
    clusters: dict[str, int] = {}
    entries = payload.entries
    columns = {
        "t_ns": [entry.t_ns for entry in entries],
        "cluster": [clusters.setdefault(entry.cluster, len(clusters)) for entry in entries],
        "labels": [sets.setdefault(entry.labels, len(sets)) for entry in entries],
        "metadata": [sets.setdefault(entry.metadata, len(sets)) for entry in entries],
        "ordinal": [entry.ordinal for entry in entries],
        "line": [entry.line for entry in entries],
    }
    wire = {
        "kind": _WIRE,
        "more": payload.more,
        "cursor": payload.cursor,
        "clusters": list(clusters),
        "sets": [list(labels) for labels in sets],
        **columns,
    }
    packed: bytes = msgpack.packb(wire, use_bin_type=True, unicode_errors="replace")
    return packed


def decode(data: bytes) -> Entries:
    """Read what `encode` wrote.

    Raises WireVersionMismatch: the bytes are not this release's log entries.
    """
    try:
        wire: Any = msgpack.unpackb(data, raw=False)
        if wire["kind"] != _WIRE:
            raise WireVersionMismatch(f"log entries of kind {wire['kind']!r}, this release reads {_WIRE}")
        sets = [Labels(tuple(pair) for pair in pairs) for pairs in wire["sets"]]
        clusters = wire["clusters"]
        columns = [wire[name] for name in ("t_ns", "line", "labels", "metadata", "ordinal", "cluster")]
        entries = tuple(
            Entry(t_ns, line, sets[labels], sets[metadata], ordinal, clusters[cluster])
            for t_ns, line, labels, metadata, ordinal, cluster in zip(*columns, strict=True)
        )
        return Entries(entries, wire["more"], wire["cursor"])
    except (ValueError, KeyError, IndexError, TypeError, msgpack.exceptions.UnpackException) as exc:
        raise WireVersionMismatch(f"log entries cannot be read: {exc!r}") from exc

"""Entries of many clusters become one answer.

Rule: the answer is the first entries, in the direction asked, of everything that was sent; whatever cut them is
said. It is the same for any arrival order and any split of the same entries over clusters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from heapq import merge as merge_sorted
from itertools import islice

from federation_core.labels import CLUSTER, Labels
from federation_core.query import Direction
from federation_core.signals.logs.distribute import EXPORTED_CLUSTER
from federation_core.signals.logs.payload import NS_PER_MS, Entries, Entry, entry_order
from federation_core.times import format_time


def merge_entries(parts: Mapping[str, Entries], limit: int, direction: Direction) -> tuple[Entries, tuple[str, ...]]:
    """Merge the entries of each cluster, sorted in `direction`, and keep the first `limit`.

    Returns the answer and what must be said of it.
    """
    # The order is that of the streams' own labels: a label added to each of them could change it.
    named = [_named(part.entries, cluster) for cluster, part in sorted(parts.items())]
    merged = merge_sorted(*named, key=entry_order, reverse=direction == "backward")
    kept = list(islice(merged, limit))
    more = any(part.more for part in parts.values()) or sum(len(part.entries) for part in parts.values()) > len(kept)
    warnings = _warnings(parts, kept, limit, direction) if more else ()
    return Entries(tuple(place(entry, entry.cluster) for entry in kept), more), warnings


def _named(entries: Iterable[Entry], cluster: str) -> Iterator[Entry]:
    return (replace(entry, cluster=cluster) for entry in entries)


def _warnings(parts: Mapping[str, Entries], kept: list[Entry], limit: int, direction: Direction) -> tuple[str, ...]:
    rest = "older" if direction == "backward" else "newer"
    said = []
    if len(kept) == limit:
        said.append(f"limit {limit} reached, {rest} entries exist")
    for cluster, part in sorted(parts.items()):
        if not part.more or len(part.entries) >= limit:
            continue
        # Less than asked, and not all: entries are missing unless the answer ends before them.
        last = replace(part.entries[-1], cluster=cluster) if part.entries else None
        if last is None:
            said.append(f"cluster {cluster} sent none of its entries")
        elif len(kept) < limit or last in kept:
            when = format_time(last.t_ns // NS_PER_MS)
            said.append(f"cluster {cluster} stopped at {when}; its {rest} entries are missing")
    return tuple(said)


def place(entry: Entry, cluster: str) -> Entry:
    """Return the entry with its cluster attached, as a label too.

    A store's own, different `cluster` label is shown as `exported_cluster`.
    """
    own = entry.labels.get(CLUSTER)
    if own == cluster:
        return replace(entry, cluster=cluster)
    labels = entry.labels.with_label(CLUSTER, cluster)
    if own:
        labels = labels.with_label(_free_name(labels), own)
    return replace(entry, cluster=cluster, labels=labels)


def _free_name(labels: Labels) -> str:
    """Return `exported_cluster`, with further prefixes where that name is taken, as Prometheus does."""
    name = EXPORTED_CLUSTER
    while labels.get(name):
        name = f"exported_{name}"
    return name

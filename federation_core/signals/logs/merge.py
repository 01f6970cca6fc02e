"""Entries of many clusters become one answer.

Rule: the answer is the first entries, in the direction asked, of everything that was sent; whatever cut them is
said. It is the same for any arrival order and any split of the same entries over clusters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from federation_core.labels import CLUSTER, Labels
from federation_core.query import Direction
from federation_core.signals.logs.distribute import EXPORTED_CLUSTER
from federation_core.signals.logs.payload import NS_PER_MS, Entries, concat, first_entries
from federation_core.times import format_time


def merge_entries(parts: Mapping[str, Entries], limit: int, direction: Direction) -> tuple[Entries, tuple[str, ...]]:
    """Merge the entries of each cluster, sorted in `direction`, and keep the first `limit`.

    Returns the answer and what must be said of it.
    """
    named = {cluster: _named(part, cluster) for cluster, part in sorted(parts.items())}
    # The order is that of the streams' own labels: a label added to each of them could change it.
    together = concat(list(named.values()))
    kept = first_entries(together, limit, direction, more=together.more)
    return _placed(kept), _warnings(named, kept, limit, direction) if kept.more else ()


def _named(part: Entries, cluster: str) -> Entries:
    return replace(part, cluster=np.zeros(len(part), dtype=np.int64), clusters=(cluster,))


def _warnings(parts: Mapping[str, Entries], kept: Entries, limit: int, direction: Direction) -> tuple[str, ...]:
    rest = "older" if direction == "backward" else "newer"
    said = []
    if len(kept) == limit:
        said.append(f"limit {limit} reached, {rest} entries exist")
    for cluster, part in parts.items():
        if not part.more or len(part) >= limit:
            continue
        # Less than asked, and not all: entries are missing unless the answer ends before them.
        if not len(part):
            said.append(f"cluster {cluster} sent none of its entries")
        elif len(kept) < limit or _is_reached(part, kept, direction):
            when = format_time(int(part.t_ns[-1]) // NS_PER_MS)
            said.append(f"cluster {cluster} stopped at {when}; its {rest} entries are missing")
    return tuple(said)


def _is_reached(part: Entries, kept: Entries, direction: Direction) -> bool:
    """Tell whether the last entry of a part is among those that are kept."""
    last, end = part[-1].order, kept[-1].order
    return last >= end if direction == "backward" else last <= end


def _placed(kept: Entries) -> Entries:
    """Attach the cluster of each stream as a label too."""
    # No two clusters share a place in the table of label sets: the parts' tables stand one behind the other.
    used, first = np.unique(kept.labels, return_index=True)
    clusters = [kept.clusters[number] for number in kept.cluster[first].tolist()]
    shown = [place(kept.sets[at], cluster) for at, cluster in zip(used.tolist(), clusters, strict=True)]
    labels = np.searchsorted(used, kept.labels) + len(kept.sets)
    return kept.relabelled(labels, kept.metadata, (*kept.sets, *shown))


def place(labels: Labels, cluster: str) -> Labels:
    """Return a stream's labels with its cluster among them.

    A store's own, different `cluster` label is shown as `exported_cluster`.
    """
    own = labels.get(CLUSTER)
    if own == cluster:
        return labels
    labels = labels.with_label(CLUSTER, cluster)
    return labels.with_label(_free_name(labels), own) if own else labels


def _free_name(labels: Labels) -> str:
    """Return `exported_cluster`, with further prefixes where that name is taken, as Prometheus does."""
    name = EXPORTED_CLUSTER
    while labels.get(name):
        name = f"exported_{name}"
    return name

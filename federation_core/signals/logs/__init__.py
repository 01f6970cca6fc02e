"""The logs signal: LogQL selectors and filters over every cluster's entries, merged by time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from federation_core.connectors import Connector, Fetched
from federation_core.errors import Malformed
from federation_core.labels import Selector
from federation_core.plan import Shard
from federation_core.query import Deadline, Query
from federation_core.signals import ROOM, Room, SignalKind, Silence, Split
from federation_core.signals.logs import distribute
from federation_core.signals.logs.expr import LogQuery, map_selectors, print_query
from federation_core.signals.logs.language import parse
from federation_core.signals.logs.merge import merge_entries
from federation_core.signals.logs.payload import Entries, first_entries
from federation_core.signals.logs.wire import decode, encode
from federation_core.tenancy import Scope


def split(expr: LogQuery, query: Query, clusters: Sequence[str]) -> Split:
    """Ask every cluster that the query accepts for its own first entries."""
    leaves, pruned = distribute.split(expr, query, clusters)
    notes = (f"merge by time at the centre, {query.direction}, first {distribute.limit_of(query)} entries",)
    return Split(leaves=leaves, root=print_query(expr), pruned=pruned, notes=notes)


def run(connector: Connector, shard: Shard, deadline: Deadline) -> dict[str, Fetched]:
    """Fetch the entries of every leaf; what a connector returns is put in order and cut to the leaf's limit.

    Raises Malformed: the connector returned something else than log entries. TimedOut: the deadline has passed.
    """
    answers = {}
    for leaf in shard.leaves:
        deadline.check_clock(shard.cluster_name)
        fetched = connector.fetch(leaf, shard.scope, deadline)
        found = fetched.payload
        if not isinstance(found, Entries):
            raise Malformed(
                f"{connector.kind} returned {type(found).__name__}, not log entries", cluster=shard.cluster_name
            )
        answers[leaf.id] = replace(fetched, payload=first_entries(found, leaf.limit, leaf.direction, more=found.more))
    return answers


def merge(
    root: str,
    query: Query,
    parts: Mapping[str, Mapping[str, Entries]],
    silent: Silence,
    room: Room = ROOM,
) -> tuple[Entries, tuple[str, ...]]:
    """Merge the entries of the clusters that answered; the coverage ledger names those that did not."""
    found = {cluster: leaves[distribute.LEAF_ID] for cluster, leaves in parts.items()}
    return merge_entries(found, distribute.limit_of(query), query.direction)


def redact(payload: Entries, scope: Scope, cluster: str) -> tuple[Entries, int]:
    """Drop the entries whose stream lies outside the scope, whatever the backend made of the conditions."""
    allowed = Selector(scope.conditions(cluster))
    used, streams = np.unique(payload.labels, return_inverse=True)
    visible = np.array([allowed.matches(payload.sets[index]) for index in used.tolist()], dtype=np.bool_)
    kept = payload if visible.all() else payload.take(visible[streams])
    return kept, len(payload) - len(kept)


def suffices(payload: Entries, query: Query) -> bool:
    """Tell whether a part has its newest entries, as many as the answer: older ones have no place in it."""
    return query.direction == "backward" and len(payload) >= distribute.limit_of(query)


def size(payload: Entries) -> tuple[int, int]:
    """Return the numbers of streams and of entries."""
    return payload.streams, len(payload)


def to_json(payload: Entries, query: Query) -> dict[str, Any]:
    """Return the native JSON answer; nanoseconds are strings, as a JSON number cannot hold them."""
    # Sets that entries share are one dictionary in the answer.
    sets = [labels.as_dict() for labels in payload.sets]
    clusters = payload.clusters
    columns = (payload.t_ns, payload.cluster, payload.labels, payload.line, payload.metadata)
    return {
        "entries": [
            {
                "timeUnixNano": str(t_ns),
                "cluster": clusters[cluster],
                "labels": sets[labels],
                "line": line,
                "metadata": sets[metadata],
            }
            for t_ns, cluster, labels, line, metadata in zip(*(column.tolist() for column in columns), strict=True)
        ],
        "cursor": payload.cursor,
    }


KIND = SignalKind(
    name="logs",
    parse=parse,
    print=print_query,
    map_selectors=map_selectors,
    split=split,
    run=run,
    merge=merge,
    redact=redact,
    size=size,
    encode=encode,
    decode=decode,
    to_json=to_json,
    suffices=suffices,
)

"""Running a metrics query over given connectors: planned, run in every cluster, sent over the wire, merged."""

from __future__ import annotations

from collections.abc import Mapping

from federation_core.connectors import Connector
from federation_core.plan import Shard
from federation_core.query import Deadline, TimeRange
from federation_core.signals.metrics import KIND
from federation_core.signals.metrics.frame import Payload
from tests.support.sample_store import FAR_DEADLINE, query_of, scope_of


def federate_over(
    text: str, connectors: Mapping[str, Connector], asked: TimeRange, deadline: Deadline = FAR_DEADLINE
) -> tuple[Payload, tuple[str, ...]]:
    """Return the answer and what was said with it; any cluster's error is raised."""
    query = query_of(text, asked)
    split = KIND.split(KIND.parse(text), query, sorted(connectors))
    parts, said = {}, []
    for cluster, leaves in split.leaves.items():
        shard = Shard("q", cluster, "metrics", leaves, scope_of([cluster]), deadline.at_ms)
        fetched = KIND.run(connectors[cluster], shard, deadline)
        said += [warning for f in fetched.values() for warning in f.warnings]
        parts[cluster] = {leaf: KIND.decode(KIND.encode(f.payload)) for leaf, f in fetched.items()}
    payload, warnings = KIND.merge(split.root, query, parts, {})
    return payload, tuple(dict.fromkeys((*said, *warnings)))

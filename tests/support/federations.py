"""Running a query over stores in memory through plan, run_shard and combine, with nothing in between."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from federation_core.config import SERVED_BY, Backend, Cluster
from federation_core.connectors import Connector
from federation_core.federate import combine, plan, run_shard
from federation_core.labels import Matcher
from federation_core.outcome import Result
from federation_core.query import Query, TimeRange
from federation_core.signals import kind_named
from federation_core.tenancy import Scope
from federation_core.wire import decode_partial, encode_partial

NOW_MS = 1_795_500_000_000


def scope_over(clusters: Collection[str], *conditions: Matcher, tenant: str = "team-a") -> Scope:
    """Return a scope with the same conditions in every cluster."""
    return Scope(tenant, {cluster: tuple(conditions) for cluster in clusters})


def ask(
    stores: Mapping[str, Connector],
    signal: str,
    text: str,
    *,
    scope: Scope | None = None,
    silent: Collection[str] = (),
    start_ms: int = 0,
    end_ms: int = NOW_MS,
    limit: int = 0,
    direction: str = "backward",
) -> Result:
    """Answer a query as the federation does; clusters in `silent` never send their partial."""
    backend = Backend(SERVED_BY.get(signal, signal), "memory", origin="test:1")
    clusters = [Cluster(name, "prod", (backend,), retention_ms=NOW_MS) for name in stores]
    query = Query(signal, text, TimeRange(start_ms, end_ms), "team-a", limit=limit, direction=direction)  # type: ignore[arg-type]
    planned = plan(query, scope or scope_over(stores), clusters, query_id="q", served=stores.keys(), now_ms=NOW_MS)
    kind = kind_named(signal)
    partials = {}
    for shard in planned.shards:
        if shard.cluster_name not in silent:
            partial = run_shard(shard, stores[shard.cluster_name], lambda: NOW_MS)
            partials[shard.cluster_name] = decode_partial(encode_partial(partial, kind.encode), kind.decode)
    return combine(planned, partials, stores.keys())

"""Plans for tests of what carries them about, without planning."""

from __future__ import annotations

from federation_core.outcome import ClusterVerdict, Verdict
from federation_core.plan import Leaf, Plan, Shard
from federation_core.query import Query, TimeRange
from federation_core.tenancy import Scope

NOW_MS = 1_700_000_000_000


def plan_of(
    query_id: str = "q1",
    tenant_id: str = "acme",
    clusters: tuple[str, ...] = ("dev", "prod"),
    *,
    now_ms: int = NOW_MS,
    timeout_ms: int = 5_000,
    pruned: tuple[str, ...] = ("stage",),
) -> Plan:
    """Return a plan that asks every cluster for `up`; `pruned` clusters are left out of it."""
    time_range = TimeRange(now_ms, now_ms)
    leaf = Leaf("a", "up", time_range)
    shards = tuple(
        Shard(query_id, name, "metrics", (leaf,), Scope(tenant_id, {name: ()}), now_ms + timeout_ms - 500)
        for name in clusters
    )
    return Plan(
        query_id=query_id,
        query=Query("metrics", "up", time_range, tenant_id, timeout_ms=timeout_ms),
        fingerprint="f",
        shards=shards,
        root="a",
        left_out=tuple(ClusterVerdict(name, Verdict.PRUNED, "not asked for") for name in pruned),
        notes=(),
        created_ms=now_ms,
        deadline_ms=now_ms + timeout_ms,
    )

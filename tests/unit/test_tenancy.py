"""Isolation: a tenant sees the pairs of its scope, whatever it writes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from federation_core.config import Backend, Cluster
from federation_core.errors import ScopeViolation
from federation_core.federate import plan, run_shard
from federation_core.labels import Matcher, MatchOp
from federation_core.plan import Plan, Shard
from federation_core.query import TimeRange
from federation_core.signals import kind_named
from federation_core.signals.metrics import KIND as METRICS
from federation_core.signals.traces.payload import TracePart
from federation_core.tenancy import Limits, Scope, enforce, verify
from tests.support.sample_store import MemoryConnector, Series, as_dict, every, query_of, series
from tests.support.spans import TRACE, span

MINE = Matcher("namespace", MatchOp.EQ, "mine")
THEIRS = Matcher("namespace", MatchOp.EQ, "theirs")
SCOPE = Scope("team-a", {"prod": (MINE,), "stage": ()})

#: Every kind of expression the language has, each trying to see the other tenant's namespace.
ATTEMPTS = [
    "x",
    'x{namespace="theirs"}',
    'x{namespace=~".*"}',
    'x{namespace!="mine"}',
    '{__name__="x"}',
    '{__name__=~".+"}',
    "x offset 1m",
    "rate(x[5m])",
    'increase(x{namespace="theirs"}[5m])',
    "max_over_time(x[5m])",
    "sum(x)",
    "sum by (namespace) (x)",
    "avg without (pod) (x)",
    "topk(5, x)",
    "x + x",
    'sum(x) / on () sum(x{namespace="theirs"})',
    'x - ignoring (pod) x{namespace="theirs"}',
    "x > 0",
    "-x",
    "(x)",
    "2 * x",
    'histogram_quantile(0.9, x{namespace="theirs"})',
]


def store() -> list[Series]:
    """Two tenants with equal series; theirs count in thousands, so a leak shows in any sum."""
    times = range(0, 600_000, 15_000)
    mine = [
        series(f'x{{namespace="mine",pod="p{i}",le="{i}"}}', every(15_000, [float(i + 1)] * len(times))) for i in (1, 2)
    ]
    theirs = [
        series(f'x{{namespace="theirs",pod="p{i}",le="{i}"}}', every(15_000, [1000.0 * (i + 1)] * len(times)))
        for i in (1, 2)
    ]
    return mine + theirs


def conditions_of(text: str) -> list[tuple[Matcher, ...]]:
    found: list[tuple[Matcher, ...]] = []
    METRICS.map_selectors(METRICS.parse(text), lambda s: (found.append(s.matchers), s)[1])
    return found


@pytest.mark.parametrize("text", ATTEMPTS)
def test_every_selector_of_every_construct_carries_the_scope(text: str) -> None:
    enforced = enforce(METRICS, text, SCOPE, "prod")
    selectors = conditions_of(enforced)
    assert selectors
    assert all(MINE in matchers for matchers in selectors)


@pytest.mark.parametrize("text", ATTEMPTS)
def test_nothing_of_another_tenant_reaches_an_answer(text: str) -> None:
    leaf = enforce(METRICS, text, SCOPE, "prod")
    connector = MemoryConnector(store())
    planned = _plan(text)
    for shard in planned.shards:
        partial = run_shard(shard, connector, lambda: 0)
        for payload in (partial.payloads or {}).values():
            for labels, values in as_dict(payload).items():
                assert labels.get("namespace") in ("", "mine"), leaf
                assert max(values.values(), default=0) < 1000, leaf


def _plan(text: str) -> Plan:
    cluster = Cluster("prod", "prod", (Backend("metrics", "memory", origin="t:1"),), retention_ms=10**15)
    query = query_of(text, TimeRange(500_000, 500_000))
    scope = replace(SCOPE, allowed={"prod": (MINE,)})
    return plan(query, scope, [cluster], query_id="q", served={"prod"}, now_ms=600_000)


def test_the_users_condition_is_kept_beside_the_enforced_one() -> None:
    (matchers,) = conditions_of(enforce(METRICS, 'x{namespace="theirs"}', SCOPE, "prod"))
    assert {MINE, THEIRS} <= set(matchers)


def test_enforcing_twice_changes_nothing() -> None:
    once = enforce(METRICS, "sum(rate(x[5m]))", SCOPE, "prod")
    assert enforce(METRICS, once, SCOPE, "prod") == once


def test_a_cluster_without_conditions_is_asked_the_leaf_as_it_is() -> None:
    assert enforce(METRICS, "sum(x)", SCOPE, "stage") == "sum(x)"


@pytest.mark.parametrize("kind", ["metrics", "logs"])
def test_a_cluster_outside_the_scope_is_refused_in_every_signal(kind: str) -> None:
    text = "x" if kind == "metrics" else '{app="x"}'
    with pytest.raises(ScopeViolation):
        enforce(kind_named(kind), text, SCOPE, "dev")
    with pytest.raises(ScopeViolation):
        verify(kind_named(kind), text, SCOPE, "dev")


def test_a_worker_refuses_a_leaf_that_lost_its_conditions_before_it_asks_the_backend() -> None:
    (shard,) = _plan("sum(x)").shards
    stripped = replace(shard, leaves=tuple(replace(leaf, text="sum(x)") for leaf in shard.leaves))
    connector = MemoryConnector(store())
    partial = run_shard(stripped, connector, lambda: 0)
    assert isinstance(partial.error, ScopeViolation)
    assert connector.asked == []


def test_one_selector_of_two_without_conditions_is_enough_to_refuse() -> None:
    good = enforce(METRICS, "x", SCOPE, "prod")
    with pytest.raises(ScopeViolation):
        verify(METRICS, f"{good} + x", SCOPE, "prod")


def test_a_worker_gets_its_own_clusters_part_of_the_scope_and_no_more() -> None:
    part = SCOPE.restricted_to("prod")
    assert dict(part.allowed) == {"prod": (MINE,)}


def test_scopes_that_differ_in_one_pair_never_share_a_hash() -> None:
    other = Scope("team-a", {"prod": (THEIRS,), "stage": ()})
    another_tenant = replace(SCOPE, tenant_id="team-b")
    tighter = replace(SCOPE, limits=Limits(max_series=1))
    assert len({SCOPE.hash, other.hash, another_tenant.hash, tighter.hash}) == 4
    assert replace(SCOPE, subject="ann").hash == SCOPE.hash


def test_a_scope_and_a_shard_survive_the_wire() -> None:
    assert Scope.from_wire(json.loads(json.dumps(SCOPE.to_wire()))) == SCOPE
    (shard,) = _plan("sum by (namespace) (rate(x[5m]))").shards
    assert Shard.from_wire(json.loads(json.dumps(shard.to_wire()))) == shard


def test_a_trace_by_id_shows_only_the_spans_of_the_scope_and_counts_the_rest() -> None:
    traces = kind_named("traces")
    spans = (span(1, namespace="mine"), span(2, 1, namespace="theirs"), span(3, 1, namespace="theirs"))
    payload, hidden = traces.redact(TracePart(TRACE, spans), SCOPE, "prod")
    assert hidden == 2
    assert b"theirs" not in traces.encode(payload)

"""Routing: asked ∩ allowed ∩ able, and a reason for every cluster left out."""

from __future__ import annotations

from typing import Any

import pytest

from federation_core.config import Backend, Cluster
from federation_core.errors import InvalidRequest, ScopeViolation, Unserved
from federation_core.outcome import Verdict
from federation_core.query import Query, Requirement, TimeRange
from federation_core.tenancy import Scope
from federation_core.topology.routing import Route, route, without_worker

DAY_MS = 86_400_000
NOW = 400 * DAY_MS


def cluster(name: str, environment: str, signals: tuple[str, ...] = ("metrics",), retention_days: int = 90) -> Cluster:
    backends = tuple(Backend(signal, "embedded", path="x") for signal in signals)
    return Cluster(name, environment, backends, retention_ms=retention_days * DAY_MS)


CLUSTERS = (
    cluster("stage", "stage"),
    cluster("prod", "prod", ("metrics", "logs")),
    cluster("app-prod", "prod"),
    cluster("dev", "dev", retention_days=2),
)
NAMES = tuple(c.name for c in CLUSTERS)
EVERYTHING = Scope("team-a", dict.fromkeys(NAMES, ()))


def ask(signal: str = "metrics", start_ms: int = NOW, end_ms: int = NOW, **narrow: Any) -> Query:
    return Query(signal, "up", TimeRange(start_ms, end_ms), "team-a", **narrow)


def routed(query: Query, scope: Scope) -> Route:
    return route(query, scope, CLUSTERS)


def names(query: Query, scope: Scope = EVERYTHING) -> tuple[str, ...]:
    return tuple(c.name for c in routed(query, scope).clusters)


def verdicts(query: Query, scope: Scope = EVERYTHING) -> dict[str, tuple[Verdict, str]]:
    return {row.cluster: (row.verdict, row.reason) for row in routed(query, scope).left_out}


def test_the_default_is_every_allowed_cluster_in_a_fixed_order() -> None:
    assert names(ask()) == ("app-prod", "dev", "prod", "stage")
    assert verdicts(ask()) == {}


def test_clusters_and_environments_narrow_together() -> None:
    assert names(ask(clusters=("prod", "stage"), environments=("prod",))) == ("prod",)


def test_a_cluster_not_asked_for_is_in_the_ledger_as_pruned() -> None:
    assert verdicts(ask(environments=("prod",))) == {
        "dev": (Verdict.PRUNED, "not asked for"),
        "stage": (Verdict.PRUNED, "not asked for"),
    }


@pytest.mark.parametrize(
    ("narrow", "said"),
    [
        ({"clusters": ("prd",)}, "clusters: there is no cluster 'prd'"),
        ({"environments": ("qa",)}, "environments: there is no environment 'qa'"),
        ({"requirement": Requirement("critical", critical=("prd",))}, "require: there is no cluster 'prd'"),
    ],
)
def test_an_unknown_name_is_an_error_that_lists_the_known_ones(narrow: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as caught:
        names(ask(**narrow))
    assert "prod" in caught.value.expected


def test_clusters_and_environments_outside_the_scope_are_not_listed() -> None:
    scope = Scope("team-a", {"app-prod": ()})
    for narrow, known in (({"clusters": ("prd",)}, "one of app-prod"), ({"environments": ("qa",)}, "one of prod")):
        with pytest.raises(InvalidRequest) as caught:
            names(ask(**narrow), scope)
        assert caught.value.expected == known


def test_names_that_exist_and_select_nothing_together_are_an_error() -> None:
    with pytest.raises(InvalidRequest, match="select no cluster"):
        names(ask(clusters=("dev",), environments=("prod",)))


def test_an_empty_scope_allows_nothing_rather_than_everything() -> None:
    with pytest.raises(ScopeViolation):
        names(ask(), Scope("team-a", {}))


@pytest.mark.parametrize("narrow", ["clusters", "environments", "critical"])
def test_a_name_outside_the_scope_is_refused_as_one_that_is_not_there(narrow: str) -> None:
    def told(name: str) -> str:
        asked = (
            {"requirement": Requirement("critical", critical=(name,))} if narrow == "critical" else {narrow: (name,)}
        )
        with pytest.raises(InvalidRequest) as caught:
            names(ask(**asked), Scope("team-a", {"prod": ()}))
        return f"{caught.value.message} {caught.value.details}".replace(name, "X")

    assert told("stage") == told("nowhere")


def test_a_cluster_outside_the_scope_is_invisible_where_nobody_names_it() -> None:
    scope = Scope("team-a", {"prod": ()})
    assert names(ask(), scope) == ("prod",)
    assert verdicts(ask(), scope) == {}


def test_a_cluster_without_a_worker_is_missing_not_pruned() -> None:
    row = without_worker(CLUSTERS[0])
    assert row.verdict is Verdict.NO_WORKER
    assert "cluster.stage" in row.reason
    assert isinstance(row.error, Unserved)


def test_a_cluster_without_a_backend_of_the_signal_is_pruned_with_that_reason() -> None:
    assert names(ask("logs")) == ("prod",)
    assert verdicts(ask("logs"))["stage"] == (Verdict.PRUNED, "has no backend for logs")


def test_what_a_cluster_no_longer_keeps_is_no_proof_that_it_had_none() -> None:
    assert "dev" in names(ask(start_ms=NOW - 5 * DAY_MS, end_ms=NOW - 3 * DAY_MS))

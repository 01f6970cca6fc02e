"""A cluster whose backend is not asked: left out of a plan with the reason, and with when to come back."""

from __future__ import annotations

import json

import pytest

from federation_core.config import Backend, Cluster
from federation_core.errors import BreakerOpen, CoverageTooLow, from_wire
from federation_core.federate import combine, explain, plan, run_shard
from federation_core.health import BackendBreaker, Breaker
from federation_core.outcome import Partial, Verdict, fails_query
from federation_core.plan import Plan
from federation_core.query import Query, Requirement, TimeRange
from federation_core.tenancy import Scope
from federation_core.topology.presence import Presence
from tests.support.sample_store import MemoryConnector, every, series

NOW = 600_000
NAMES = ("dev", "prod", "stage")
BACKENDS = (Backend("metrics", "memory", origin="t:1"), Backend("logs", "memory", origin="t:2"))
CLUSTERS = [Cluster(name, "prod", BACKENDS) for name in NAMES]
WORDS = "the backend refuses our credentials or tenant (401)"
SAID = (
    "its metrics backend is not asked since 1970-01-01T00:09:00.000Z, as it fails again and again: "
    f"{WORDS}; it is tried again at 1970-01-01T00:10:07.500Z"
)


def breaker(state: Breaker = Breaker.OPEN, retry_in_ms: int = 7_500) -> BackendBreaker:
    return BackendBreaker(state, NOW - 60_000, NOW + retry_in_ms, 4, WORDS)


def planned(
    text: str = "sum(x)",
    require: str = "best_effort",
    signal: str = "metrics",
    shut: dict[str, dict[str, BackendBreaker]] | None = None,
) -> tuple[Plan, Presence]:
    query = Query(signal, text, TimeRange(NOW, NOW), "team-a", requirement=Requirement.parse(require))
    served = Presence(NAMES, breakers={"stage": {"metrics": breaker()}} if shut is None else shut)
    scope = Scope("team-a", dict.fromkeys(NAMES, ()))
    return plan(query, scope, CLUSTERS, query_id="q-1", served=served, now_ms=NOW), served


def answered(made: Plan) -> dict[str, Partial]:
    connector = MemoryConnector([series('x{pod="a"}', every(15_000, [1] * 41))])
    return {shard.cluster_name: run_shard(shard, connector, lambda: NOW) for shard in made.shards}


@pytest.mark.parametrize("state", [Breaker.OPEN, Breaker.HALF_OPEN])
def test_a_cluster_whose_breaker_is_not_closed_is_sent_nothing_and_is_missing(state: Breaker) -> None:
    made, served = planned(shut={"stage": {"metrics": breaker(state)}})
    assert [shard.cluster_name for shard in made.shards] == ["dev", "prod"]
    result = combine(made, answered(made), served)
    assert {row.cluster: row.verdict for row in result.coverage.clusters} == {
        "dev": Verdict.OK,
        "prod": Verdict.OK,
        "stage": Verdict.BREAKER_OPEN,
    }
    assert (result.status, result.payload is not None) == ("partial", True)


def test_it_is_said_since_when_and_why_and_when_it_is_tried_again() -> None:
    made, served = planned()
    assert combine(made, answered(made), served).warnings == (f"cluster stage is missing (breaker_open): {SAID}",)
    assert explain(made)["leftOut"] == [{"cluster": "stage", "verdict": "breaker_open", "reason": SAID}]
    assert Plan.from_wire(json.loads(json.dumps(made.to_wire()))).left_out[0].error.retry_after_s == 8


def test_while_it_is_tried_that_is_said() -> None:
    made, _ = planned(shut={"stage": {"metrics": breaker(Breaker.HALF_OPEN)}})
    assert made.left_out[0].reason.endswith(f"{WORDS}; it is being tried")


def test_a_closed_breaker_leaves_nobody_out() -> None:
    made, _ = planned(shut={"stage": {"metrics": breaker(Breaker.CLOSED)}})
    assert (len(made.shards), made.left_out) == (3, ())


def test_a_breaker_is_of_one_backend_and_series_are_asked_of_the_one_of_metrics() -> None:
    assert len(planned('{app="x"}', signal="logs")[0].shards) == 3
    assert [row.verdict for row in planned("labels {}", signal="series")[0].left_out] == [Verdict.BREAKER_OPEN]


def test_a_cluster_whose_share_folds_away_is_pruned_whatever_its_backend_does() -> None:
    made, _ = planned('sum(x{cluster="prod"})')
    assert {row.cluster: row.verdict for row in made.left_out} == {"dev": Verdict.PRUNED, "stage": Verdict.PRUNED}


def test_a_cluster_without_a_worker_is_that_and_no_more() -> None:
    query = Query("metrics", "sum(x)", TimeRange(NOW, NOW), "team-a")
    served = Presence({"dev", "prod"}, breakers={"stage": {"metrics": breaker()}})
    scope = Scope("team-a", dict.fromkeys(NAMES, ()))
    made = plan(query, scope, CLUSTERS, query_id="q-1", served=served, now_ms=NOW)
    assert [row.verdict for row in made.left_out] == [Verdict.NO_WORKER]


@pytest.mark.parametrize(("retry_in_ms", "after_s"), [(7_500, 8), (30_000, 30), (-5_000, 1)])
def test_who_requires_more_than_is_left_is_told_when_to_come_back(retry_in_ms: int, after_s: int) -> None:
    made, served = planned(require="all", shut={"stage": {"metrics": breaker(retry_in_ms=retry_in_ms)}})
    error = combine(made, answered(made), served).error
    assert isinstance(error, CoverageTooLow)
    assert (error.clusters, error.retry_after_s) == (["stage"], after_s)


def test_where_no_backend_is_asked_there_is_no_answer_and_no_empty_one() -> None:
    made, served = planned(shut={name: {"metrics": breaker(retry_in_ms=n * 1_000)} for n, name in enumerate(NAMES)})
    error = combine(made, {}, served).error
    assert isinstance(error, CoverageTooLow)
    assert (error.retry_after_s, "breaker_open" in error.message) == (2, True)


def test_a_worker_that_refuses_a_shard_for_its_breaker_costs_its_cluster_alone() -> None:
    error = from_wire(BreakerOpen("not asked", cluster="stage", retry_after_s=3).to_wire())
    assert Partial("q-1", "stage", error=error).verdict().verdict is Verdict.BREAKER_OPEN
    assert not fails_query(error)

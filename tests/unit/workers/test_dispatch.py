"""Dispatch and its places: who does not send a plan gives them back. Real Redis; no worker takes what is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import pytest

from federation_core.config import Backend, Cluster, RateLimit, Settings
from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.redis import connect
from federation_core.errors import BrokerUnavailable, CoverageTooLow, QuotaExceeded, StoreUnavailable
from federation_core.plan import Plan
from federation_core.query import Requirement
from federation_core.tenancy import Limits
from tests.support.plans import plan_of
from workers.dispatch import Dispatch, wall_clock_ms

TWO = Limits(max_running_jobs=2)
ONE_AT_A_TIME = RateLimit(max_concurrent=1, max_queued=0)


@pytest.fixture
def dispatch(redis_url: str) -> Dispatch:
    clusters = (
        Cluster("dev", "dev", (Backend("metrics", "memory"),)),
        Cluster("prod", "prod", (Backend("metrics", "memory"),), rate_limit=ONE_AT_A_TIME),
    )
    return Dispatch(Settings(clusters, redis_url=redis_url))


def planned(query_id: str, require: str = "best_effort", clusters: tuple[str, ...] = ("dev", "prod")) -> Plan:
    plan = plan_of(query_id, clusters=clusters, now_ms=wall_clock_ms(), timeout_ms=60_000)
    return replace(plan, query=replace(plan.query, requirement=Requirement.parse(require)))


def places(redis_url: str) -> dict[str, int]:
    redis: Any = connect(redis_url)
    names = (keys.running("acme"), keys.in_flight("dev"), keys.in_flight("prod"))
    return {name: redis.zcard(name) for name in names}


def test_a_cluster_without_a_place_is_left_out_of_the_plan(dispatch: Dispatch, redis_url: str) -> None:
    assert len(dispatch.admit(planned("q1"), TWO).shards) == 2
    plan = dispatch.admit(planned("q2"), TWO)
    assert [shard.cluster_name for shard in plan.shards] == ["dev"]
    assert {row.cluster: row.verdict.value for row in plan.left_out} == {"prod": "throttled", "stage": "pruned"}


def test_a_query_that_cannot_be_answered_as_required_keeps_no_place(dispatch: Dispatch, redis_url: str) -> None:
    dispatch.admit(planned("q1", clusters=("prod",)), TWO)
    before = places(redis_url)
    with pytest.raises(CoverageTooLow, match="the answer needs all and lacks prod"):
        dispatch.admit(planned("q2", require="all"), TWO)
    assert places(redis_url) == before


def test_a_refused_tenant_takes_no_place(dispatch: Dispatch, redis_url: str) -> None:
    for query_id in ("q1", "q2"):
        dispatch.admit(planned(query_id, clusters=("dev",)), TWO)
    before = places(redis_url)
    with pytest.raises(QuotaExceeded):
        dispatch.admit(planned("q3"), TWO)
    assert places(redis_url) == before


def test_a_job_that_follows_another_keeps_no_place(dispatch: Dispatch, redis_url: str) -> None:
    leading = dispatch.admit(planned("q1", clusters=("dev",)), TWO)
    assert dispatch.share(leading).query_id == "q1"
    before = places(redis_url)
    following = dispatch.admit(planned("q2", clusters=("dev",)), TWO)
    assert dispatch.share(following).query_id == "q1"
    assert places(redis_url) == before


def test_a_query_that_the_broker_does_not_take_keeps_no_place(
    dispatch: Dispatch, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StoreUnavailable("Redis does not answer")

    monkeypatch.setattr(dispatch.jobs, "submit", refuse)
    plan = dispatch.admit(planned("q1"), TWO)
    with pytest.raises(BrokerUnavailable):
        dispatch.submit(plan)
    assert set(places(redis_url).values()) == {0}


def test_who_joined_a_job_that_could_not_be_sent_is_told_at_once_and_nobody_joins_it_any_more(
    dispatch: Dispatch, redis_url: str
) -> None:
    redis: Any = connect(redis_url)
    # A queue that the broker does not take messages for.
    redis.set("cluster.dev", "junk")
    followers: list[str] = []
    send = dispatch.jobs.send

    def send_late(*what: Any) -> None:
        followers.append(dispatch.share(planned("q2", clusters=("dev",))).query_id)
        send(*what)

    dispatch.jobs.send = send_late  # type: ignore[method-assign]
    leading = planned("q1", clusters=("dev",))
    with pytest.raises(BrokerUnavailable):
        dispatch.share(leading)
    assert followers == ["q1"]
    for query_id in ("q1", "q2"):
        assert dispatch.jobs.job("acme", query_id).state.value == "failed"
    result = dispatch.wait(leading, 0)
    assert result is not None
    assert isinstance(result.error, BrokerUnavailable)
    redis.delete("cluster.dev")
    dispatch.jobs.send = send  # type: ignore[method-assign]
    assert dispatch.share(planned("q3", clusters=("dev",))).query_id == "q3"


def test_a_job_that_could_not_be_sent_takes_no_flight_from_another(dispatch: Dispatch, redis_url: str) -> None:
    redis: Any = connect(redis_url)
    flight = keys.flight("acme", "f")
    leading = planned("q1", clusters=("dev",))
    assert dispatch.flights.enter(leading) == "q1"
    dispatch.flights.leave(planned("q2", clusters=("dev",)))
    assert redis.get(flight) == b"q1"
    dispatch.flights.leave(leading)
    assert redis.get(flight) is None


def test_a_connection_that_redis_has_closed_costs_no_query(dispatch: Dispatch, redis_url: str) -> None:
    redis: Any = connect(redis_url)
    for query_id in ("q1", "q2"):
        dispatch.submit(planned(query_id))
        redis.client_kill_filter(_type="normal", skipme=True)
    assert redis.llen("cluster.dev") == 2


@pytest.mark.parametrize("share", [False, True])
def test_everything_is_written_with_the_job_and_nothing_else(dispatch: Dispatch, redis_url: str, share: bool) -> None:
    plan = planned("q1")
    (dispatch.share if share else dispatch.submit)(plan)
    redis: Any = connect(redis_url)
    names = {key.decode() for key in redis.scan_iter()} - {"deadlines", "jobs:acme", keys.flight("acme", "f")}
    assert names == {"job:acme:q1", "chord:acme:q1", "cluster.dev", "cluster.prod"}
    assert set(redis.hkeys("chord:acme:q1")) == {b"part:dev", b"part:prod", b"queue", b"message"}


def test_an_ended_job_keeps_no_place(dispatch: Dispatch, redis_url: str) -> None:
    plan = dispatch.admit(planned("q1"), TWO)
    dispatch.submit(plan)
    assert set(places(redis_url).values()) == {1}
    dispatch.cancel("acme", "q1")
    assert set(places(redis_url).values()) == {0}


@pytest.mark.parametrize("record", [b"\xc1", b"junk", b"\x80", msgpack.packb({"v": 99})])
def test_a_job_that_cannot_be_read_keeps_the_reaper_from_no_other(
    dispatch: Dispatch, redis_url: str, record: bytes
) -> None:
    past_ms = wall_clock_ms() - 60_000
    for number, query_id in enumerate(("unreadable", "readable")):
        dispatch.jobs.create(plan_of(query_id, now_ms=past_ms + number))
    redis: Any = connect(redis_url)
    redis.hset(keys.job("acme", "unreadable"), "plan", record)
    assert dispatch.reap() == 1
    assert dispatch.jobs.job("acme", "readable").state.final
    assert dispatch.jobs.overdue(wall_clock_ms()) == ()

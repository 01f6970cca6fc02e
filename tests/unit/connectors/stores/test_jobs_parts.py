"""Sending a job's tasks and joining their parts, on a real Redis; the worker and the broker are played by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.jobs import Jobs, JobState
from federation_core.connectors.stores.redis import connect
from federation_core.errors import StoreUnavailable
from federation_core.outcome import ClusterVerdict, Stats, Verdict
from federation_core.plan import Plan
from tests.support.plans import NOW_MS, plan_of

OWNER = "c0ffee"
CALLBACK = ("merge", '{"headers": {"id": "the callback"}}')


@pytest.fixture
def redis(redis_url: str) -> Any:
    return connect(redis_url)


@pytest.fixture
def jobs(redis_url: str) -> Jobs:
    return Jobs(redis_url, clock=lambda: NOW_MS)


def messages_of(plan: Plan) -> list[tuple[str, str]]:
    tenant_id = plan.query.tenant_id
    ids = {shard.cluster_name: keys.part(shard.cluster_name, tenant_id, plan.query_id) for shard in plan.shards}
    return [(keys.cluster_queue(name), json.dumps({"headers": {"id": task_id}})) for name, task_id in ids.items()]


def sent(jobs: Jobs, plan: Plan) -> Plan:
    jobs.submit(plan, messages_of(plan), CALLBACK)
    return plan


def put(jobs: Jobs, cluster: str, query_id: str = "q1", tenant_id: str = "acme", **more: str) -> bool:
    return jobs.parts.put(tenant_id, query_id, cluster, b"data", ClusterVerdict(cluster, Verdict.OK), **more)


def callbacks(redis: Any) -> list[str]:
    return [message.decode() for message in redis.lrange("merge", 0, -1)]


def test_a_submitted_job_is_there_with_every_message_and_no_callback(jobs: Jobs, redis: Any) -> None:
    plan = sent(jobs, plan_of())
    assert jobs.job("acme", "q1").plan == plan
    assert [redis.lrange(queue, 0, -1) for queue, _ in messages_of(plan)] == [
        [message.encode()] for _, message in messages_of(plan)
    ]
    assert callbacks(redis) == []


def test_nothing_is_sent_of_a_job_of_which_redis_has_refused_a_part(jobs: Jobs, redis: Any) -> None:
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable, match="refuses"):
            sent(jobs, plan_of())
    finally:
        redis.config_set("maxmemory", 0)
    assert list(redis.scan_iter()) == []


@pytest.mark.parametrize(
    "key", ["job:acme:q1", "jobs:acme", "deadlines", "chord:acme:q1", "cluster.dev", "cluster.prod"]
)
def test_nothing_is_sent_of_a_job_one_of_whose_keys_holds_something_else(jobs: Jobs, redis: Any, key: str) -> None:
    redis.set(key, "junk")
    with pytest.raises(StoreUnavailable, match=f"{key} holds a string"):
        sent(jobs, plan_of())
    assert list(redis.scan_iter()) == [key.encode()]


def test_the_last_part_sends_the_callback_and_no_other_does(jobs: Jobs, redis: Any) -> None:
    sent(jobs, plan_of(clusters=("dev", "prod", "test")))
    assert [put(jobs, "test"), put(jobs, "dev")] == [False, False]
    assert callbacks(redis) == []
    assert put(jobs, "prod")
    assert callbacks(redis) == [CALLBACK[1]]
    assert not redis.exists(keys.chord("acme", "q1"))


def test_a_single_shard_is_joined_too(jobs: Jobs, redis: Any) -> None:
    sent(jobs, plan_of(clusters=("dev",)))
    assert put(jobs, "dev")
    assert callbacks(redis) == [CALLBACK[1]]


def test_a_part_written_again_stands_for_no_other(jobs: Jobs, redis: Any) -> None:
    sent(jobs, plan_of())
    assert [put(jobs, "dev"), put(jobs, "dev")] == [False, False]
    assert callbacks(redis) == []
    assert [put(jobs, "prod"), put(jobs, "prod"), put(jobs, "dev")] == [True, False, False]
    assert callbacks(redis) == [CALLBACK[1]]


def test_a_part_of_a_cluster_that_was_not_asked_joins_nothing(jobs: Jobs, redis: Any) -> None:
    sent(jobs, plan_of())
    assert [put(jobs, "stage"), put(jobs, "dev"), put(jobs, "test")] == [False, False, False]
    assert callbacks(redis) == []


def test_parts_of_one_query_join_no_other(jobs: Jobs, redis: Any) -> None:
    sent(jobs, plan_of("q1"))
    sent(jobs, plan_of("q2"))
    sent(jobs, plan_of("q1", "rival"))
    assert [put(jobs, "dev"), put(jobs, "prod", "q2"), put(jobs, "prod", tenant_id="rival")] == [False] * 3
    assert callbacks(redis) == []


def test_a_part_whose_chord_is_lost_is_kept(jobs: Jobs, redis: Any) -> None:
    assert not put(jobs, "dev")
    assert jobs.parts.read("acme", "q1", ("dev",)) == {"dev": b"data"}
    assert callbacks(redis) == []


@pytest.mark.parametrize("again", [Jobs.send, Jobs.submit])
def test_a_job_sent_twice_runs_once(jobs: Jobs, redis: Any, again: Callable[..., None]) -> None:
    plan = sent(jobs, plan_of())
    put(jobs, "dev")
    again(jobs, plan, messages_of(plan), CALLBACK)
    assert [redis.llen(queue) for queue, _ in messages_of(plan)] == [1, 1]
    assert [put(jobs, "dev"), put(jobs, "prod")] == [False, True]
    assert callbacks(redis) == [CALLBACK[1]]


def test_a_job_submitted_again_after_its_end_is_not_run_again(jobs: Jobs, redis: Any) -> None:
    plan = sent(jobs, plan_of())
    assert [put(jobs, "dev"), put(jobs, "prod")] == [False, True]
    jobs.put_result("acme", "q1", b"answer", JobState.COMPLETE)
    sent(jobs, plan)
    assert [redis.llen(queue) for queue, _ in messages_of(plan)] == [1, 1]
    assert jobs.overdue(plan.deadline_ms) == ()


def test_a_job_that_was_created_is_sent_later(jobs: Jobs, redis: Any) -> None:
    plan = plan_of()
    jobs.create(plan)
    assert redis.exists(keys.chord("acme", "q1")) == 0
    jobs.send(plan, messages_of(plan), CALLBACK)
    assert [put(jobs, "dev"), put(jobs, "prod")] == [False, True]


@pytest.mark.parametrize(
    ("tenant_id", "query_id", "clusters"),
    [
        ("a:b", "q1", ("dev", "prod")),
        ("te%nant", "q:1", ("dev", "prod")),
        ("Ünal*", "[q]", ("dev", "prod")),
        ("acme", "q1", ("d:v", "pr od%")),
    ],
)
def test_names_of_any_spelling_are_joined_and_their_messages_finished(
    jobs: Jobs, redis: Any, tenant_id: str, query_id: str, clusters: tuple[str, ...]
) -> None:
    plan = sent(jobs, plan_of(query_id, tenant_id, clusters))
    leases = [take(redis, shard.cluster_name) for shard in plan.shards]
    assert [put(jobs, shard.cluster_name, query_id, tenant_id, owner=OWNER) for shard in plan.shards] == [False, True]
    assert [redis.llen(lease) for lease in leases] == [0, 0]


def take(redis: Any, cluster: str, owner: str = OWNER) -> str:
    """Take the next message as a worker does."""
    lease = keys.lease(keys.cluster_queue(cluster), owner)
    assert redis.lmove(keys.cluster_queue(cluster), lease, "RIGHT", "LEFT")
    return lease


def test_a_part_finishes_its_own_message_alone(jobs: Jobs, redis: Any) -> None:
    for query_id in ("q1", "q10", "q2"):
        sent(jobs, plan_of(query_id))
        lease = take(redis, "dev")
    others = take(redis, "prod")
    put(jobs, "dev", owner=OWNER)
    left = [json.loads(message)["headers"]["id"] for message in redis.lrange(lease, 0, -1)]
    assert left == ["part:dev:acme:q2", "part:dev:acme:q10"]
    assert redis.llen(others) == 1


def test_another_owners_lease_is_left_alone(jobs: Jobs, redis: Any) -> None:
    sent(jobs, plan_of())
    lease = take(redis, "dev", "somebody")
    put(jobs, "dev", owner=OWNER)
    put(jobs, "dev")
    assert redis.llen(lease) == 1


def test_a_message_that_was_delivered_twice_is_finished_once_and_for_all(jobs: Jobs, redis: Any) -> None:
    plan = sent(jobs, plan_of())
    redis.lpush(*messages_of(plan)[0])
    take(redis, "dev")
    lease = take(redis, "dev")
    put(jobs, "dev", owner=OWNER)
    assert redis.llen(lease) == 0


def test_a_message_is_finished_also_where_its_part_is_there_already(jobs: Jobs, redis: Any) -> None:
    plan = sent(jobs, plan_of())
    put(jobs, "dev")
    redis.zadd(keys.in_flight("dev"), {keys.member("acme", "q1"): NOW_MS})
    lease = take(redis, "dev")
    put(jobs, "dev", owner=OWNER)
    assert (redis.llen(lease), redis.zcard(keys.in_flight("dev"))) == (0, 0)
    assert [put(jobs, plan.shards[1].cluster_name)] == [True]


def test_what_is_shown_of_a_part_is_small(jobs: Jobs, redis: Any) -> None:
    stats = Stats(series=1_000, rows=250_000, bytes=20_000)
    row = ClusterVerdict("prod", Verdict.OK, elapsed_ms=1_200, stats=stats, watermark_ms=NOW_MS)
    jobs.parts.put("acme", "q1", "prod", b"data", row)
    assert len(redis.hget(keys.part("prod", "acme", "q1"), "head")) < 24


def test_everything_that_is_sent_has_a_time_to_live(jobs: Jobs, redis: Any) -> None:
    sent(jobs, plan_of())
    assert [key for key in redis.scan_iter() if redis.pttl(key) == -1] == []
    assert redis.pttl(keys.chord("acme", "q1")) <= plan_of().query.timeout_ms + keys.JOIN_LATE_MS
    put(jobs, "dev")
    put(jobs, "prod")
    assert [key for key in redis.scan_iter() if redis.pttl(key) == -1] == []
    assert 0 < redis.pttl("merge") <= keys.QUEUE_TTL_MS

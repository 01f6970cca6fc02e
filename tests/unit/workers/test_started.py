import time
from collections.abc import Callable

import pytest

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.jobs import Jobs
from federation_core.connectors.stores.redis import connect
from tests.support.plans import NOW_MS, plan_of
from workers import started
from workers.started import Started


def until(happened: Callable[[], object]) -> None:
    end_s = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def said(redis_url: str, query_id: str) -> bytes | None:
    found: bytes | None = connect(redis_url).hget(keys.part("prod", "acme", query_id), "started_ms")  # type: ignore[assignment]
    return found


@pytest.fixture
def shards(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Started:
    monkeypatch.setattr(started, "SAID_AFTER_S", 0.05)
    jobs = Jobs(redis_url, clock=lambda: NOW_MS)
    for query_id in ("q1", "short", "long", "a1", "a2", "b1", "b2"):
        jobs.create(plan_of(query_id))
    return Started(jobs, lambda: NOW_MS)


def test_of_a_shard_that_runs_for_long_it_is_said_when_it_began(shards: Started, redis_url: str) -> None:
    with shards.running("acme", "q1", "prod"):
        until(lambda: said(redis_url, "q1") == str(NOW_MS).encode())


def test_of_a_shard_that_ends_soon_nothing_is_said(shards: Started, redis_url: str) -> None:
    with shards.running("acme", "short", "prod"):
        pass
    with shards.running("acme", "long", "prod"):
        # Due later than the first would have been.
        until(lambda: said(redis_url, "long"))
    assert said(redis_url, "short") is None


def test_it_is_said_of_each_of_many_and_again_after_a_while_without_any(shards: Started, redis_url: str) -> None:
    for round_ in ("a", "b"):
        with shards.running("acme", f"{round_}1", "prod"), shards.running("acme", f"{round_}2", "prod"):
            until(lambda r=round_: said(redis_url, f"{r}1") and said(redis_url, f"{r}2"))
        until(lambda: not shards._awake.is_set())


def test_a_redis_that_is_away_costs_only_the_saying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(started, "SAID_AFTER_S", 0.01)
    shards = Started(Jobs("redis://127.0.0.1:1/0"), lambda: NOW_MS)
    for _ in range(2):
        with shards.running("acme", "q1", "prod"):
            until(lambda: not shards._awake.is_set())


def test_a_thread_that_cannot_be_started_costs_no_shard_and_is_started_by_the_next(
    shards: Started, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(started.Thread, "start", refuse)
        with shards.running("acme", "short", "prod"):
            pass
    with shards.running("acme", "long", "prod"):
        until(lambda: said(redis_url, "long"))
    assert said(redis_url, "short") is None

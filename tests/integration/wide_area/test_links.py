"""Links that fail, and workers or Redis at their ends that do: nobody else pays, nothing is lost, all come back."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from federation_core.connectors.stores.jobs import wall_clock_ms
from federation_core.connectors.stores.jobs_beats import Heartbeats
from federation_core.connectors.stores.redis import connect
from federation_core.plan import Plan
from tests.integration.failures.conftest import ALL_OK, Federation
from tests.support.stack import CLUSTERS, kill, verdicts
from tests.support.wide_area_stack import WideAreaStack

pytestmark = pytest.mark.heavy
QUEUE = "cluster.stage"
LOST = ("timed_out", "no_worker")


def links_of(federation: Federation) -> WideAreaStack:
    assert isinstance(federation.stack, WideAreaStack)
    return federation.stack


def running_at_stage(federation: Federation, queries: int = 1, timeout_ms: int = 60_000) -> list[Plan]:
    """Send queries and return once the worker of `stage` holds their shards and all other clusters have answered."""
    stack = federation.stack
    stack.break_clusters({"stage": {"hold": True}})
    plans = [federation.submitted(timeout_ms) for _ in range(queries)]
    for plan in plans:
        stack.until(lambda plan=plan: federation.parts(plan) == set(CLUSTERS) - {"stage"})
        stack.until(lambda plan=plan: states(federation, plan)["stage"] == "running")
    return plans


def states(federation: Federation, plan: Plan) -> dict[str, str]:
    job = federation.stack.dispatch.jobs.job("acme", plan.query_id)
    return {row.cluster: row.state for row in job.progress}


def heard_since(federation: Federation, since_ms: int) -> set[str]:
    """Return the clusters whose workers have said since that they are there; an older beat may soon count no more."""
    beats = Heartbeats(federation.stack.url).latest(CLUSTERS, wall_clock_ms())
    return {name for name, beat in beats.items() if beat.alive and beat.last_seen_ms > since_ms}


def test_a_link_that_hangs_for_30_s_costs_its_cluster_alone_and_comes_back(federation: Federation) -> None:
    stack = links_of(federation)
    (before,) = running_at_stage(federation)
    stack.wan.set_mode("hang", "stage")
    hung_s = time.monotonic()
    stack.break_clusters({})
    found = verdicts(federation.answer(federation.submitted()))
    assert found.pop("stage") in LOST
    assert set(found.values()) == {"ok"}
    stack.until(lambda: "stage" not in stack.dispatch.served())
    while time.monotonic() < hung_s + 30:
        assert verdicts(federation.answer(federation.submitted())) == {**ALL_OK, "stage": "no_worker"}
        time.sleep(2)
    stack.wan.set_mode("ok", "stage")
    stack.until(lambda: "stage" in stack.dispatch.served())
    assert verdicts(federation.answer(before)) == ALL_OK
    assert [verdicts(stack.ask()) for _ in range(5)] == [ALL_OK] * 5
    assert federation.workers["stage"].poll() is None


def test_shards_that_a_link_lost_on_their_way_are_found_again(federation: Federation) -> None:
    stack = links_of(federation)
    # The connections are dead from now on, but neither end knows: what is sent to the worker goes into them.
    stack.wan.set_mode("hang", "stage")
    stack.wan.set_mode("ok", "stage")
    plans = [federation.submitted(60_000) for _ in range(3)]
    assert [verdicts(federation.answer(plan)) for plan in plans] == [ALL_OK] * 3


def test_a_link_that_stalls_delivers_late_and_loses_nothing(federation: Federation) -> None:
    stack = links_of(federation)
    (running,) = running_at_stage(federation)
    stack.wan.set_mode("stall", "stage")
    stack.break_clusters({})
    waiting = federation.submitted(60_000)
    late = federation.submitted()
    found = verdicts(federation.answer(late))
    assert found.pop("stage") in LOST
    assert set(found.values()) == {"ok"}
    time.sleep(6)
    stack.wan.set_mode("ok", "stage")
    assert [verdicts(federation.answer(plan)) for plan in (running, waiting)] == [ALL_OK] * 2


def test_links_that_are_cut_and_mended_lose_nothing(federation: Federation) -> None:
    stack = links_of(federation)
    (running,) = running_at_stage(federation)
    stack.wan.set_mode("close")
    waiting = federation.submitted(60_000)
    stack.break_clusters({})
    time.sleep(0.5)
    stack.wan.set_mode("ok")
    assert [verdicts(federation.answer(plan)) for plan in (running, waiting)] == [ALL_OK] * 2


def test_what_a_killed_worker_held_is_answered_by_another_one_of_its_cluster(federation: Federation) -> None:
    stack = federation.stack
    plans = running_at_stage(federation, 3)
    assert connect(stack.url).llen(QUEUE) == 0
    ready = stack.log().count('"message": "ready"')
    killed = federation.workers["stage"]
    federation.workers["stage"] = stack.start_worker(["stage"])
    stack.until(lambda: stack.log().count('"message": "ready"') > ready)
    kill(killed)
    stack.break_clusters({})
    assert [verdicts(federation.answer(plan)) for plan in plans] == [ALL_OK] * 3


@pytest.mark.parametrize("keeps_data", [True, False], ids=["with its data", "without its data"])
def test_redis_restarts_three_times_in_a_row_under_running_shards(federation: Federation, keeps_data: bool) -> None:
    stack = federation.stack
    plans: list[Plan] = []
    for _ in range(3):
        plans += running_at_stage(federation)
        stack.redis.stop()
        if not keeps_data:
            shutil.rmtree(stack.folder / "redis")
        time.sleep(0.5)
        stack.redis.start()
        restarted_ms = wall_clock_ms()
        stack.until(lambda since=restarted_ms: heard_since(federation, since) == set(CLUSTERS))
    stack.break_clusters({})
    if keeps_data:
        assert [verdicts(federation.answer(plan)) for plan in plans] == [ALL_OK] * 3
    # More at once than a worker that has lost a part of its connections could take.
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda _: stack.ask(timeout_ms=20_000), range(60)))
    assert [verdicts(result) for result in results] == [ALL_OK] * 60
    assert all(worker.poll() is None for worker in federation.workers.values())

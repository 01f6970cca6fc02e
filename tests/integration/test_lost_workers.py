"""Workers that are not there, stop, or die: the job ends by its deadline and says who is missing."""

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from federation_core.connectors.stores.jobs import JobState
from federation_core.connectors.stores.redis import connect
from tests.support.stack import CLUSTERS, COUNTS, Stack, children, facts, kill, running, total, verdicts
from webapp.cli.stack import commands
from workers.app import make_celery

pytestmark = pytest.mark.heavy
EVERYTHING = sum(COUNTS.values())
OTHERS = tuple(name for name in CLUSTERS if name != "stage")
STAGE = "cluster.stage"
ALL_OK = dict.fromkeys(CLUSTERS, "ok")


def test_a_cluster_without_a_worker_is_named_at_once(own_stack: Stack) -> None:
    own_stack.start_merge()
    own_stack.start_worker(OTHERS)
    result = own_stack.ask(timeout_ms=30_000)
    assert (result.status, verdicts(result)) == ("partial", {**ALL_OK, "stage": "no_worker"})
    assert total(result) == EVERYTHING - COUNTS["stage"]


def test_a_stopped_worker_is_missing_at_once_and_back_at_once(own_stack: Stack) -> None:
    own_stack.start_merge()
    own_stack.start_worker(OTHERS)
    stage = own_stack.start_worker(("stage",))
    assert own_stack.ask(timeout_ms=30_000).status == "complete"
    stage.terminate()
    stage.wait()
    assert verdicts(own_stack.ask()) == {**ALL_OK, "stage": "no_worker"}
    own_stack.start_worker(("stage",))
    assert verdicts(own_stack.ask(timeout_ms=30_000)) == ALL_OK


def test_a_frozen_worker_costs_its_cluster_at_the_deadline(own_stack: Stack) -> None:
    own_stack.start_merge()
    own_stack.start_worker(OTHERS)
    stage = own_stack.start_worker(("stage",))
    assert own_stack.ask(timeout_ms=30_000).status == "complete"
    plan = own_stack.plan(timeout_ms=1_500)
    os.kill(stage.pid, signal.SIGSTOP)
    own_stack.dispatch.submit(plan)
    result = own_stack.dispatch.wait(plan)
    assert result is not None
    assert verdicts(result) == {**ALL_OK, "stage": "timed_out"}
    assert total(result) == EVERYTHING - COUNTS["stage"]


def test_a_worker_killed_in_the_middle_of_a_task_is_no_worker_and_the_others_answer(own_stack: Stack) -> None:
    own_stack.start_merge()
    own_stack.start_worker(OTHERS)
    stage = own_stack.start_worker(("stage",))
    assert own_stack.ask(timeout_ms=30_000).status == "complete"
    own_stack.break_clusters({"stage": {"exit": True}})
    plan = own_stack.plan(timeout_ms=6_000)
    own_stack.dispatch.submit(plan)
    result = own_stack.dispatch.wait(plan)
    assert stage.wait() == -signal.SIGKILL
    assert result is not None
    assert verdicts(result) == {**ALL_OK, "stage": "no_worker"}
    assert total(result) == EVERYTHING - COUNTS["stage"]


def test_without_a_merge_worker_the_waiter_settles_at_the_deadline(own_stack: Stack) -> None:
    own_stack.start_worker()
    open_stores(own_stack)
    result = own_stack.ask(timeout_ms=1_500)
    assert (result.status, total(result), verdicts(result)) == ("complete", EVERYTHING, ALL_OK)


def test_racing_settlers_agree_on_one_result(own_stack: Stack) -> None:
    own_stack.start_worker()
    open_stores(own_stack)
    for _ in range(200):
        plan = own_stack.plan(timeout_ms=30_000, clusters=("dev", "prod", "stage"))
        own_stack.dispatch.submit(plan)
        own_stack.until(lambda plan=plan: len(_parts(own_stack, plan.query_id)) >= 1)
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda _, i=plan.query_id: own_stack.dispatch.settle("acme", i), range(4)))
        stored = own_stack.dispatch.result("acme", plan.query_id)
        assert [facts(result) for result in results] == [facts(stored)] * 4


def test_a_job_that_nobody_waits_for_is_reaped(own_stack: Stack) -> None:
    own_stack.start_merge(with_beat=True)
    own_stack.start_worker(OTHERS)
    stage = own_stack.start_worker(("stage",))
    own_stack.break_clusters({"stage": {"exit": True}})
    plan = own_stack.plan(timeout_ms=2_000)
    own_stack.dispatch.submit(plan)
    stage.wait()
    own_stack.until(lambda: own_stack.dispatch.jobs.job("acme", plan.query_id).state.final)
    assert own_stack.dispatch.jobs.job("acme", plan.query_id).state in (JobState.PARTIAL, JobState.FAILED)


def test_beat_as_a_process_of_its_own_reaps_too(own_stack: Stack) -> None:
    own_stack.start(commands.beat())
    own_stack.start_merge()
    own_stack.start_worker(("stage",))
    own_stack.break_clusters({"stage": {"hold": True}})
    plan = own_stack.plan(timeout_ms=500)
    own_stack.dispatch.submit(plan)
    own_stack.until(lambda: own_stack.dispatch.jobs.job("acme", plan.query_id).state.final)


def test_a_task_that_is_delivered_twice_counts_once(own_stack: Stack) -> None:
    own_stack.start_merge()
    own_stack.start_worker()
    assert own_stack.ask(timeout_ms=30_000).status == "complete"
    own_stack.break_clusters({"stage": {"hold": True}})
    plan = own_stack.plan(timeout_ms=30_000)
    own_stack.dispatch.submit(plan)
    client = connect(own_stack.url)

    def leased() -> list[dict[str, Any]]:
        return [json.loads(raw) for key in client.keys(f"lease:{STAGE}:*") for raw in client.lrange(key, 0, -1)]

    own_stack.until(lambda: len(leased()) == 1)
    (message,) = leased()
    for tag in ("second", "third"):
        message["properties"]["delivery_tag"] = tag
        client.lpush(STAGE, json.dumps(message))
    own_stack.until(lambda: len(leased()) == 3)
    own_stack.break_clusters({})
    result = own_stack.dispatch.wait(plan)
    assert result is not None
    assert (total(result), verdicts(result)) == (EVERYTHING, ALL_OK)
    own_stack.until(lambda: not client.exists(STAGE, "merge", "unacked") and not leased())
    assert own_stack.log().count('"message": "settled"') == 2
    assert facts(own_stack.dispatch.result("acme", plan.query_id)) == facts(result)
    assert client.keys("part:*") == []


def test_workers_started_by_celerys_own_command_serve_and_beat(own_stack: Stack) -> None:
    celery = [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "--without-mingle", "--without-gossip"]
    own_stack.environ["APPSENTRY_CLUSTERS"] = "stage,test"
    own_stack.run([*celery, "-P", "threads", "-n", "cluster@%h"])
    own_stack.environ["APPSENTRY_CLUSTERS"] = ""
    own_stack.run([*celery, "-c", "1", "-n", "merge@%h"])
    own_stack.until(lambda: own_stack.dispatch.served() == {"stage", "test"})
    result = own_stack.ask(timeout_ms=30_000)
    assert total(result) == COUNTS["stage"] + COUNTS["test"]
    assert verdicts(result)["prod"] == "no_worker"


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_worker_with_another_pool_answers_after_it_has_lost_its_connections(own_stack: Stack, pool: str) -> None:
    own_stack.environ["APPSENTRY_CLUSTERS"] = "stage"
    own_stack.run([sys.executable, "-m", "celery", "-A", "workers.app", "worker", "-P", pool, "-c", "1"])
    own_stack.environ["APPSENTRY_CLUSTERS"] = ""
    own_stack.start_merge()
    own_stack.until(lambda: own_stack.dispatch.served() == {"stage"})
    for _ in range(5):
        assert verdicts(own_stack.ask(timeout_ms=30_000, clusters=("stage",)))["stage"] == "ok"
        connect(own_stack.url).client_kill_filter(_type="pubsub")
        connect(own_stack.url).client_kill_filter(_type="normal", skipme=True)


def test_a_worker_that_is_shut_down_by_remote_control_is_served_no_longer(own_stack: Stack) -> None:
    own_stack.start_merge()
    worker = own_stack.start_worker(("stage",))
    own_stack.break_clusters({"stage": {"hold": True}})
    own_stack.dispatch.submit(own_stack.plan(clusters=("stage",)))
    own_stack.until(lambda: bool(connect(own_stack.url).keys("lease:*")))
    make_celery(own_stack.settings).control.shutdown()
    own_stack.until(lambda: not own_stack.dispatch.served())
    assert worker.wait(10) == 0
    # What it was doing is for another worker to do.
    assert connect(own_stack.url).llen(STAGE) == 1


@pytest.mark.parametrize("role", ["cluster", "merge", "merge with beat", "beat"])
def test_sigterm_ends_a_role_and_its_children(own_stack: Stack, role: str) -> None:
    argv = {
        "cluster": commands.cluster_worker(CLUSTERS),
        "merge": commands.merge_worker(),
        "merge with beat": commands.merge_worker(with_beat=True),
        "beat": commands.beat(),
    }[role]
    process = own_stack.start(argv)
    own_stack.until(lambda: "ready" in own_stack.log(), process)
    born = children(process.pid)
    assert len(born) == (1 if role.startswith("merge") else 0)
    process.terminate()
    assert process.wait(5) == 0
    assert not any(running(child) for child in born)


def test_sigterm_ends_a_worker_whose_backend_hangs(own_stack: Stack) -> None:
    worker = own_stack.start_worker(("stage",))
    own_stack.break_clusters({"stage": {"hold": True}})
    plan = own_stack.plan(timeout_ms=20_000)
    own_stack.dispatch.submit(plan)
    own_stack.until(lambda: own_stack.dispatch.jobs.job("acme", plan.query_id).state is JobState.RUNNING)
    worker.terminate()
    assert worker.wait(5) == 0


def test_kill_of_a_merge_worker_takes_its_children_with_it(own_stack: Stack) -> None:
    merge = own_stack.start_merge()
    own_stack.until(lambda: "ready" in own_stack.log(), merge)
    born = children(merge.pid)
    assert born
    kill(merge)
    own_stack.until(lambda: not any(running(child) for child in born))


def open_stores(stack: Stack) -> None:
    """Have every cluster answer once without a merge worker, so that no later deadline pays for opening its store."""
    plan = stack.plan(timeout_ms=60_000)
    stack.dispatch.submit(plan)
    stack.until(lambda: len(_parts(stack, plan.query_id)) == len(CLUSTERS))


def _parts(stack: Stack, query_id: str) -> dict[str, bytes]:
    return stack.dispatch.jobs.parts.read("acme", query_id, CLUSTERS)


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_worker_killed_around_its_part_is_told_truthfully(own_stack: Stack, when: str) -> None:
    own_stack.start_merge()
    own_stack.start_worker(OTHERS)
    stage = own_stack.start_worker(("stage",))
    assert own_stack.ask(timeout_ms=30_000).status == "complete"
    jobs = own_stack.dispatch.jobs
    plan = own_stack.plan(timeout_ms=8_000)
    if when == "before":
        kill(stage)
        own_stack.dispatch.submit(plan)
    elif when == "during":
        own_stack.break_clusters({"stage": {"exit": True}})
        own_stack.dispatch.submit(plan)
        stage.wait()
    else:
        # Another cluster holds the job open until the worker that has answered is gone.
        own_stack.break_clusters({"prod": {"hold": True}})
        own_stack.dispatch.submit(plan)
        own_stack.until(lambda: "stage" in jobs.parts.read("acme", plan.query_id, ("stage",)))
        kill(stage)
        own_stack.break_clusters({})
    result = own_stack.dispatch.wait(plan)
    assert result is not None
    expected = {**ALL_OK, "stage": "ok" if when == "after" else "no_worker"}
    assert verdicts(result) == expected
    assert total(result) == EVERYTHING - (0 if when == "after" else COUNTS["stage"])
    own_stack.until(lambda: "stage" not in own_stack.dispatch.served())
    assert "its last worker was lost, last heard of at" in own_stack.dispatch.served().absent["stage"]
    assert "its last worker was lost" in own_stack.plan().left_out[-1].reason


def test_a_worker_that_says_it_leaves_is_told_from_one_that_was_lost(own_stack: Stack) -> None:
    stage = own_stack.start_worker(("stage",))
    stage.terminate()
    stage.wait()
    reasons = {row.cluster: row.reason for row in own_stack.plan().left_out}
    assert "that it was leaving" in reasons["stage"]
    assert "no worker of it was seen" in reasons["prod"]

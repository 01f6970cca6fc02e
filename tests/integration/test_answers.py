"""One chord over six clusters, on a stack where everybody is well or one backend is not."""

import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery.result import ResultBase

from federation_core.connectors.stores.jobs import JobState
from federation_core.connectors.stores.redis import connect
from federation_core.errors import CoverageTooLow, QueryNotFound
from tests.support.stack import CLUSTERS, COUNTS, METRIC, PROJECT, Stack, facts, total, verdicts

pytestmark = pytest.mark.heavy
EVERYTHING = sum(COUNTS.values())
ALL_OK = dict.fromkeys(CLUSTERS, "ok")


def test_six_clusters_answer_as_one(stack: Stack) -> None:
    result = stack.ask()
    assert (result.status, total(result), verdicts(result)) == ("complete", EVERYTHING, ALL_OK)


def test_every_clusters_row_says_how_long_how_much_and_how_fresh(stack: Stack) -> None:
    rows = stack.ask().coverage.clusters
    assert all(row.elapsed_ms is not None and row.stats.rows > 0 and row.stats.bytes > 0 for row in rows)
    assert all(row.watermark_ms == stack.now_ms for row in rows)


@pytest.mark.parametrize("name", ["prod", "stage"])
def test_a_plan_with_one_shard_is_answered(stack: Stack, name: str) -> None:
    result = stack.ask(clusters=(name,))
    assert (result.status, total(result)) == ("complete", COUNTS[name])
    assert verdicts(result) == {**dict.fromkeys(CLUSTERS, "pruned"), name: "ok"}


def test_the_merge_worker_settles_and_not_the_waiter(stack: Stack) -> None:
    plan = stack.plan()
    stack.dispatch.submit(plan)
    stack.until(lambda: stack.dispatch.result("acme", plan.query_id) is not None)
    job = stack.dispatch.jobs.job("acme", plan.query_id)
    assert job.state is JobState.COMPLETE
    assert {row.cluster: row.state for row in job.progress} == ALL_OK


def test_a_bug_in_one_clusters_worker_costs_that_cluster_only(stack: Stack) -> None:
    stack.break_clusters({"stage": {"raise": "a bug"}})
    result = stack.ask()
    assert (result.status, verdicts(result)) == ("partial", {**ALL_OK, "stage": "failed"})
    assert total(result) == EVERYTHING - COUNTS["stage"]


def test_a_part_that_cannot_be_read_costs_that_cluster_only(stack: Stack) -> None:
    stack.break_clusters({"stage": {"write_garbage": True}})
    result = stack.ask()
    assert (result.status, verdicts(result)) == ("partial", {**ALL_OK, "stage": "failed"})
    assert total(result) == EVERYTHING - COUNTS["stage"]


def test_a_slow_cluster_is_named_at_the_deadline_and_the_others_are_there(stack: Stack) -> None:
    stack.break_clusters({"stage": {"hold": True}})
    plan = stack.plan(timeout_ms=1_500)
    stack.dispatch.submit(plan)
    result = stack.dispatch.wait(plan)
    assert result is not None
    assert (result.status, verdicts(result)) == ("partial", {**ALL_OK, "stage": "timed_out"})
    assert total(result) == EVERYTHING - COUNTS["stage"]
    ended = stack.dispatch.jobs.job("acme", plan.query_id).finished_ms
    assert ended is not None
    assert plan.deadline_ms <= ended < plan.deadline_ms + 1_000


def test_a_late_part_does_not_change_the_answer(stack: Stack) -> None:
    stack.break_clusters({"stage": {"hold": True}})
    plan = stack.plan(timeout_ms=800)
    stack.dispatch.submit(plan)
    first = stack.dispatch.wait(plan)
    stack.break_clusters({})
    stack.until(lambda: stack.dispatch.jobs.job("acme", plan.query_id).late_parts == 1)
    assert facts(stack.dispatch.settle("acme", plan.query_id)) == facts(first)
    assert facts(stack.dispatch.result("acme", plan.query_id)) == facts(first)


def test_progress_shows_who_is_still_running(stack: Stack) -> None:
    stack.break_clusters({"stage": {"hold": True}})
    plan = stack.plan(timeout_ms=30_000)
    stack.dispatch.submit(plan)

    def states() -> dict[str, str]:
        return {row.cluster: row.state for row in stack.dispatch.jobs.job("acme", plan.query_id).progress}

    stack.until(lambda: states() == {**ALL_OK, "stage": "running"})
    assert stack.dispatch.jobs.job("acme", plan.query_id).state is JobState.RUNNING
    assert stack.dispatch.wait(plan, wait_ms=1) is None
    stack.break_clusters({})
    result = stack.dispatch.wait(plan)
    assert result is not None
    assert result.status == "complete"


def test_a_requirement_that_is_not_met_fails_naming_the_cluster(stack: Stack) -> None:
    stack.break_clusters({"stage": {"raise": "a bug"}})
    result = stack.ask(require="critical:prod,stage")
    assert result.status == "failed"
    assert isinstance(result.error, CoverageTooLow)
    assert result.error.clusters == ["stage"]
    assert stack.ask(require="critical:prod").status == "partial"


def test_forty_waiters_all_get_the_one_result(stack: Stack) -> None:
    plan = stack.plan()
    with ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(stack.dispatch.wait, plan) for _ in range(40)]
        stack.dispatch.submit(plan)
        results = [future.result() for future in waiting]
    assert [facts(result) for result in results] == [facts(results[0])] * 40
    assert results[0] is not None
    assert total(results[0]) == EVERYTHING


def test_queries_of_many_threads_do_not_mix(stack: Stack) -> None:
    def ask(number: int) -> tuple[str, float]:
        name = CLUSTERS[number % len(CLUSTERS)]
        return name, total(stack.ask(text=f'sum({METRIC}{{cluster="{name}"}}) * {number}', timeout_ms=60_000))

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(1, 81)))
    assert [value for _, value in answers] == [COUNTS[name] * number for number, (name, _) in enumerate(answers, 1)]


def test_a_result_is_collected_by_another_process(stack: Stack) -> None:
    plan = stack.plan()
    stack.dispatch.submit(plan)
    code = (
        "import os, sys; from federation_core.connectors.files import load; from workers.dispatch import Dispatch;"
        "from tests.support.stack import total;"
        "d = Dispatch(load(os.environ)); d.jobs.wait('acme', sys.argv[1], 10);"
        "print(total(d.result('acme', sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, plan.query_id],
        env=stack.environ,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) == EVERYTHING


def test_another_tenant_does_not_find_the_query(stack: Stack) -> None:
    plan = stack.plan(tenant_id="acme")
    stack.dispatch.submit(plan)
    stack.dispatch.wait(plan)
    with pytest.raises(QueryNotFound):
        stack.dispatch.result("rival", plan.query_id)
    with pytest.raises(QueryNotFound):
        stack.dispatch.settle("rival", plan.query_id)


def test_a_plan_without_shards_is_settled_without_a_chord(stack: Stack) -> None:
    plan = stack.plan(text=f'sum({METRIC}{{cluster="nowhere"}})')
    assert plan.shards == ()
    stack.dispatch.submit(plan)
    result = stack.dispatch.wait(plan)
    assert result is not None
    assert (result.status, total(result)) == ("complete", 0)


def test_a_hundred_queries_leave_no_subscription_no_memory_and_no_key_without_end(stack: Stack) -> None:
    client = connect(stack.url)

    def channels() -> int:
        return len(client.pubsub_channels()) + client.pubsub_numpat()

    stack.ask()
    before = channels()
    for _ in range(100):
        stack.ask()
    assert channels() == before
    gc.collect()
    assert not [found for found in gc.get_objects() if issubclass(type(found), ResultBase)]
    forever = {key for key in client.scan_iter() if client.pttl(key) == -1}
    assert {key for key in forever if not key.startswith(b"_kombu.")} <= {
        b"unacked_mutex",
        b"unacked",
        b"unacked_index",
    }

"""A query is cancelled at every stage: one result, every waiter wakes, and the workers are free again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from federation_core.connectors.stores.jobs import JobState
from federation_core.errors import QueryCanceled, QueryNotFound
from federation_core.outcome import Result
from federation_core.plan import Plan
from tests.support.stack import CLUSTERS, COUNTS, METRIC, Stack, facts, total, verdicts
from webapp.cli.stack import commands

pytestmark = pytest.mark.heavy
EVERYTHING = sum(COUNTS.values())
STOPPED, DROPPED = '"message": "a shard was stopped', '"message": "a shard of a cancelled query is dropped'
HEARD = '"message": "heard that a query is cancelled'


def submitted(stack: Stack, **how: object) -> Plan:
    plan = stack.plan(**how)  # type: ignore[arg-type]
    stack.dispatch.submit(plan)
    return plan


def state_of(stack: Stack, plan: Plan) -> JobState:
    return stack.dispatch.jobs.job("acme", plan.query_id).state


def assert_cancelled(stack: Stack, plan: Plan, result: Result | None) -> None:
    assert result is not None
    assert (result.status, type(result.error)) == ("failed", QueryCanceled)
    assert state_of(stack, plan) is JobState.CANCELLED
    assert facts(stack.dispatch.result("acme", plan.query_id)) == facts(result)


@pytest.fixture
def one_thread(own_stack: Stack) -> Stack:
    """A stack whose worker runs one shard of a cluster at a time, so that one that goes on keeps the others waiting."""
    own_stack.start_merge()
    own_stack.environ["LOG_LEVEL"] = "DEBUG"
    own_stack.start([*commands.cluster_worker(CLUSTERS), "--concurrency", "1"])
    own_stack.until(lambda: own_stack.dispatch.served() == frozenset(CLUSTERS))
    assert own_stack.ask(timeout_ms=60_000).status == "complete"
    return own_stack


def test_a_statement_that_runs_is_aborted_and_its_thread_is_free_again(one_thread: Stack) -> None:
    one_thread.break_clusters({"stage": {"busy": True}})
    plan = submitted(one_thread, clusters=("stage",), timeout_ms=600_000)
    one_thread.until(lambda: state_of(one_thread, plan) is JobState.RUNNING)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(one_thread.dispatch.wait, plan) for _ in range(3)]
        one_thread.dispatch.cancel("acme", plan.query_id)
        results = [future.result() for future in waiting]
    for result in results:
        assert_cancelled(one_thread, plan, result)
    one_thread.until(lambda: STOPPED in one_thread.log())
    one_thread.break_clusters({})
    assert total(one_thread.ask(timeout_ms=60_000)) == EVERYTHING


def test_queued_shards_of_a_cancelled_query_are_dropped(one_thread: Stack) -> None:
    one_thread.break_clusters({"stage": {"hold": True}})
    first = submitted(one_thread, clusters=("stage",), timeout_ms=60_000)
    one_thread.until(lambda: state_of(one_thread, first) is JobState.RUNNING)
    queued = submitted(one_thread, text=f"sum({METRIC}) + 1", clusters=("stage",), timeout_ms=60_000)
    one_thread.dispatch.cancel("acme", queued.query_id)
    one_thread.dispatch.cancel("acme", first.query_id)
    assert_cancelled(one_thread, queued, one_thread.dispatch.wait(queued))
    # The worker hears of both while its one thread for them is held, so nothing of the second ever starts.
    one_thread.until(lambda: one_thread.log().count(HEARD) == 2)
    assert DROPPED not in one_thread.log()
    one_thread.break_clusters({})
    one_thread.until(lambda: one_thread.log().count(DROPPED) == 1)
    assert total(one_thread.ask(timeout_ms=60_000)) == EVERYTHING


def test_a_query_cancelled_between_its_parts_and_the_merge_stays_cancelled(own_stack: Stack) -> None:
    own_stack.start_worker()
    plan = submitted(own_stack, timeout_ms=60_000)
    own_stack.until(lambda: len(own_stack.dispatch.jobs.parts.read("acme", plan.query_id, CLUSTERS)) == len(CLUSTERS))
    own_stack.dispatch.cancel("acme", plan.query_id)
    own_stack.start_merge()
    result = own_stack.dispatch.wait(plan)
    assert_cancelled(own_stack, plan, result)
    assert result is not None
    assert verdicts(result) == dict.fromkeys(CLUSTERS, "ok")
    own_stack.until(lambda: '"message": "settled"' in own_stack.log())
    assert_cancelled(own_stack, plan, own_stack.dispatch.wait(plan))


def test_cancelling_an_ended_query_changes_nothing(stack: Stack) -> None:
    plan = submitted(stack, timeout_ms=30_000)
    first = stack.dispatch.wait(plan)
    stack.dispatch.cancel("acme", plan.query_id)
    assert state_of(stack, plan) is JobState.COMPLETE
    assert facts(stack.dispatch.result("acme", plan.query_id)) == facts(first)


def test_another_tenant_cannot_cancel_it(stack: Stack) -> None:
    stack.break_clusters({"stage": {"hold": True}})
    plan = submitted(stack, timeout_ms=30_000)
    with pytest.raises(QueryNotFound):
        stack.dispatch.cancel("rival", plan.query_id)
    stack.break_clusters({})
    result = stack.dispatch.wait(plan)
    assert result is not None
    assert total(result) == EVERYTHING


def test_of_a_cancel_and_a_settling_at_once_one_wins_and_all_agree(stack: Stack) -> None:
    for _ in range(20):
        plan = submitted(stack, timeout_ms=30_000)
        with ThreadPoolExecutor(3) as pool:
            ended = [
                pool.submit(stack.dispatch.wait, plan),
                pool.submit(stack.dispatch.settle, "acme", plan.query_id),
            ]
            pool.submit(stack.dispatch.cancel, "acme", plan.query_id).result()
            results = [future.result() for future in ended]
        stored = stack.dispatch.result("acme", plan.query_id)
        assert [facts(result) for result in results] == [facts(stored)] * 2
        assert state_of(stack, plan).final

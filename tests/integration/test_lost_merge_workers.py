"""Merge workers that die, and what they do to a query: it ends by its deadline, whole, or says what happened."""

import pytest

from federation_core.errors import InternalError
from tests.support.stack import CLUSTERS, COUNTS, Stack, kill, total, verdicts

pytestmark = pytest.mark.heavy
EVERYTHING = sum(COUNTS.values())
ALL_OK = dict.fromkeys(CLUSTERS, "ok")


def test_a_merge_worker_killed_while_it_combines_costs_time_and_no_answer(own_stack: Stack) -> None:
    merge = own_stack.start_merge()
    own_stack.start_worker()
    assert own_stack.ask(timeout_ms=30_000).status == "complete"
    own_stack.break_clusters({"merge": {"hold": True}})
    plan = own_stack.plan(timeout_ms=4_000)
    own_stack.dispatch.submit(plan)
    own_stack.until(lambda: own_stack.dispatch.jobs.job("acme", plan.query_id).state.value == "merging", merge)
    kill(merge)
    result = own_stack.dispatch.wait(plan)
    assert result is not None
    assert (total(result), verdicts(result)) == (EVERYTHING, ALL_OK)


def test_parts_that_kill_whoever_combines_them_end_the_query_and_not_the_service(own_stack: Stack) -> None:
    merge = own_stack.start_merge()
    own_stack.start_worker()
    assert own_stack.ask(timeout_ms=30_000).status == "complete"
    own_stack.break_clusters({"merge": {"exit": True}})
    plan = own_stack.plan(timeout_ms=600_000)
    own_stack.dispatch.submit(plan)
    result = own_stack.dispatch.wait(plan, 60_000)
    assert result is not None
    assert isinstance(result.error, InternalError)
    assert "lost twice while combining" in result.error.message
    assert verdicts(result) == ALL_OK
    own_stack.break_clusters({})
    assert total(own_stack.ask(timeout_ms=30_000)) == EVERYTHING
    assert merge.poll() is None

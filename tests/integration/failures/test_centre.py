"""What stands in the middle fails: the worker that merges, Redis, and the messages in between."""

from __future__ import annotations

import os
import signal
import time

import pytest

from federation_core.connectors.stores.jobs_keys import CLAIM_MS, claim
from federation_core.connectors.stores.redis import connect
from federation_core.errors import StoreUnavailable
from tests.integration.chaos.faults import QUEUES, garbage_of_every_kind
from tests.integration.failures.conftest import ALL_OK, GRACE_MS, Federation
from tests.support.stack import children, kill, verdicts

pytestmark = pytest.mark.heavy


def test_without_a_merge_worker_the_waiter_ends_the_job_with_everything_there(federation: Federation) -> None:
    kill(federation.merge)
    assert verdicts(federation.answer(federation.submitted())) == ALL_OK


def test_a_job_that_nobody_waits_for_is_ended_by_the_next_merge_worker(federation: Federation) -> None:
    kill(federation.merge)
    plan = federation.submitted(60_000)
    federation.stack.until(lambda: federation.parts(plan) == set(ALL_OK))
    federation.mend()
    federation.stack.until(lambda: federation.stack.dispatch.jobs.job("acme", plan.query_id).state.final)
    assert verdicts(federation.answer(plan)) == ALL_OK


def test_a_process_that_merges_may_be_killed_alone(federation: Federation) -> None:
    for child in children(federation.merge.pid):
        os.kill(child, signal.SIGKILL)
    assert verdicts(federation.answer(federation.submitted(6_000))) == ALL_OK
    assert federation.merge.poll() is None


def test_a_settler_that_dies_with_its_claim_does_not_hold_up_the_waiter(federation: Federation) -> None:
    federation.stack.break_clusters({"stage": {"hold": True}})
    plan = federation.submitted()
    # The claim is what a settler leaves behind that was killed between claiming and storing.
    connect(federation.stack.url).set(claim("acme", plan.query_id), "1", px=plan.query.timeout_ms + CLAIM_MS)
    assert verdicts(federation.answer(plan)) == {**ALL_OK, "stage": "timed_out"}


@pytest.mark.parametrize("stands_still_s", [1, 10])
def test_while_redis_stands_still_a_job_is_late_by_no_more_than_that(
    federation: Federation, stands_still_s: float
) -> None:
    dispatch = federation.stack.dispatch
    federation.stack.break_clusters({"stage": {"hold": True}})
    plan = federation.submitted(4_000)
    federation.stack.until(lambda: federation.parts(plan) == set(ALL_OK) - {"stage"})
    os.kill(federation.stack.redis.pid, signal.SIGSTOP)
    try:
        if stands_still_s > 2:
            with pytest.raises(StoreUnavailable):
                dispatch.wait(plan)
        time.sleep(stands_still_s)
    finally:
        os.kill(federation.stack.redis.pid, signal.SIGCONT)
    if stands_still_s > 2:
        # Nobody waits any more: the reaper ends it.
        federation.stack.until(lambda: dispatch.jobs.job("acme", plan.query_id).state.final)
    result = dispatch.wait(plan)
    assert result is not None
    finished_ms = dispatch.jobs.job("acme", plan.query_id).finished_ms
    assert finished_ms is not None
    late_ms = max(0.0, stands_still_s * 1000 + 3_000 - plan.query.timeout_ms)
    assert finished_ms <= plan.deadline_ms + GRACE_MS + late_ms
    found = verdicts(result)
    assert found.pop("stage") in ("timed_out", "no_worker")
    assert set(found.values()) == {"ok"}


def test_garbage_on_every_queue_costs_nobody_anything(federation: Federation) -> None:
    client = connect(federation.stack.url)
    roles = [federation.merge, *federation.workers.values()]
    for queue in QUEUES:
        client.lpush(queue, *garbage_of_every_kind())
    assert verdicts(federation.answer(federation.submitted(20_000))) == ALL_OK
    federation.stack.until(lambda: not any(client.llen(queue) for queue in QUEUES))
    assert [role.poll() for role in roles] == [None] * len(roles)

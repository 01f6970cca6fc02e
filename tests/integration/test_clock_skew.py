"""Machines whose clocks are five minutes apart: deadlines are kept and verdicts are true all the same."""

from __future__ import annotations

from time import sleep

import pytest

from tests.support.stack import CLUSTERS, COUNTS, Stack, total, verdicts
from workers.app import REAP_EVERY_S
from workers.dispatch import wall_clock_ms

pytestmark = pytest.mark.heavy
EVERYTHING = sum(COUNTS.values())
ALL_OK = dict.fromkeys(CLUSTERS, "ok")
OTHERS = tuple(name for name in CLUSTERS if name != "stage")


def with_clock(stack: Stack, ahead_s: int) -> None:
    """Have what is started from now on run on a machine whose clock is ahead."""
    stack.worker_module = "tests.support.worker_with_skewed_clock"
    stack.environ["TEST_CLOCK_AHEAD_S"] = str(ahead_s)


@pytest.mark.parametrize("ahead_s", [-300, 300])
def test_a_workers_clock_changes_no_verdict(own_stack: Stack, ahead_s: int) -> None:
    own_stack.start_merge()
    own_stack.start_worker(OTHERS)
    with_clock(own_stack, ahead_s)
    own_stack.start_worker(("stage",))
    result = own_stack.ask(timeout_ms=30_000)
    assert (total(result), verdicts(result)) == (EVERYTHING, ALL_OK)
    assert all(row.elapsed_ms is not None and 0 <= row.elapsed_ms < 30_000 for row in result.coverage.clusters)
    own_stack.break_clusters({"stage": {"hold": True}})
    late = own_stack.ask(timeout_ms=1_500)
    assert verdicts(late) == {**ALL_OK, "stage": "timed_out"}
    beat = own_stack.dispatch.jobs.beats.latest(("stage",), wall_clock_ms())["stage"]
    assert abs(beat.clock_skew_ms - ahead_s * 1000) < 10_000


@pytest.mark.parametrize("ahead_s", [-300, 300])
def test_the_reapers_clock_neither_ends_a_job_early_nor_lets_it_live_on(own_stack: Stack, ahead_s: int) -> None:
    own_stack.start_worker()
    with_clock(own_stack, ahead_s)
    own_stack.start_merge(with_beat=True)
    assert own_stack.ask(timeout_ms=30_000).status == "complete"
    own_stack.break_clusters({"stage": {"hold": True}})
    plan = own_stack.plan(timeout_ms=60_000)
    forgotten = own_stack.plan(timeout_ms=500)
    own_stack.dispatch.submit(plan)
    own_stack.dispatch.submit(forgotten)
    own_stack.until(lambda: own_stack.dispatch.jobs.job("acme", forgotten.query_id).state.final)
    sleep(2 * REAP_EVERY_S)
    assert not own_stack.dispatch.jobs.job("acme", plan.query_id).state.final
    own_stack.break_clusters({})
    result = own_stack.dispatch.wait(plan)
    assert result is not None
    assert verdicts(result) == ALL_OK

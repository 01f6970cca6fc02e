"""Redis goes away and comes back: said at once, and every role finds it again without help."""

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest

from federation_core.connectors.stores.jobs import JobState
from federation_core.errors import BrokerUnavailable, QueryNotFound, StoreUnavailable
from tests.support.stack import CLUSTERS, Stack, total, verdicts

pytestmark = pytest.mark.heavy


def test_every_role_comes_back_after_a_restart_of_redis(own_stack: Stack) -> None:
    own_stack.start_merge()
    own_stack.start_worker()
    before = own_stack.ask(timeout_ms=30_000)
    answered = own_stack.plan()
    own_stack.dispatch.submit(answered)
    own_stack.dispatch.wait(answered)
    own_stack.redis.stop()
    with pytest.raises(StoreUnavailable):
        own_stack.dispatch.served()
    with pytest.raises((StoreUnavailable, BrokerUnavailable)):
        own_stack.dispatch.submit(answered)
    own_stack.redis.start()
    own_stack.until(lambda: own_stack.dispatch.served() == frozenset(CLUSTERS))
    after = own_stack.ask(timeout_ms=30_000)
    assert (after.status, total(after), verdicts(after)) == ("complete", total(before), verdicts(before))
    # The append-only file was flushed before the orderly end, so an answer given earlier is still there.
    assert own_stack.dispatch.result("acme", answered.query_id) is not None


def test_a_waiter_is_told_when_redis_hangs(own_stack: Stack) -> None:
    own_stack.start_worker(("stage",))
    own_stack.break_clusters({"stage": {"hold": True}})
    plan = own_stack.plan(timeout_ms=60_000)
    own_stack.dispatch.submit(plan)
    os.kill(own_stack.redis.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable):
            own_stack.dispatch.wait(plan)
    finally:
        os.kill(own_stack.redis.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("away_s", "keeps_data"), [(1, True), (10, True), (1, False)], ids=["1 s", "10 s", "1 s and all data lost"]
)
def test_every_role_survives_an_outage_and_what_became_of_a_query_is_told(
    own_stack: Stack, away_s: float, keeps_data: bool
) -> None:
    own_stack.start_merge(with_beat=True)
    own_stack.start_worker()
    assert own_stack.ask(timeout_ms=30_000).status == "complete"
    own_stack.break_clusters({"stage": {"hold": True}})
    running = own_stack.plan(timeout_ms=600_000)
    own_stack.dispatch.submit(running)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(own_stack.dispatch.wait, running)
        own_stack.until(lambda: own_stack.dispatch.jobs.job("acme", running.query_id).state is JobState.RUNNING)
        own_stack.redis.stop()
        # Long before its deadline, and long before Redis is back.
        with pytest.raises(StoreUnavailable):
            waiting.result(timeout=20)
    sleep(away_s)
    if not keeps_data:
        shutil.rmtree(own_stack.folder / "redis")
    own_stack.redis.start()
    own_stack.break_clusters({})
    own_stack.until(lambda: own_stack.dispatch.served() == frozenset(CLUSTERS))
    result = own_stack.ask(timeout_ms=60_000)
    assert (result.status, verdicts(result)) == ("complete", dict.fromkeys(CLUSTERS, "ok"))
    if keeps_data:
        settled = own_stack.dispatch.wait(running, 20_000)
        assert settled is not None
        assert verdicts(settled)["prod"] == "ok"
    else:
        with pytest.raises(QueryNotFound):
            own_stack.dispatch.result("acme", running.query_id)
    # The reaper too is there again.
    own_stack.break_clusters({"stage": {"hold": True}})
    forgotten = own_stack.plan(timeout_ms=500)
    own_stack.dispatch.submit(forgotten)
    own_stack.until(lambda: own_stack.dispatch.jobs.job("acme", forgotten.query_id).state.final)

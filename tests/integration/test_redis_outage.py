"""Redis goes away and comes back: said at once, and every role finds it again without help."""

import os
import signal

import pytest

from federation_core.errors import BrokerUnavailable, StoreUnavailable
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

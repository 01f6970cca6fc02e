"""Nothing grows without bound: keys end by themselves, queues of the dead do too, and merge children are replaced."""

from __future__ import annotations

import pytest

from federation_core.connectors.stores.redis import connect
from tests.support.stack import CLUSTERS, COUNTS, Stack, children, kill, total
from webapp.cli.stack import commands

pytestmark = pytest.mark.heavy
EVERYTHING = sum(COUNTS.values())
#: The broker's own books: one of each, or one per queue, however much is sent.
BOOKS = {b"unacked", b"unacked_index", b"unacked_mutex"}


def endless(stack: Stack) -> set[bytes]:
    """Return the keys without a time to live, except those of the broker's books."""
    client = connect(stack.url)
    found = {key for key in client.scan_iter() if client.pttl(key) == -1}
    return {key for key in found - BOOKS if not key.startswith(b"_kombu.")}


def test_every_key_ends_by_itself_whatever_became_of_its_query(own_stack: Stack) -> None:
    merge = own_stack.start_merge(with_beat=True)
    own_stack.start_worker(tuple(name for name in CLUSTERS if name != "stage"))
    stage = own_stack.start_worker(("stage",))
    own_stack.ask(timeout_ms=30_000)
    own_stack.break_clusters({"stage": {"hold": True}})
    cancelled, late, lost = (own_stack.plan(timeout_ms=timeout_ms) for timeout_ms in (30_000, 1_000, 3_000))
    for plan in (cancelled, late, lost):
        own_stack.dispatch.submit(plan)
    own_stack.dispatch.cancel("acme", cancelled.query_id)
    own_stack.dispatch.wait(late)
    own_stack.break_clusters({})
    kill(stage)
    kill(merge)
    unserved = own_stack.plan(timeout_ms=1_000)
    own_stack.dispatch.submit(unserved)
    own_stack.dispatch.wait(lost)
    own_stack.dispatch.wait(unserved)
    assert connect(own_stack.url).exists("cluster.stage", "merge") >= 1
    assert endless(own_stack) == set()


def test_without_a_merge_worker_one_reaping_waits_and_not_one_per_second(own_stack: Stack) -> None:
    client = connect(own_stack.url)
    client.lpush("reap", *[b"{}"] * 500)
    own_stack.start(commands.beat())
    own_stack.until(lambda: client.llen("reap") == 1)


def test_a_merge_child_that_has_held_much_memory_is_replaced_and_no_query_is_lost(own_stack: Stack) -> None:
    merge = own_stack.start([*commands.merge_worker(), "--child-memory-mib", "1"])
    own_stack.start_worker()
    own_stack.until(lambda: bool(children(merge.pid)), merge)
    born = set(children(merge.pid))
    for _ in range(10):
        result = own_stack.ask(timeout_ms=30_000)
        assert (result.status, total(result)) == ("complete", EVERYTHING)
        assert result.coverage.complete
        born |= set(children(merge.pid))
    assert len(born) > 2
    assert merge.poll() is None

"""A Redis that has no room left, in memory or on its disk: said at once, and over when there is room again."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from federation_core.connectors.stores.redis import connect, server_binary
from federation_core.errors import BrokerUnavailable, StoreUnavailable
from tests.support.stack import CLUSTERS, Stack, verdicts

pytestmark = pytest.mark.heavy
ALL_OK = dict.fromkeys(CLUSTERS, "ok")


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack_class: type[Stack]) -> Iterator[Stack]:
    """A whole stack whose Redis meets a full disk with an error of the write instead of a signal that ends it."""
    program = tmp_path / "bin" / "redis-server"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntrap '' 25\nexec '{server_binary()}' \"$@\"\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    with stack_class(tmp_path) as stack:
        stack.start_merge(with_beat=True)
        stack.start_worker()
        assert stack.ask(timeout_ms=30_000).status == "complete"
        yield stack


class Memory:
    """A Redis that may not use more memory than it has, and evicts nothing."""

    def fill(self, stack: Stack) -> None:
        connect(stack.url).config_set("maxmemory", 1)

    def free(self, stack: Stack) -> None:
        connect(stack.url).config_set("maxmemory", 0)


class Disk:
    """A Redis whose append-only file can grow no more."""

    def fill(self, stack: Stack) -> None:
        _, hard = resource.prlimit(stack.redis.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(stack.redis.pid, resource.RLIMIT_FSIZE, (1, hard))
        stack.until(lambda: _refuses(stack))

    def free(self, stack: Stack) -> None:
        _, hard = resource.prlimit(stack.redis.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(stack.redis.pid, resource.RLIMIT_FSIZE, (hard, hard))
        stack.until(lambda: not _refuses(stack))


def _refuses(stack: Stack) -> bool:
    try:
        stack.dispatch.jobs.beats.beat(("stage",), "somebody", stack.now_ms, alive_ms=0)
    except StoreUnavailable:
        return True
    return False


@pytest.fixture(params=[Memory, Disk])
def room(request: pytest.FixtureRequest) -> Memory | Disk:
    """What there is no room left in."""
    return request.param()


def test_a_query_is_refused_at_once_and_the_next_one_works_when_there_is_room(
    stack: Stack, room: Memory | Disk
) -> None:
    plan = stack.plan()
    room.fill(stack)
    with pytest.raises((StoreUnavailable, BrokerUnavailable)):
        stack.dispatch.submit(plan)
    # Long enough that every role has met it.
    stack.until(lambda: not frozenset(stack.dispatch.served()))
    room.free(stack)
    stack.until(lambda: frozenset(stack.dispatch.served()) == frozenset(CLUSTERS))
    result = stack.ask(timeout_ms=30_000)
    assert (result.status, verdicts(result)) == ("complete", ALL_OK)


def test_a_job_under_way_ends_when_there_is_room_and_names_who_could_not_answer(
    stack: Stack, room: Memory | Disk
) -> None:
    stack.break_clusters({"stage": {"hold": True}})
    plan = stack.plan(timeout_ms=4_000)
    stack.dispatch.submit(plan)
    stack.until(lambda: len(stack.dispatch.jobs.parts.read("acme", plan.query_id, CLUSTERS)) == len(CLUSTERS) - 1)
    room.fill(stack)
    stack.break_clusters({})
    with pytest.raises(StoreUnavailable):
        stack.dispatch.wait(plan)
    stack.until(lambda: "the part could not be written" in stack.log())
    room.free(stack)
    stack.until(lambda: stack.dispatch.jobs.job("acme", plan.query_id).state.final)
    result = stack.dispatch.result("acme", plan.query_id)
    assert result is not None
    assert (result.status, verdicts(result)) == ("partial", {**ALL_OK, "stage": "timed_out"})
    assert verdicts(stack.ask(timeout_ms=30_000)) == ALL_OK

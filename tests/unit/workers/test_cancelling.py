import time
from collections.abc import Iterable
from threading import Event

import pytest

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.jobs_cancelled import CancelledQueries
from federation_core.connectors.stores.redis import connect
from workers import cancelling
from workers.cancelling import Cancelling, ShardCancellation


class Counted(CancelledQueries):
    """Counts how often Redis was asked, and says when it has been asked again."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked, self.again = 0, Event()

    def since(self, clusters: Iterable[str], moment_ms: int) -> tuple[int, frozenset[tuple[str, str]]]:
        answer = super().since(clusters, moment_ms)
        self.asked += 1
        self.again.set()
        return answer


@pytest.fixture
def counted(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Counted:
    monkeypatch.setattr(cancelling, "LISTEN_EVERY_S", 0.02)
    return Counted(redis_url)


def test_nothing_is_asked_for_a_shard_that_ends_soon_nor_while_none_runs(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelling, "LISTEN_EVERY_S", 0.2)
    counted = Counted(redis_url)
    worker = Cancelling(counted, frozenset({"prod"}))
    for number in range(3):
        with worker.running("acme", f"q{number}"):
            pass
    assert not counted.again.wait(0.5)
    worker.stop()


def test_while_a_shard_runs_redis_is_asked_again_and_again_and_then_no_more(counted: Counted) -> None:
    worker = Cancelling(counted, frozenset({"prod"}))
    for _ in range(2):
        with worker.running("acme", "q1"):
            for _ in range(3):
                counted.again.clear()
                assert counted.again.wait(10)
        # What was on its way when the shard ended comes to its end.
        time.sleep(0.1)
        asked = counted.asked
        time.sleep(0.1)
        assert counted.asked == asked
    worker.stop()


def test_a_query_that_was_cancelled_while_nothing_ran_is_stopped_once_it_has_started(counted: Counted) -> None:
    worker, stopped = Cancelling(counted, frozenset({"prod"})), Event()
    with worker.running("acme", "q0"):
        assert counted.again.wait(10)
    counted.announce("acme", "q1", ["prod"])
    with worker.running("acme", "q1") as mine, mine.aborting(stopped.set):
        assert stopped.wait(10)
        assert mine.cancelled
    worker.stop()


def test_a_running_shard_of_a_cancelled_query_is_stopped_and_no_other(redis_url: str) -> None:
    cancelled = CancelledQueries(redis_url)
    worker = Cancelling(cancelled, frozenset({"prod"}))
    with worker.running("acme", "q1") as wanted_no_more, worker.running("acme", "q2") as wanted:
        cancelled.announce("acme", "q1", ["prod"])
        worker.hear()
        assert (wanted_no_more.cancelled, wanted.cancelled) == (True, False)


def test_a_queued_shard_of_a_cancelled_query_is_cancelled_when_it_starts(redis_url: str) -> None:
    cancelled = CancelledQueries(redis_url)
    worker = Cancelling(cancelled, frozenset({"prod"}))
    cancelled.announce("acme", "q1", ["prod"])
    worker.hear()
    with worker.running("acme", "q1") as mine, worker.running("rival", "q1") as foreign:
        assert (mine.cancelled, foreign.cancelled) == (True, False)


def test_a_worker_hears_of_its_own_clusters_only(redis_url: str) -> None:
    cancelled = CancelledQueries(redis_url)
    cancelled.announce("acme", "q1", ["dev"])
    assert cancelled.since(["prod"], 0)[1] == frozenset()
    assert cancelled.since(["dev", "prod"], 0)[1] == {("acme", "q1")}


def test_what_was_heard_long_ago_is_not_read_again(redis_url: str) -> None:
    cancelled = CancelledQueries(redis_url)
    cancelled.announce("acme", "q1", ["dev"])
    now_ms, _ = cancelled.since(["dev"], 0)
    assert cancelled.since(["dev"], now_ms + 60_000)[1] == frozenset()


def test_names_with_separators_come_back_as_they_were(redis_url: str) -> None:
    cancelled = CancelledQueries(redis_url)
    cancelled.announce("a:c/me", "q:1", ["dev"])
    assert cancelled.since(["dev"], 0)[1] == {("a:c/me", "q:1")}


def test_the_list_of_a_cluster_ends_by_itself(redis_url: str) -> None:
    CancelledQueries(redis_url).announce("acme", "q1", ["dev"])
    assert 0 < connect(redis_url).pttl(keys.cancelled("dev")) <= keys.CANCELLED_MS


def test_an_abort_is_said_again_and_never_after_its_block() -> None:
    aborted: list[int] = []
    shard = ShardCancellation()
    with shard.aborting(lambda: aborted.append(1)):
        shard.cancel()
        shard.cancel()
    shard.cancel()
    assert aborted == [1, 1]


def test_a_thread_that_cannot_be_started_costs_no_shard_and_is_started_by_the_next(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    worker = Cancelling(counted, frozenset({"prod"}))
    with monkeypatch.context() as patched:
        patched.setattr(cancelling.Thread, "start", refuse)
        with worker.running("acme", "q1") as mine:
            assert not mine.cancelled
    with worker.running("acme", "q2"):
        assert counted.again.wait(10)
    worker.stop()


def test_a_block_that_could_not_be_entered_is_not_taken_for_running(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Cancelling(CancelledQueries(redis_url), frozenset({"prod"}))
    monkeypatch.setattr(worker, "_listen", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError), worker.running("acme", "q1"):
        pass
    assert not worker._anything_runs()

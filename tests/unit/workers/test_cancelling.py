from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.jobs_cancelled import CancelledQueries
from federation_core.connectors.stores.redis import connect
from workers.cancelling import Cancelling, ShardCancellation


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

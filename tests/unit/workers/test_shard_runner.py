import json
from collections.abc import Callable
from dataclasses import replace
from threading import Barrier, Event, Semaphore, Thread
from typing import Any

import pytest

from federation_core import connectors
from federation_core.cancellation import Cancellation
from federation_core.config import Backend, Cluster, RateLimit, Settings
from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.breakers import Sighting
from federation_core.connectors.stores.jobs import Jobs
from federation_core.connectors.stores.jobs_beats import Told
from federation_core.connectors.stores.jobs_parts import JobParts
from federation_core.connectors.stores.redis import connect
from federation_core.connectors.stores.sealed import unseal
from federation_core.errors import (
    BreakerOpen,
    InvalidConfig,
    Rejected,
    StoreUnavailable,
    TooLarge,
    Unreachable,
    WireVersionMismatch,
)
from federation_core.health import BackendBreaker, Breaker
from federation_core.labels import Labels
from federation_core.outcome import Partial
from federation_core.signals.metrics import KIND
from federation_core.wire import decode_partial
from tests.support.plans import NOW_MS, plan_of
from tests.support.sample_store import MemoryConnector
from workers import shard_runner
from workers.shard_runner import ShardRunner

SETTINGS = Settings(
    clusters=tuple(Cluster(name, "e", (Backend("metrics", "memory", path="p"),)) for name in ("dev", "prod", "stage"))
)
PLAN = plan_of()
UP = (Labels.of({"__name__": "up", "job": "api"}), [NOW_MS - 1_000], [1.0])


@pytest.fixture
def jobs(redis_url: str) -> Jobs:
    made = Jobs(redis_url)
    made.create(PLAN)
    return made


@pytest.fixture
def open_connector(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    def use(make: Callable[[], Any]) -> None:
        monkeypatch.setattr(connectors, "connect", lambda cluster, backend: make())

    use(lambda: MemoryConnector([UP]))
    return use


@pytest.fixture
def runner(jobs: Jobs, open_connector: Any) -> ShardRunner:
    return ShardRunner(SETTINGS, frozenset({"dev", "prod"}), jobs, lambda: NOW_MS)


def message(cluster: str, **changes: Any) -> str:
    wire = replace(PLAN.shards[0], cluster_name=cluster, scope=replace(PLAN.shards[0].scope, allowed={cluster: ()}))
    return json.dumps({**wire.to_wire(), **changes})


def part(jobs: Jobs, cluster: str) -> Partial:
    return decode_partial(unseal(jobs.parts.read("acme", "q1", (cluster,))[cluster]), KIND.decode)


def lose_part(redis_url: str, cluster: str) -> None:
    """Have a cluster's part not written, as if its worker had been lost before."""
    connect(redis_url).delete(keys.part(cluster, "acme", "q1"))


def test_a_shard_is_answered_and_its_part_written(runner: ShardRunner, jobs: Jobs) -> None:
    assert runner.run(message("prod")) == "prod"
    partial = part(jobs, "prod")
    assert (partial.cluster_id, partial.error, partial.stats.series) == ("prod", None, 1)


def test_the_ledger_counts_the_bytes_as_stored(runner: ShardRunner, jobs: Jobs) -> None:
    runner.run(message("prod"))
    stored = jobs.parts.read("acme", "q1", ("prod",))["prod"]
    row = next(row for row in jobs.job("acme", "q1").progress if row.cluster == "prod")
    assert (row.state, row.bytes) == ("ok", len(stored))


def test_a_shard_of_a_foreign_cluster_is_refused_without_a_trace(runner: ShardRunner, redis_url: str) -> None:
    assert runner.run(message("stage")) == ""
    assert not connect(redis_url).exists(keys.part("stage", "acme", "q1"))


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "{", '{"v": 1}', '"text"', "\x00", message("prod", v=99)])
def test_a_message_that_holds_no_shard_is_refused_and_does_not_raise(runner: ShardRunner, text: str) -> None:
    assert runner.run(text) == ""


@pytest.mark.parametrize("bug", [RuntimeError("bug"), KeyError("x"), MemoryError(), Rejected("no", cluster="prod")])
def test_whatever_a_connector_raises_travels_in_the_part(
    runner: ShardRunner, jobs: Jobs, open_connector: Any, bug: Exception
) -> None:
    class Raising(MemoryConnector):
        def fetch(self, *_: Any) -> Any:
            raise bug

    open_connector(lambda: Raising([]))
    assert runner.run(message("prod")) == "prod"
    assert part(jobs, "prod").verdict().verdict.value == "failed"


def test_a_connector_that_cannot_be_opened_is_the_clusters_fault(
    runner: ShardRunner, jobs: Jobs, open_connector: Any
) -> None:
    def fail() -> None:
        raise ImportError("no such driver")

    open_connector(fail)
    assert runner.run(message("prod")) == "prod"
    assert "ImportError" in part(jobs, "prod").verdict().reason


def test_a_wrong_configuration_names_its_files_in_the_log_alone(
    runner: ShardRunner, jobs: Jobs, open_connector: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise InvalidConfig("/etc/appsentry/clusters.yaml:7: the certificates of /etc/ca.pem cannot be used")

    open_connector(fail)
    runner.run(message("prod"))
    row = part(jobs, "prod").verdict()
    assert (row.verdict.value, "/etc" in f"{row.to_wire()}") == ("failed", False)
    assert "/etc/ca.pem" in caplog.text


def test_a_connector_is_opened_once_however_many_threads_ask(
    runner: ShardRunner, jobs: Jobs, open_connector: Any
) -> None:
    opened = []

    def make() -> MemoryConnector:
        opened.append(1)
        return MemoryConnector([UP])

    open_connector(make)
    together = Barrier(8)

    def run() -> None:
        together.wait()
        runner.run(message("prod"))

    threads = [Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1


def test_a_failed_opening_is_tried_again(runner: ShardRunner, jobs: Jobs, open_connector: Any, redis_url: str) -> None:
    made: list[Any] = [OSError("not yet"), MemoryConnector([UP])]

    def make() -> Any:
        found = made.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    open_connector(make)
    runner.run(message("prod"))
    lose_part(redis_url, "prod")
    runner.run(message("prod"))
    assert part(jobs, "prod").error is None


def test_a_store_that_is_away_does_not_raise(open_connector: Any) -> None:
    runner = ShardRunner(SETTINGS, frozenset({"prod"}), Jobs("redis://127.0.0.1:1/0"), lambda: NOW_MS)
    assert runner.run(message("prod", deadline_ms=NOW_MS + 400)) == "prod"


class Refusing(JobParts):
    """Takes no part, as a Redis that is full or far behind."""

    def __init__(self) -> None:
        super().__init__(None)
        self.offered = Semaphore(0)

    def put(self, *_: Any, **__: Any) -> bool:
        self.offered.release()
        raise StoreUnavailable("Redis refuses")


def test_a_part_that_is_not_taken_is_offered_less_and_less_often_until_the_deadline(
    jobs: Jobs, open_connector: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.parts = Refusing()
    now_ms, pauses = [NOW_MS], []

    def pause(longest_s: float, cancellation: Cancellation) -> None:
        pauses.append(longest_s)
        now_ms[0] += round(longest_s * 1000)

    monkeypatch.setattr(shard_runner, "_pause", pause)
    runner = ShardRunner(SETTINGS, frozenset({"prod"}), jobs, lambda: now_ms[0])
    runner.run(message("prod", deadline_ms=NOW_MS + 20_000))
    assert pauses == [0.5, 1, 2, 4, 5, 5, 2]


def test_a_part_of_a_query_that_is_cancelled_meanwhile_is_offered_no_more(jobs: Jobs, open_connector: Any) -> None:
    jobs.parts = refusing = Refusing()
    runner = ShardRunner(SETTINGS, frozenset({"prod"}), jobs, lambda: NOW_MS)
    running = Thread(target=runner.run, args=(message("prod", deadline_ms=NOW_MS + 600_000),), daemon=True)
    running.start()
    # From here on it pauses for two seconds and more.
    for _ in range(3):
        assert refusing.offered.acquire(timeout=10)
    jobs.cancelled.announce("acme", "q1", ["prod"])
    running.join(10)
    assert not running.is_alive()
    assert not refusing.offered.acquire(blocking=False)


def test_a_shard_past_its_deadline_is_not_asked(runner: ShardRunner, jobs: Jobs) -> None:
    runner.run(message("prod", deadline_ms=NOW_MS))
    assert part(jobs, "prod").verdict().verdict.value == "timed_out"


def test_an_unreadable_wire_version_is_named(jobs: Jobs) -> None:
    with pytest.raises(WireVersionMismatch, match="99"):
        type(PLAN.shards[0]).from_wire({**PLAN.shards[0].to_wire(), "v": 99})


def test_a_shard_that_begins_long_after_its_deadline_leaves_nothing(runner: ShardRunner, redis_url: str) -> None:
    assert runner.run(message("prod", deadline_ms=NOW_MS - 60_000)) == "prod"
    assert not connect(redis_url).exists(keys.part("prod", "acme", "q1"))


def test_a_redelivered_shard_is_run_once_more_and_then_answered_as_lost(
    runner: ShardRunner, jobs: Jobs, redis_url: str
) -> None:
    runner.run(message("prod"), redelivered=True)
    assert part(jobs, "prod").error is None
    lose_part(redis_url, "prod")
    runner.run(message("prod"), redelivered=True)
    row = part(jobs, "prod").verdict()
    assert (row.verdict.value, row.reason) == ("failed", "its worker was lost twice while answering")


def test_a_second_delivery_that_fails_takes_back_no_answer(
    runner: ShardRunner, jobs: Jobs, open_connector: Any
) -> None:
    for _ in range(3):
        runner.run(message("prod"), redelivered=True)
    assert part(jobs, "prod").error is None


def test_only_redelivered_messages_are_counted(runner: ShardRunner, jobs: Jobs) -> None:
    for _ in range(5):
        runner.run(message("prod"))
    assert part(jobs, "prod").error is None


def test_a_second_delivery_of_a_running_shard_waits_for_the_first(
    runner: ShardRunner, jobs: Jobs, open_connector: Any
) -> None:
    began, go_on, fetches = Event(), Event(), []

    class Slow(MemoryConnector):
        def fetch(self, *how: Any) -> Any:
            fetches.append(1)
            began.set()
            assert go_on.wait(10)
            return super().fetch(*how)

    open_connector(lambda: Slow([UP]))
    ended: list[str] = []
    first = Thread(target=lambda: ended.append(f"first {runner.run(message('prod'))}"))
    first.start()
    assert began.wait(10)
    second = Thread(target=lambda: ended.append(f"second {runner.run(message('prod'), redelivered=True)}"))
    second.start()
    second.join(0.1)
    assert ended == []
    go_on.set()
    first.join()
    second.join()
    assert (sorted(ended), fetches) == (["first prod", "second prod"], [1])


def test_a_cluster_is_not_asked_for_more_at_once_than_its_brief_allows(jobs: Jobs, open_connector: Any) -> None:
    began, go_on, asked = Event(), Event(), []

    class Held(MemoryConnector):
        def fetch(self, *how: Any) -> Any:
            asked.append(1)
            began.set()
            assert go_on.wait(10)
            return super().fetch(*how)

    open_connector(lambda: Held([UP]))
    one_at_once = replace(SETTINGS.cluster("prod"), rate_limit=RateLimit(max_concurrent=1))
    runner = ShardRunner(replace(SETTINGS, clusters=(one_at_once,)), frozenset({"prod"}), jobs, lambda: NOW_MS)
    first = Thread(target=runner.run, args=(message("prod"),))
    first.start()
    assert began.wait(10)
    # Another query's shard, which has no time to wait for its turn.
    runner.run(message("prod", query_id="q2", deadline_ms=NOW_MS + 10))
    go_on.set()
    first.join()
    row = decode_partial(unseal(jobs.parts.read("acme", "q2", ("prod",))["prod"]), KIND.decode).verdict()
    assert (row.verdict.value, "as many of its shards" in row.reason, asked) == ("timed_out", True, [1])
    assert part(jobs, "prod").error is None


def test_an_answer_above_the_cap_fails_its_cluster_with_both_sizes(
    jobs: Jobs, open_connector: Any, redis_url: str
) -> None:
    small = replace(SETTINGS, max_result_bytes=300)
    assert ShardRunner(small, frozenset({"prod"}), jobs, lambda: NOW_MS).run(message("prod")) == "prod"
    assert part(jobs, "prod").error is None
    lose_part(redis_url, "prod")
    series = [(Labels.of({"__name__": "up", "job": str(n)}), [NOW_MS - 1_000], [1.0]) for n in range(100)]
    open_connector(lambda: MemoryConnector(series))
    assert ShardRunner(small, frozenset({"prod"}), jobs, lambda: NOW_MS).run(message("prod")) == "prod"
    error = part(jobs, "prod").error
    assert isinstance(error, TooLarge)
    assert (error.cluster, error.allowed, error.asked > 300) == ("prod", 300, True)


class Heart(Event):
    """Has every beat answered at once: how the metrics of `prod` stand, and how many workers it has."""

    def __init__(self, runner: ShardRunner) -> None:
        super().__init__()
        self.standing, self.state, self.processes, self.rank = runner._connections.standing, Breaker.CLOSED, 1, 0
        self.standing.hurried = self

    def set(self) -> None:
        self.beat()

    def beat(self, state: Breaker | None = None) -> None:
        self.state = state or self.state
        breaker = BackendBreaker(self.state, NOW_MS - 9_000, NOW_MS + 4_000, 3, "no connection to the backend")
        answer = Told(self.processes, self.rank, {"metrics": breaker}, frozenset())
        self.standing.heard(self.standing.report(set()), {"prod": answer})


def test_a_shard_whose_backend_is_not_asked_is_answered_with_that_and_the_connector_left_alone(
    runner: ShardRunner, jobs: Jobs, open_connector: Any
) -> None:
    open_connector(lambda: pytest.fail("asked"))
    Heart(runner).beat(Breaker.OPEN)
    runner.run(message("prod"))
    error = part(jobs, "prod").error
    assert isinstance(error, BreakerOpen)
    assert (error.cluster, error.retry_after_s) == ("prod", 4)
    assert "no connection to the backend" in error.message
    open_connector(lambda: MemoryConnector([UP]))
    runner.run(message("dev"))
    assert part(jobs, "dev").error is None


def test_no_shard_is_refused_on_what_was_told_before_it_came(runner: ShardRunner, jobs: Jobs) -> None:
    """Who sent it may have heard that the backend is asked again; this process hears it with its next beat."""
    heart = Heart(runner)
    heart.beat(Breaker.OPEN)
    heart.state = Breaker.CLOSED
    runner.run(message("prod"))
    assert part(jobs, "prod").error is None


def test_a_shard_that_no_news_refuses_is_answered(
    runner: ShardRunner, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_runner, "NEWS_WITHIN_S", 0.01)
    Heart(runner).beat(Breaker.OPEN)
    runner._connections.standing.hurried = Event()
    runner.run(message("prod"))
    assert part(jobs, "prod").error is None


def test_shards_that_wait_for_their_turn_are_answered_at_once_when_the_breaker_opens_and_those_that_run_go_on(
    jobs: Jobs, open_connector: Any, redis_url: str
) -> None:
    limited = Cluster("prod", "e", SETTINGS.clusters[0].backends, rate_limit=RateLimit(max_concurrent=1))
    asked, answering = Semaphore(0), Event()

    class Slow(MemoryConnector):
        def fetch(self, *how: Any) -> Any:
            asked.release()
            answering.wait(10)
            return super().fetch(*how)

    open_connector(lambda: Slow([UP]))
    runner = ShardRunner(Settings((limited,)), frozenset({"prod"}), jobs, lambda: NOW_MS)
    heart = Heart(runner)
    other = Jobs(redis_url)
    other.create(replace(PLAN, query_id="q2"))
    running = Thread(target=runner.run, args=(message("prod"),))
    running.start()
    asked.acquire()
    waiting = Thread(target=runner.run, args=(message("prod", query_id="q2"),))
    waiting.start()
    heart.beat(Breaker.OPEN)
    waiting.join(10)
    stored = jobs.parts.read("acme", "q2", ("prod",))["prod"]
    assert isinstance(decode_partial(unseal(stored), KIND.decode).error, BreakerOpen)
    answering.set()
    running.join(10)
    assert part(jobs, "prod").error is None


@pytest.mark.parametrize(("processes", "rank", "most"), [(1, 0, 5), (2, 0, 3), (2, 1, 2), (9, 8, 1)])
def test_of_a_cluster_with_several_processes_each_asks_its_share_at_once(
    jobs: Jobs, open_connector: Any, redis_url: str, processes: int, rank: int, most: int
) -> None:
    limited = Cluster("prod", "e", SETTINGS.clusters[0].backends, rate_limit=RateLimit(max_concurrent=5))
    asked, answering = Semaphore(0), Event()

    class Slow(MemoryConnector):
        def fetch(self, *how: Any) -> Any:
            asked.release()
            answering.wait(10)
            return super().fetch(*how)

    open_connector(lambda: Slow([UP]))
    runner = ShardRunner(Settings((limited,)), frozenset({"prod"}), jobs, lambda: NOW_MS)
    heart = Heart(runner)
    heart.processes, heart.rank = processes, rank
    heart.beat()
    shards = [Thread(target=runner.run, args=(message("prod", query_id=f"q{n}"),)) for n in range(7)]
    for thread in shards:
        thread.start()
    for _ in range(most):
        assert asked.acquire(timeout=10)
    assert not asked.acquire(timeout=0.1)
    answering.set()
    for thread in shards:
        thread.join(10)


def test_how_a_query_ended_is_noted_of_its_backend(runner: ShardRunner, open_connector: Any, redis_url: str) -> None:
    def seen() -> Sighting:
        return runner._connections.standing.report({"prod"}).seen["prod"].sightings["metrics"]

    runner.run(message("prod"))
    assert seen() == Sighting(answered=True)

    class Dead(MemoryConnector):
        def fetch(self, *how: Any) -> Any:
            raise Unreachable("no connection to the backend", cluster="prod")

    lose_part(redis_url, "prod")
    afar = Settings((Cluster("prod", "e", (Backend("metrics", "memory", url="http://p"),)),))
    dead = ShardRunner(afar, frozenset({"prod"}), runner._jobs, lambda: NOW_MS)
    open_connector(lambda: Dead([UP]))
    dead.run(message("prod"))
    assert dead._connections.standing.report({"prod"}).seen["prod"].sightings["metrics"].failed == 1

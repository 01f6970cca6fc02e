import json
from collections.abc import Callable
from dataclasses import replace
from threading import Barrier, Thread
from typing import Any

import pytest

from federation_core import connectors
from federation_core.config import Backend, Cluster, Settings
from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.jobs import Jobs
from federation_core.connectors.stores.redis import connect
from federation_core.connectors.stores.sealed import unseal
from federation_core.errors import Rejected, WireVersionMismatch
from federation_core.labels import Labels
from federation_core.outcome import Partial
from federation_core.signals.metrics import KIND
from federation_core.wire import decode_partial
from tests.support.plans import NOW_MS, plan_of
from tests.support.sample_store import MemoryConnector
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
    return decode_partial(unseal(jobs.parts("acme", "q1", (cluster,))[cluster]), KIND.decode)


def test_a_shard_is_answered_and_its_part_written(runner: ShardRunner, jobs: Jobs) -> None:
    assert runner.run(message("prod")) == "prod"
    partial = part(jobs, "prod")
    assert (partial.cluster_id, partial.error, partial.stats.series) == ("prod", None, 1)


def test_the_ledger_counts_the_bytes_as_stored(runner: ShardRunner, jobs: Jobs) -> None:
    runner.run(message("prod"))
    stored = jobs.parts("acme", "q1", ("prod",))["prod"]
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


def test_a_failed_opening_is_tried_again(runner: ShardRunner, jobs: Jobs, open_connector: Any) -> None:
    made: list[Any] = [OSError("not yet"), MemoryConnector([UP])]

    def make() -> Any:
        found = made.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    open_connector(make)
    runner.run(message("prod"))
    runner.run(message("prod"))
    assert part(jobs, "prod").error is None


def test_a_store_that_is_away_does_not_raise(open_connector: Any) -> None:
    runner = ShardRunner(SETTINGS, frozenset({"prod"}), Jobs("redis://127.0.0.1:1/0"), lambda: NOW_MS)
    assert runner.run(message("prod")) == "prod"


def test_a_shard_past_its_deadline_is_not_asked(runner: ShardRunner, jobs: Jobs) -> None:
    runner.run(message("prod", deadline_ms=NOW_MS))
    assert part(jobs, "prod").verdict().verdict.value == "timed_out"


def test_an_unreadable_wire_version_is_named(jobs: Jobs) -> None:
    with pytest.raises(WireVersionMismatch, match="99"):
        type(PLAN.shards[0]).from_wire({**PLAN.shards[0].to_wire(), "v": 99})

"""The feed writes the shop into real stores: every slot once, in bounded stretches, and says what it leaves out."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import duckdb
import pytest

from federation_core.connectors.stores.segments import SegmentStore
from federation_core.connectors.stores.segments_layout import load_manifest
from federation_core.errors import StoreUnavailable
from tests.unit.webapp.cli.demo.emitted import HOUR_MS, MINUTE_MS, ORIGIN_MS, emitted
from webapp.cli.demo.configuration import store_paths
from webapp.cli.demo.feed import SETTLE_MS, Feed
from webapp.cli.demo.incidents import Kind, incidents
from webapp.cli.demo.shop import SLOT_MS, Shop


class Clock:
    """A wall clock that stands where a test puts it."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock(ORIGIN_MS + SETTLE_MS)


@pytest.fixture
def open_feed(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Feed]]:
    """Open feeds of one set of stores; a feed still open at the end is closed."""
    feeds: list[Feed] = []

    def open_one(**more: int) -> Feed:
        feeds.append(Feed(Shop(7, ORIGIN_MS), store_paths(tmp_path), clock_ms=clock, **more))
        return feeds[-1]

    yield open_one
    for feed in feeds:
        feed.close()


def _span_ids(tmp_path: Path, cluster: str) -> list[str]:
    store = store_paths(tmp_path)[cluster]
    files = [str(store / segment.file) for segment in load_manifest(store).of("spans")]
    if not files:
        return []
    return [
        row[0] for row in duckdb.sql("SELECT span_id FROM read_parquet($files)", params={"files": files}).fetchall()
    ]


def _expected_ids(from_ms: int, to_ms: int, cluster: str) -> list[str]:
    return [span["spanId"] for span in emitted(Shop(7, ORIGIN_MS), from_ms, to_ms, only=cluster).spans]


def test_history_writes_every_span_once(tmp_path: Path, open_feed: Callable[..., Feed]) -> None:
    until_ms = ORIGIN_MS + 25 * MINUTE_MS
    open_feed().history(until_ms, 1)
    for cluster in store_paths(tmp_path):
        got = _span_ids(tmp_path, cluster)
        assert sorted(got) == sorted(_expected_ids(ORIGIN_MS, until_ms - SETTLE_MS, cluster)), cluster


def test_history_goes_back_only_as_far_as_asked(tmp_path: Path, open_feed: Callable[..., Feed]) -> None:
    until_ms = ORIGIN_MS + HOUR_MS
    open_feed().history(until_ms, 0.25)
    expected = _expected_ids(until_ms - 15 * MINUTE_MS, until_ms - SETTLE_MS, "prod")
    assert sorted(_span_ids(tmp_path, "prod")) == sorted(expected)


def test_live_goes_on_where_history_ended(tmp_path: Path, open_feed: Callable[..., Feed], clock: Clock) -> None:
    feed = open_feed()
    clock.now_ms = ORIGIN_MS + 5 * MINUTE_MS
    feed.history(clock.now_ms, 1)
    for _ in range(12):
        clock.now_ms += SLOT_MS
        assert feed.catch_up() == 1
    expected = _expected_ids(ORIGIN_MS, clock.now_ms - SETTLE_MS, "prod")
    assert sorted(_span_ids(tmp_path, "prod")) == sorted(expected)


def test_nothing_is_written_before_a_slot_has_settled(open_feed: Callable[..., Feed], clock: Clock) -> None:
    feed = open_feed()
    clock.now_ms = ORIGIN_MS + SLOT_MS + SETTLE_MS - 1
    assert feed.catch_up() == 0
    clock.now_ms += 1
    assert feed.catch_up() == 1


def test_a_clock_set_back_writes_nothing_twice(tmp_path: Path, open_feed: Callable[..., Feed], clock: Clock) -> None:
    feed = open_feed()
    clock.now_ms = ORIGIN_MS + 5 * MINUTE_MS
    feed.catch_up()
    clock.now_ms -= 3 * MINUTE_MS
    assert feed.catch_up() == 0
    got = _span_ids(tmp_path, "prod")
    assert got
    assert len(got) == len(set(got))


def test_a_short_sleep_of_the_machine_is_made_up(tmp_path: Path, open_feed: Callable[..., Feed], clock: Clock) -> None:
    feed = open_feed()
    clock.now_ms = ORIGIN_MS + 40 * MINUTE_MS
    feed.catch_up()
    expected = _expected_ids(ORIGIN_MS, clock.now_ms - SETTLE_MS, "app-prod")
    assert sorted(_span_ids(tmp_path, "app-prod")) == sorted(expected)


def test_a_sleep_longer_than_the_stores_keep_leaves_a_gap_that_is_said(
    open_feed: Callable[..., Feed], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    feed = open_feed(retention_ms=10 * MINUTE_MS)
    clock.now_ms = ORIGIN_MS + 5 * HOUR_MS + SETTLE_MS
    with caplog.at_level(logging.WARNING):
        assert feed.catch_up() == 10 * MINUTE_MS // SLOT_MS
    (said,) = [record for record in caplog.records if "has a gap" in record.message]
    assert said.__dict__["from"] < said.__dict__["to"]


def test_a_feed_opened_again_continues_behind_what_is_there(
    tmp_path: Path, open_feed: Callable[..., Feed], clock: Clock
) -> None:
    clock.now_ms = ORIGIN_MS + 10 * MINUTE_MS
    first = open_feed()
    first.catch_up()
    first.close()
    clock.now_ms += 10 * MINUTE_MS
    again = open_feed()
    assert again.next_ms >= ORIGIN_MS + 10 * MINUTE_MS - SETTLE_MS
    assert again.next_ms < ORIGIN_MS + 11 * MINUTE_MS
    again.history(clock.now_ms, 2)
    got = _span_ids(tmp_path, "prod")
    assert got
    assert len(got) == len(set(got))


def test_a_second_feed_of_the_same_stores_is_refused(open_feed: Callable[..., Feed]) -> None:
    open_feed()
    with pytest.raises(StoreUnavailable):
        open_feed()


def test_a_feed_that_cannot_open_one_store_lets_go_of_the_others(
    tmp_path: Path, open_feed: Callable[..., Feed]
) -> None:
    paths = store_paths(tmp_path)
    paths["shared-services"].mkdir(parents=True)
    with SegmentStore(paths["shared-services"], cluster="shared-services"), pytest.raises(StoreUnavailable):
        open_feed()
    open_feed()


def test_the_store_of_a_silent_cluster_gets_nothing(
    tmp_path: Path, open_feed: Callable[..., Feed], clock: Clock
) -> None:
    silence = next(each for each in incidents(ORIGIN_MS, ORIGIN_MS + HOUR_MS) if each.kind is Kind.SILENT_CLUSTER)
    feed = open_feed()
    feed.history(silence.start_ms + SETTLE_MS, 0.25)
    before = load_manifest(store_paths(tmp_path)["dev"])
    clock.now_ms = silence.end_ms + SETTLE_MS
    feed.catch_up()
    assert load_manifest(store_paths(tmp_path)["dev"]) == before
    assert load_manifest(store_paths(tmp_path)["test"]).version > before.version


def test_run_ends_when_it_is_told_to(open_feed: Callable[..., Feed], clock: Clock) -> None:
    feed = open_feed()
    clock.now_ms = ORIGIN_MS + MINUTE_MS
    stop = threading.Event()
    runner = threading.Thread(target=feed.run, args=(stop,))
    runner.start()
    deadline = monotonic() + 20
    while feed.next_ms < clock.now_ms - SETTLE_MS and monotonic() < deadline:
        stop.wait(0.02)
    stop.set()
    runner.join(timeout=20)
    assert not runner.is_alive()
    assert feed.next_ms == clock.now_ms - SETTLE_MS


def test_a_store_that_cannot_be_written_ends_the_feed_with_a_named_error(
    tmp_path: Path, open_feed: Callable[..., Feed], clock: Clock
) -> None:
    feed = open_feed()
    store = store_paths(tmp_path)["prod"]
    os.rename(store, store.with_name("gone"))
    clock.now_ms = ORIGIN_MS + 5 * MINUTE_MS
    with pytest.raises(StoreUnavailable):
        feed.catch_up()


def test_disk_stays_bounded_over_hours(tmp_path: Path, open_feed: Callable[..., Feed], clock: Clock) -> None:
    feed = open_feed(retention_ms=6 * MINUTE_MS)
    sizes_bytes = []
    for _ in range(8):
        clock.now_ms += 6 * MINUTE_MS
        feed.catch_up()
        manifests = [load_manifest(store) for store in store_paths(tmp_path).values()]
        sizes_bytes.append(sum(segment.size_bytes for manifest in manifests for segment in manifest.segments))
    # Segments leave as a whole, so up to a further retention's worth stays for a while.
    assert max(sizes_bytes[3:]) < 2.5 * sizes_bytes[1]

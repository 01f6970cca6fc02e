"""Live ingest: steps close behind the watermark, commits are whole, nothing grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from federation_core.connectors.otlp import Ingest
from federation_core.connectors.otlp.derive_index import GENERATION_MS
from federation_core.connectors.stores.segments import SegmentStore
from federation_core.connectors.stores.segments_layout import load_manifest
from federation_core.errors import StoreUnavailable
from tests.support.otlp_requests import (
    T0_MS,
    gauge,
    log,
    logs,
    metrics,
    point,
    resource,
    rows,
    samples_of,
    span,
    totals_of,
    traces,
)

WEB = resource("web")
DAY_S = 86_400


def test_a_step_is_written_once_the_watermark_has_passed_it_by_the_lag(store: SegmentStore, path: Path) -> None:
    ingest = Ingest(store, lag_ms=10_000)
    ingest.add(traces((WEB, [span(1, 1, end_s=1)])))
    ingest.flush(T0_MS + 24_999)
    assert samples_of(path, "http_requests_total") == {}
    ingest.flush(T0_MS + 25_000)
    assert list(samples_of(path, "http_requests_total").values()) == [[(0, 0), (15, 1)]]


def test_spans_and_logs_are_visible_at_once(store: SegmentStore, path: Path) -> None:
    ingest = Ingest(store)
    ingest.add(traces((WEB, [span(1, 1)])))
    ingest.add(logs((WEB, [log("a")])))
    ingest.flush(T0_MS)
    assert (len(rows(path, "spans")), len(rows(path, "logs"))) == (1, 1)


def test_a_late_span_counts_in_the_first_open_step(store: SegmentStore, path: Path) -> None:
    ingest = Ingest(store, lag_ms=0)
    ingest.add(traces((WEB, [span(1, 1, end_s=1)])))
    ingest.flush(T0_MS + 30_000)
    ingest.add(traces((WEB, [span(2, 1, end_s=2)])))
    ingest.flush(T0_MS + 45_000)
    assert list(samples_of(path, "http_requests_total").values()) == [[(0, 0), (15, 1), (30, 1), (45, 2)]]


def test_an_append_that_fails_loses_nothing(store: SegmentStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest = Ingest(store, lag_ms=0)
    ingest.add(traces((WEB, [span(1, 1)])))
    ingest.add(logs((WEB, [log("a")])))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("federation_core.connectors.stores.segments.write_whole", full)
        with pytest.raises(StoreUnavailable, match="No space left"):
            ingest.flush()
    assert rows(path, "logs") == []
    ingest.flush()
    assert len(rows(path, "spans")) == len(rows(path, "logs")) == 1
    assert totals_of(path, "http_requests_total") == totals_of(path, "log_records_total") == {(): 1}


def test_samples_come_in_and_series_are_found_again_after_retention_forgot_them(path: Path) -> None:
    """A series whose number was given up must not be written under it: its samples would have no labels."""
    now_ms = T0_MS
    with SegmentStore(path, retention_ms=600_000, clock_ms=lambda: now_ms) as store:
        ingest = Ingest(store)
        for at_s in (0, 2000, 4000):
            now_ms = T0_MS + at_s * 1000
            ingest.add(metrics(WEB, gauge("here" if at_s != 2000 else "other", point(1.0, at_s=at_s))))
            ingest.flush(now_ms)
    known = {number for (number,) in rows(path, "series", "series_id")}
    assert {number for (number,) in rows(path, "samples", "series_id")} <= known
    assert samples_of(path, "here") != {}


def test_a_counter_that_rises_again_after_retention_forgot_its_series_has_labels(path: Path) -> None:
    now_ms = T0_MS
    with SegmentStore(path, retention_ms=600_000, clock_ms=lambda: now_ms) as store:
        ingest = Ingest(store, lag_ms=30_000)
        for number, at_s in enumerate((1, 60, 4000, 4060), 1):
            now_ms = T0_MS + at_s * 1000
            if at_s != 60:
                ingest.add(traces((WEB, [span(number, 1, end_s=at_s)])))
            ingest.flush(now_ms)
    known = {number for (number,) in rows(path, "series", "series_id")}
    assert {number for (number,) in rows(path, "samples", "series_id")} <= known
    assert totals_of(path, "http_requests_total") == {(): 2}


def test_half_a_day_live_keeps_disk_series_and_memory_bounded(path: Path) -> None:
    now_ms = T0_MS
    sizes: list[tuple[int, int, int, int]] = []
    with SegmentStore(path, retention_ms=1_800_000, clock_ms=lambda: now_ms) as store:
        ingest = Ingest(store)
        for number in range(1, DAY_S // 600):
            at_s = number * 300
            now_ms = T0_MS + at_s * 1000
            pod = resource("web", pod=f"web-{number // 6}")
            ingest.add(traces((pod, [span(number, 1, end_s=at_s)])))
            ingest.add(metrics(pod, gauge("x", point(1.0, at_s=at_s))))
            ingest.flush(now_ms)
            if number % 36 == 35:
                files = sum(1 for file in path.rglob("*") if file.is_file())
                sizes.append((files, len(store.series), len(ingest._derivation._index), len(store.state)))
    first, last = sizes[0], sizes[-1]
    assert all(end <= 1.5 * begin for begin, end in zip(first, last, strict=True)), sizes
    newest_ms = load_manifest(path).newest_ms
    assert newest_ms is not None
    oldest_ms = load_manifest(path).oldest_ms
    assert oldest_ms is not None
    assert newest_ms - oldest_ms < 1.5 * 1_800_000


def test_the_index_of_spans_ages_while_live(path: Path) -> None:
    with SegmentStore(path) as store:
        ingest = Ingest(store, lag_ms=0)
        for number in range(1, 5):
            at_s = number * GENERATION_MS / 1000 * 1.1
            ingest.add(traces((WEB, [span(number, 1, end_s=at_s)])))
            ingest.flush(T0_MS + round(at_s * 1000))
        assert len(ingest._derivation._index) < 4


def test_a_parent_that_memory_has_let_go_of_is_found_in_the_store(path: Path) -> None:
    with SegmentStore(path) as store:
        ingest = Ingest(store, lag_ms=0)
        ingest.add(traces((WEB, [span(1, 1, end_s=1)])))
        for turn in range(4):
            ingest.flush(T0_MS + round(turn * GENERATION_MS * 1.1))
        assert len(ingest._derivation._index) == 0
        ingest.add(traces((resource("orders"), [span(1, 2, 1, end_s=2)])))
        ingest.add(traces((WEB, [span(1, 1, end_s=1)])))
        ingest.flush()
        assert ingest.report.duplicates == 1
    assert totals_of(path, "traces_service_graph_request_total", "client") == {("web",): 1}


def test_damaged_state_is_refused(path: Path) -> None:
    with SegmentStore(path) as store:
        Ingest(store).flush(T0_MS)
        (path / store.manifest.state_file).write_bytes(b"\x00")
    with SegmentStore(path) as store, pytest.raises(StoreUnavailable, match="derivation state"):
        Ingest(store)

"""Compaction and retention: nothing lost, nothing grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from federation_core.connectors.stores import segments, segments_compact
from federation_core.connectors.stores.segments import SegmentStore
from tests.support.otlp_requests import rows
from tests.support.segment_rows import MINUTE_MS, log_batch, sample_batch

HOUR_MS = 60 * MINUTE_MS


def test_many_small_segments_become_few_and_lose_no_row(tmp_path: Path) -> None:
    with SegmentStore(tmp_path) as store:
        for minute in range(150):
            store.append({"logs": log_batch((minute * MINUTE_MS, str(minute)))})
            store.maintain(minute * MINUTE_MS)
        assert len(store.manifest.of("logs")) < 20
    assert sorted(int(line) for (line,) in rows(tmp_path, "logs", "line")) == list(range(150))


def test_merged_segments_are_sorted_for_pruning(tmp_path: Path) -> None:
    with SegmentStore(tmp_path) as store:
        for minute in range(8):
            batch = sample_batch(store, "a", [(minute * MINUTE_MS, 1.0)])
            other = sample_batch(store, "b", [(minute * MINUTE_MS, 2.0)])
            store.append({"samples": batch})
            store.append({"samples": other})
        while store.maintain(0):
            pass
        (segment,) = (s for s in store.manifest.of("samples") if s.rows > 1)
    import duckdb

    found = duckdb.execute(f"SELECT series_id, t_ms FROM '{tmp_path / segment.file}'").fetchall()
    assert found == sorted(found)


def test_a_merge_is_bounded_in_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(segments_compact.MAX_ROWS, "logs", 20)
    with SegmentStore(tmp_path) as store:
        for minute in range(100):
            store.append({"logs": log_batch(*[(minute, str(minute))] * 9)})
            store.maintain(0)
        assert max(segment.rows for segment in store.manifest.of("logs")) <= 20
    assert len(rows(tmp_path, "logs")) == 900


def test_retention_drops_what_is_older_and_keeps_the_rest(tmp_path: Path) -> None:
    now_ms = 0
    with SegmentStore(tmp_path, retention_ms=40 * MINUTE_MS, clock_ms=lambda: now_ms) as store:
        for minute in range(200):
            now_ms = minute * MINUTE_MS
            store.append({"logs": log_batch((now_ms, str(minute)))})
            store.maintain(now_ms)
    kept = sorted(int(line) for (line,) in rows(tmp_path, "logs", "line"))
    assert kept == list(range(kept[0], 200))
    assert 200 - 40 * 1.3 < kept[0] <= 200 - 40
    # Files that were replaced stay a minute for readers, and then go.
    named = {s.file for s in store.manifest.segments} | {file for file, _ in store.manifest.removed}
    on_disk = {str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*.parquet")}
    assert on_disk == named
    assert len(on_disk) < 60


def test_series_without_samples_go_with_them_and_numbers_are_not_reused(tmp_path: Path) -> None:
    with SegmentStore(tmp_path, retention_ms=HOUR_MS) as store:
        store.append({"samples": sample_batch(store, "gone", [(0, 1.0)])})
        store.append({"samples": sample_batch(store, "kept", [(2 * HOUR_MS, 1.0)])})
        store.maintain(2 * HOUR_MS)
        assert store.series.generation == 1
        store.append({"samples": sample_batch(store, "gone", [(2 * HOUR_MS, 1.0)])})
    assert rows(tmp_path, "series", "series_id, name") == [(2, "kept"), (3, "gone")]
    assert [number for (number,) in rows(tmp_path, "samples", "series_id")] == [2, 3]


def test_a_crash_while_merging_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SegmentStore(tmp_path)
    for minute in range(8):
        store.append({"logs": log_batch((minute, str(minute)))})

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(segments, "write_whole", crash)
        with pytest.raises(KeyboardInterrupt):
            store.maintain(0)
    store.close()
    with SegmentStore(tmp_path) as again:
        assert len(rows(tmp_path, "logs")) == 8
        assert again.maintain(0)
    assert len(rows(tmp_path, "logs")) == 8

"""Reading an embedded store while it is written: one whole version, whatever the writer does."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path

import pytest

from federation_core.connectors.stores.segments import GRACE_MS, SegmentStore
from federation_core.connectors.stores.segments_layout import Manifest
from federation_core.connectors.stores.segments_read import SegmentReader, reader_of, within
from federation_core.connectors.stores.segments_slices import slices
from federation_core.errors import Malformed, Unreachable
from tests.support.segment_rows import log_batch


def count(reader: SegmentReader, manifest: Manifest) -> int:
    segments = manifest.of("logs")
    if not segments:
        return 0
    ((number,),) = reader.rows(f"SELECT count(*) FROM {reader.source(segments)}")
    return int(number)


def test_a_reader_sees_each_new_version(tmp_path: Path) -> None:
    with SegmentStore(tmp_path) as store:
        reader = SegmentReader(tmp_path)
        for number in range(3):
            assert reader.attempt(lambda manifest: count(reader, manifest)) == number
            store.append({"logs": log_batch((number, "a"))})


def test_a_reader_needs_no_lock_and_no_writer(tmp_path: Path) -> None:
    with SegmentStore(tmp_path) as store:
        store.append({"logs": log_batch((1, "a"))})
        reader = SegmentReader(tmp_path)
        assert reader.attempt(lambda manifest: count(reader, manifest)) == 1
    assert reader.attempt(lambda manifest: count(reader, manifest)) == 1


def test_a_reader_of_an_older_version_still_finds_its_files(tmp_path: Path) -> None:
    with SegmentStore(tmp_path) as store:
        for number in range(8):
            store.append({"logs": log_batch((number, "a"))})
        reader = SegmentReader(tmp_path)
        old = reader.manifest()
        assert store.maintain(0)
        assert count(reader, old) == 8


def test_a_reader_whose_files_are_gone_asks_again(tmp_path: Path) -> None:
    now_ms = 1_000_000
    with SegmentStore(tmp_path, clock_ms=lambda: now_ms) as store:
        for number in range(8):
            store.append({"logs": log_batch((number, "a"))})
        reader = SegmentReader(tmp_path)
        old = reader.manifest()
        store.maintain(0)
        now_ms += GRACE_MS + 1
        store.append({"logs": log_batch((9, "a"))})
        seen = [old]

        def ask(manifest: Manifest) -> int:
            return count(reader, seen.pop() if seen else manifest)

        assert reader.attempt(ask) == 9


def test_files_missing_for_good_are_unreachable_and_damaged_ones_malformed(tmp_path: Path) -> None:
    with SegmentStore(tmp_path) as store:
        store.append({"logs": log_batch((1, "a"))})
    reader = SegmentReader(tmp_path)
    (segment,) = reader.manifest().of("logs")
    (tmp_path / segment.file).write_bytes(b"PAR1 this is no parquet file PAR1")
    with pytest.raises(Malformed, match="cannot be read"):
        reader.attempt(lambda manifest: count(reader, manifest))
    (tmp_path / segment.file).unlink()
    with pytest.raises(Unreachable, match="missing"):
        reader.attempt(lambda manifest: count(reader, manifest))


def test_a_store_that_appears_later_is_found(tmp_path: Path) -> None:
    reader = SegmentReader(tmp_path / "later")
    with pytest.raises(Unreachable):
        reader.manifest()
    SegmentStore(tmp_path / "later").close()
    assert reader.manifest().version == 0


def test_readers_in_many_threads_never_see_a_torn_version(tmp_path: Path) -> None:
    """Every append adds ten rows, so a count that is no multiple of ten would be half an append."""
    now_ms = 0
    done = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        reader, last = reader_of(tmp_path), 0
        while not done.is_set():
            try:
                found = reader.attempt(lambda manifest: count(reader, manifest))
            except Exception as error:
                wrong.append(error)
                return
            if found % 10 or found < last:
                wrong.append((last, found))
            last = found

    with SegmentStore(tmp_path, clock_ms=lambda: now_ms) as store:
        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(60):
            # Every replaced file is deleted at once: the hardest case for a reader.
            now_ms += GRACE_MS + 1
            store.append({"logs": log_batch(*[(number, str(row)) for row in range(10)])})
            store.maintain(0)
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_fact_of_a_segment_is_found_once(tmp_path: Path) -> None:
    with SegmentStore(tmp_path) as store:
        reader = SegmentReader(tmp_path)
        looked_at: list[str] = []

        def look(segment: object) -> int:
            looked_at.append(str(segment))
            return len(looked_at)

        for number in range(3):
            store.append({"logs": log_batch((number, "a"))})
            assert len(reader.per_segment("fact", reader.manifest().of("logs"), look)) == number + 1
    assert len(looked_at) == 3


def test_slices_cover_the_range_without_overlap_in_the_direction_asked(tmp_path: Path) -> None:
    with SegmentStore(tmp_path) as store:
        for start in (0, 500, 1000):
            store.append({"logs": log_batch((start, "a"), (start + 700, "b"))})
        segments = within(store.manifest, "logs", 0, 3000)
    for direction in ("forward", "backward"):
        parts = list(slices(segments, 100_000_000, 3_000_000_000, direction))  # type: ignore[arg-type]
        ordered = sorted(parts, key=lambda part: part.start_ns)
        assert parts == (ordered if direction == "forward" else ordered[::-1])
        assert (ordered[0].start_ns, ordered[-1].end_ns) == (100_000_000, 3_000_000_000)
        assert all(a.end_ns == b.start_ns for a, b in pairwise(ordered))
        for segment in segments:
            inside = [part for part in parts if segment in part.segments]
            assert min(part.start_ns for part in inside) <= max(segment.min_ms, 100) * 1_000_000
            assert max(part.end_ns for part in inside) > segment.max_ms * 1_000_000

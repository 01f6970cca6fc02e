"""Keeping an embedded store small: merging small segments, dropping old ones.

Rule: the number of files and the work per append stay bounded however long the store is written. Segments of one
time window and one size class are merged when eight have gathered, so a row is rewritten a logarithmic number
of times; one call does at most one merge. Windows are an eighth of the retention, which is therefore exact to that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from federation_core.connectors.stores import segments_duckdb
from federation_core.connectors.stores.segments_layout import TABLES, Columns, Segment, Table

if TYPE_CHECKING:
    from federation_core.connectors.stores.segments import SegmentStore

FANOUT: Final = 8
#: A window two or more behind the newest is done: it is merged without regard to size classes.
DONE_FANOUT: Final = 4
#: Largest segment that merging makes; bounds the memory a merge needs.
MAX_ROWS: Final[dict[Table, int]] = {"spans": 100_000, "logs": 200_000, "samples": 2_000_000, "series": 1_000_000}
SMALLEST_CLASS_ROWS: Final = 1024
DEFAULT_WINDOW_MS: Final = 6 * 3_600_000


def retire(store: SegmentStore, watermark_ms: int) -> bool:
    """Drop segments that ended before the retention, and the series they alone held; tell whether any went."""
    if store.retention_ms is None:
        return False
    horizon_ms = watermark_ms - store.retention_ms
    before = store.manifest
    gone = tuple(s for s in before.segments if s.table != "series" and s.max_ms < horizon_ms)
    if not gone:
        return False
    manifest = replace(before, segments=tuple(s for s in before.segments if s not in gone))
    series = manifest.of("series")
    if series and any(segment.table == "samples" for segment in gone):
        live = _series_in(store, manifest.of("samples"))
        if len(live) < sum(segment.rows for segment in series):
            kept = _keep_series(store, series, live, manifest.next_file)
            others = tuple(s for s in manifest.segments if s.table != "series")
            manifest = replace(manifest, segments=(*others, *kept), next_file=manifest.next_file + 1)
            store.commit(manifest)
            store.series.keep_only(set(live.tolist()))
            return True
    store.commit(manifest)
    return True


def compact(store: SegmentStore) -> bool:
    """Do the most useful single merge; tell whether there was one."""
    window_ms = max(1, store.retention_ms // 8) if store.retention_ms else DEFAULT_WINDOW_MS
    for table in TABLES:
        sources = _choose(table, store.manifest.of(table), window_ms)
        if sources:
            manifest = store.manifest
            merged = store.merge(table, sources, manifest.next_file)
            rest = tuple(segment for segment in manifest.segments if segment not in sources)
            store.commit(replace(manifest, segments=(*rest, merged), next_file=manifest.next_file + 1))
            return True
    return False


def _choose(table: Table, segments: tuple[Segment, ...], window_ms: int) -> tuple[Segment, ...]:
    """Return the segments to merge next, oldest first, or nothing."""
    if len(segments) < DONE_FANOUT:
        return ()
    newest = max(segment.max_ms for segment in segments) // window_ms
    groups: dict[tuple[int, int], list[Segment]] = {}
    for segment in segments:
        if segment.rows <= MAX_ROWS[table] // 2:
            window = segment.max_ms // window_ms
            size_class = -1 if window < newest - 1 else _size_class(segment.rows)
            groups.setdefault((window, size_class), []).append(segment)
    for (_, size_class), group in sorted(groups.items()):
        if len(group) >= (DONE_FANOUT if size_class < 0 else FANOUT) and (chosen := _fitting(table, group)):
            return chosen
    return ()


def _fitting(table: Table, group: list[Segment]) -> tuple[Segment, ...]:
    """Take the smallest segments first while their sum stays below the largest segment allowed."""
    chosen: list[Segment] = []
    rows = 0
    for segment in sorted(group, key=lambda s: s.rows):
        if rows + segment.rows > MAX_ROWS[table]:
            break
        chosen.append(segment)
        rows += segment.rows
    return tuple(chosen) if len(chosen) > 1 else ()


def _size_class(rows: int) -> int:
    """Return 0 for the smallest segments, one more for every eightfold size."""
    size_class = 0
    while rows >= SMALLEST_CLASS_ROWS:
        rows //= FANOUT
        size_class += 1
    return size_class


def _series_in(store: SegmentStore, samples: tuple[Segment, ...]) -> np.ndarray[Any, np.dtype[Any]]:
    if not samples:
        return np.zeros(0, dtype=np.uint32)
    query = f"SELECT DISTINCT series_id FROM {segments_duckdb.parquet(store.path, samples)}"
    ids: np.ndarray[Any, np.dtype[Any]] = segments_duckdb.cursor().execute(query).fetchnumpy()["series_id"]
    return np.asarray(ids)


def _keep_series(
    store: SegmentStore, series: tuple[Segment, ...], live: np.ndarray[Any, np.dtype[Any]], next_file: int
) -> tuple[Segment, ...]:
    """Rewrite the series table with the numbers in `live`; return its one segment, or none if nothing is left."""
    query = f"SELECT * FROM {segments_duckdb.parquet(store.path, series)}"
    kept: Columns = segments_duckdb.cursor().execute(query).fetchnumpy()
    mask = np.isin(kept["series_id"], live)
    if not mask.any():
        return ()
    return (store.write("series", {name: np.asarray(column)[mask] for name, column in kept.items()}, next_file),)

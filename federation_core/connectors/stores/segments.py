"""Writing an embedded store: one cluster's telemetry as Parquet segments, appended atomically by one writer.

Rule: an append is all or nothing. Segments and state are written and fsynced first, the manifest's rename commits
them together, and a crash at any point leaves the version before. Readers need no lock (`segments_read`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import numpy as np

from federation_core.connectors.stores import segments_compact, segments_duckdb
from federation_core.connectors.stores.segments_files import TEMPORARY, publish, sync_directory, take_lock, write_whole
from federation_core.connectors.stores.segments_layout import (
    COLUMNS,
    MANIFEST,
    ORDER,
    TABLES,
    Columns,
    Manifest,
    Segment,
    Table,
    load_manifest,
)
from federation_core.connectors.stores.segments_series import SeriesTable
from federation_core.errors import StoreUnavailable

#: How long a replaced file stays for readers that still hold an older manifest.
GRACE_MS = 60_000
ROW_GROUP = 16_384


def wall_clock_ms() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class SegmentStore:
    """The one writer of the store at `path`; a context manager that releases the writer's lock.

    Args:
        cluster: name recorded in the store; must equal the one recorded earlier.
        retention_ms: how much to keep, counted back from the watermark handed to `maintain`; None keeps all.
    Raises StoreUnavailable: another writer, or a directory that cannot be written or belongs to another cluster.
        Malformed: the store is damaged, or of a later format.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        cluster: str | None = None,
        retention_ms: int | None = None,
        clock_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self.path = Path(path)
        self.retention_ms = retention_ms
        self._clock_ms = clock_ms
        self._lock = take_lock(self.path)
        try:
            self.manifest = self._open()
            if cluster:
                self.name_cluster(cluster)
            self.series = SeriesTable(self.path, self.manifest)
            self._sweep()
        except BaseException:
            self.close()
            raise

    def _open(self) -> Manifest:
        for table in TABLES:
            (self.path / table).mkdir(exist_ok=True)
        if not (self.path / MANIFEST).exists():
            manifest = Manifest()
            write_whole(self.path / MANIFEST, manifest.dump())
            return manifest
        return load_manifest(self.path)

    def _sweep(self) -> None:
        """Delete what a crash left behind: files that no version names."""
        known = {s.file for s in self.manifest.segments} | {file for file, _ in self.manifest.removed}
        known.add(self.manifest.state_file)
        for found in [*self.path.glob("*/*.parquet*"), *self.path.glob("state-*"), *self.path.glob("*" + TEMPORARY)]:
            if str(found.relative_to(self.path)) not in known:
                found.unlink(missing_ok=True)

    @property
    def state(self) -> bytes:
        """What was handed to the last append as state; empty for a new store."""
        return (self.path / self.manifest.state_file).read_bytes() if self.manifest.state_file else b""

    def append(self, batches: Mapping[Table, Columns], state: bytes | None = None) -> None:
        """Commit rows of any tables, the series registered since the last append, and the new state, together.

        Raises StoreUnavailable: nothing was committed (disk full, directory gone); the same call may be repeated.
        """
        self._require_open()
        next_file, segments = self.manifest.next_file, list(self.manifest.segments)
        staged = self.series.staged_columns()
        try:
            for table in TABLES:
                rows = staged if table == "series" else batches.get(table, {})
                count = len(next(iter(rows.values()))) if rows else 0
                if count:
                    segments.append(self.write(table, rows, next_file))
                    next_file += 1
            changes: dict[str, Any] = {"next_series_id": self.series.next_id, "next_file": next_file}
            if state is not None:
                changes["state_file"] = f"state-{self.manifest.version + 1:08d}.bin"
                write_whole(self.path / changes["state_file"], state)
            self.commit(replace(self.manifest, segments=tuple(segments), **changes))
        except (OSError, duckdb.Error) as error:
            raise StoreUnavailable(f"could not append to the store at {self.path}: {error}") from error
        self.series.mark_written()

    def name_cluster(self, cluster: str) -> None:
        """Record whose telemetry this is, with the next append.

        Raises StoreUnavailable: the store holds another cluster's.
        """
        if self.manifest.cluster not in ("", cluster):
            raise StoreUnavailable(
                f"the store at {self.path} holds cluster {self.manifest.cluster!r}, not {cluster!r}; "
                "use another directory"
            )
        self.manifest = replace(self.manifest, cluster=cluster)

    def maintain(self, watermark_ms: int) -> bool:
        """Drop what retention has passed and do at most one merge; tell whether there was one.

        Raises StoreUnavailable: the disk failed; the store stays as it was.
        """
        self._require_open()
        try:
            segments_compact.retire(self, watermark_ms)
            return segments_compact.compact(self)
        except (OSError, duckdb.Error) as error:
            raise StoreUnavailable(f"could not compact the store at {self.path}: {error}") from error

    def write(self, table: Table, rows: Columns, number: int) -> Segment:
        """Write rows as one sorted segment, which the next commit may name."""
        count = len(next(iter(rows.values())))
        file = f"{table}/{number:08d}-{count}.parquet"
        # DuckDB finds the batch by the name of `_copy`'s variable.
        size_bytes = self._copy(table, file, "rows", rows)
        return Segment(table, file, count, size_bytes, *time_bounds_ms(table, rows))

    def merge(self, table: Table, sources: tuple[Segment, ...], number: int) -> Segment:
        """Write the rows of several segments into one new segment, which the next commit may name."""
        count = sum(segment.rows for segment in sources)
        file = f"{table}/{number:08d}-{count}.parquet"
        size_bytes = self._copy(table, file, segments_duckdb.parquet(self.path, sources), {})
        return Segment(table, file, count, size_bytes, min(s.min_ms for s in sources), max(s.max_ms for s in sources))

    def _copy(self, table: Table, file: str, source: str, rows: Columns) -> int:
        target = self.path / file
        temporary = target.with_name(target.name + TEMPORARY)
        columns = ", ".join(f"{name}::{kind} AS {name}" for name, kind in COLUMNS[table].items())
        segments_duckdb.cursor().execute(
            f"COPY (SELECT {columns} FROM {source} ORDER BY {ORDER[table]}) TO {segments_duckdb.quoted(str(temporary))}"
            f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP})"
        )
        return publish(temporary, target)

    def commit(self, manifest: Manifest) -> None:
        """Make a manifest the current version and delete files whose readers are gone."""
        now_ms = self._clock_ms()
        live = {segment.file for segment in manifest.segments}
        dropped = [(s.file, now_ms) for s in self.manifest.segments if s.file not in live]
        expired = [file for file, at_ms in manifest.removed if not now_ms - GRACE_MS < at_ms <= now_ms]
        kept = tuple(entry for entry in manifest.removed if entry[0] not in expired)
        fresh = replace(manifest, version=self.manifest.version + 1, removed=(*kept, *dropped))
        for table in {s.table for s in fresh.segments if s not in self.manifest.segments}:
            sync_directory(self.path / table)
        write_whole(self.path / MANIFEST, fresh.dump())
        old_state, self.manifest = self.manifest.state_file, fresh
        if old_state and old_state != fresh.state_file:
            expired.append(old_state)
        for file in expired:
            (self.path / file).unlink(missing_ok=True)

    def _require_open(self) -> None:
        if self._lock < 0:
            raise StoreUnavailable(f"the store at {self.path} is closed")

    def close(self) -> None:
        """Release the writer's lock; what was not appended is not in the store."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def time_bounds_ms(table: Table, rows: Columns) -> tuple[int, int]:
    """Return the inclusive time bounds of a batch, rounded outwards to milliseconds."""
    match table:
        case "series":
            return 0, 0
        case "samples":
            return int(rows["t_ms"].min()), int(rows["t_ms"].max())
        case "logs":
            return int(rows["t_ns"].min()) // 1_000_000, -(-int(rows["t_ns"].max()) // 1_000_000)
        case "spans":
            ends = np.add(rows["start_ns"], rows["duration_ns"])
            return int(rows["start_ns"].min()) // 1_000_000, -(-int(ends.max()) // 1_000_000)

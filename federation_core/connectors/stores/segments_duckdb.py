"""One in-memory DuckDB per process, a cursor per thread: the way to write and read Parquet segments.

Rule: DuckDB fetches, it never aggregates sample values. One engine thread and a small memory limit, because
a process may hold six stores beside its real work; the engine opens on first use and is not shared over a fork.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import duckdb

from federation_core.connectors.stores.segments_layout import Segment

MEMORY_LIMIT: Final = "256MB"

_guard = threading.Lock()
_local = threading.local()
_engine: duckdb.DuckDBPyConnection | None = None
_engine_pid = 0


def cursor() -> duckdb.DuckDBPyConnection:
    """Return this thread's cursor, opening the process's engine if need be."""
    global _engine, _engine_pid
    pid = os.getpid()
    if getattr(_local, "pid", None) == pid:
        found: duckdb.DuckDBPyConnection = _local.cursor
        return found
    with _guard:
        if _engine is None or _engine_pid != pid:
            _engine = duckdb.connect(
                ":memory:",
                config={
                    "threads": 1,
                    "memory_limit": MEMORY_LIMIT,
                    "temp_directory": os.path.join(tempfile.gettempdir(), f"appsentry-duckdb-{pid}"),
                    # Segments are immutable and written once: caching their blocks would only hold memory.
                    "enable_external_file_cache": False,
                    "allocator_flush_threshold": "16MB",
                },
            )
            _engine_pid = pid
        _local.cursor = _engine.cursor()
    _local.pid = pid
    opened: duckdb.DuckDBPyConnection = _local.cursor
    return opened


def interrupt() -> Callable[[], None]:
    """Return what ends the statement that this thread's cursor runs, for another thread to call; safe to call twice."""
    return cursor().interrupt


def quoted(text: str) -> str:
    """Return a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def parquet(directory: Path, segments: Iterable[Segment]) -> str:
    """Return the SQL table expression over some segments of the store at `directory`; there must be at least one."""
    return f"read_parquet([{', '.join(quoted(str(directory / segment.file)) for segment in segments)}])"

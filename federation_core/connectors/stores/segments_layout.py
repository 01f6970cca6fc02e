"""The layout of an embedded store on disk: tables, columns, and the manifest that says which files count.

    DIR/manifest.json            the list of live segments; replaced by rename, so it is whole or the one before
    DIR/writer.lock              held with flock by the one writer; readers never touch it
    DIR/state-<version>.bin      what derivation needs to go on after a restart (opaque here)
    DIR/spans|logs|samples|series/<number>-<rows>.parquet

Rule: a file that the manifest does not name does not exist for a reader. Parquet by itself has no transactions;
the manifest's rename is the commit, and everything it names was fsynced before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import orjson

from federation_core.errors import Malformed, Unreachable

Table = Literal["spans", "logs", "samples", "series"]
TABLES: Final[tuple[Table, ...]] = get_args(Table)
#: A batch of rows by column: object arrays of str for text, integer or float arrays for numbers.
Columns = Mapping[str, "np.ndarray[Any, np.dtype[Any]]"]

MANIFEST: Final = "manifest.json"
LOCK: Final = "writer.lock"
FORMAT: Final = 1

#: Column → DuckDB type. Absent text is the empty string, never NULL. JSON is text holding a JSON value.
COLUMNS: Final[Mapping[Table, Mapping[str, str]]] = {
    "spans": {
        "trace_id": "VARCHAR",  # 32 hex digits
        "span_id": "VARCHAR",  # 16 hex digits
        "parent_id": "VARCHAR",  # 16 hex digits, empty for a root
        "name": "VARCHAR",  # the operation
        "kind": "VARCHAR",  # unspecified internal server client producer consumer
        "service": "VARCHAR",
        "namespace": "VARCHAR",
        "pod": "VARCHAR",
        "instance": "VARCHAR",
        "start_ns": "BIGINT",
        "duration_ns": "BIGINT",
        "status": "VARCHAR",  # unset ok error
        "status_message": "VARCHAR",
        "scope": "VARCHAR",  # the instrumentation scope's name
        "attributes": "VARCHAR",  # JSON object
        "resource": "VARCHAR",  # JSON object
        "events": "VARCHAR",  # JSON array of {time_ns, name, attributes}, empty for none
        "links": "VARCHAR",  # JSON array of {trace_id, span_id, attributes}, empty for none
    },
    "logs": {
        "t_ns": "BIGINT",
        "ordinal": "BIGINT",  # order of arrival in this store; tells records of one nanosecond apart
        "service": "VARCHAR",
        "namespace": "VARCHAR",
        "pod": "VARCHAR",
        "level": "VARCHAR",  # trace debug info warn error fatal unknown
        "trace_id": "VARCHAR",
        "span_id": "VARCHAR",
        "line": "VARCHAR",
        "scope": "VARCHAR",
        "attributes": "VARCHAR",  # JSON object
        "labels": "VARCHAR",  # JSON object: the stream's labels
    },
    # DuckDB reads a NaN from numpy as NULL and would lose its payload: the bits of a NaN (a stale marker is
    # one) have a column of their own, NULL wherever `value` says it all.
    "samples": {"series_id": "UINTEGER", "t_ms": "BIGINT", "value": "DOUBLE", "nan_bits": "BIGINT"},
    "series": {
        "series_id": "UINTEGER",
        "name": "VARCHAR",
        "labels": "VARCHAR",  # JSON object without __name__, sorted by label name
        "type": "VARCHAR",  # counter gauge histogram summary
        "unit": "VARCHAR",
    },
}
#: The order of rows within a segment, so that Parquet's row-group statistics prune the usual look-up.
ORDER: Final[Mapping[Table, str]] = {
    "spans": "trace_id, start_ns",
    "logs": "t_ns, ordinal",
    "samples": "series_id, t_ms",
    "series": "series_id",
}


@dataclass(frozen=True, slots=True)
class Segment:
    """One immutable Parquet file; `file` is relative to the store, the time bounds are inclusive."""

    table: Table
    file: str
    rows: int
    size_bytes: int
    min_ms: int
    max_ms: int

    def overlaps(self, start_ms: int, end_ms: int) -> bool:
        """Tell whether the segment can hold a row of the closed interval."""
        return self.min_ms <= end_ms and self.max_ms >= start_ms


@dataclass(frozen=True, slots=True)
class Manifest:
    """One committed version of a store. `removed` are files still on disk for readers of earlier versions."""

    version: int = 0
    cluster: str = ""
    segments: tuple[Segment, ...] = ()
    removed: tuple[tuple[str, int], ...] = ()
    state_file: str = ""
    next_file: int = 1
    next_series_id: int = 1
    format: int = field(default=FORMAT)

    def of(self, table: Table) -> tuple[Segment, ...]:
        """Return the live segments of one table."""
        return tuple(segment for segment in self.segments if segment.table == table)

    @property
    def oldest_ms(self) -> int | None:
        """Time of the oldest telemetry, None for an empty store."""
        return min((s.min_ms for s in self.segments if s.table != "series"), default=None)

    @property
    def newest_ms(self) -> int | None:
        """Time of the newest telemetry, None for an empty store."""
        return max((s.max_ms for s in self.segments if s.table != "series"), default=None)

    def dump(self) -> bytes:
        """Return the manifest as it is written."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2)


def load_manifest(directory: Path) -> Manifest:
    """Read the committed manifest of a store.

    Raises Unreachable: there is no store. Malformed: it is damaged, or of a later format.
    """
    try:
        text = (directory / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise Unreachable(f"there is no embedded store at {directory} (no {MANIFEST} in it)") from None
    except OSError as error:
        raise Unreachable(f"the embedded store at {directory} cannot be read: {error.strerror}") from error
    try:
        raw = orjson.loads(text)
        if raw["format"] > FORMAT:
            raise Malformed(f"{directory}: store format {raw['format']}, this release reads up to {FORMAT}")
        segments = tuple(Segment(**segment) for segment in raw["segments"])
        removed = tuple((file, at_ms) for file, at_ms in raw["removed"])
        return Manifest(**{**raw, "segments": segments, "removed": removed})
    except (ValueError, KeyError, TypeError) as error:
        raise Malformed(f"{directory / MANIFEST} is damaged: {error}") from error

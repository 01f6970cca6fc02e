"""Reading an embedded store, from any process, while its writer goes on.

Rule: a reader sees one committed version, whole. It takes no lock; when a file it wants is gone, because a merge
replaced it and the grace time is over, it reads the manifest anew and asks again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb

from federation_core.connectors.stores import segments_duckdb
from federation_core.connectors.stores.segments_layout import MANIFEST, Columns, Manifest, Segment, Table, load_manifest
from federation_core.errors import Malformed, TimedOut, TooLarge, Unreachable

#: Times a query is repeated on a newer version of the store.
ATTEMPTS: Final = 4
#: Rows handed on at a time by `stream`.
BATCH_ROWS: Final = 4096

T = TypeVar("T")


class SegmentReader:
    """A view of the store at `path`. Safe to use from several threads; each has its own DuckDB cursor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guard = threading.Lock()
        self._seen: tuple[int, int, int] = (0, 0, 0)
        self._manifest: Manifest | None = None
        self._facts: dict[tuple[str, Hashable], Any] = {}

    def manifest(self) -> Manifest:
        """Return the current version, read again only when it has changed.

        Raises Unreachable: there is no store. Malformed: it is damaged.
        """
        try:
            found = os.stat(self.path / MANIFEST)
        except OSError:
            raise Unreachable(f"there is no embedded store at {self.path}") from None
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        with self._guard:
            if self._manifest is None or seen != self._seen:
                self._manifest, self._seen = load_manifest(self.path), seen
            return self._manifest

    def attempt(self, ask: Callable[[Manifest], T]) -> T:
        """Run a query on the current version, and on a newer one when its files are gone meanwhile.

        Raises Malformed: a segment is damaged. Unreachable: the store is gone, or changes faster than it can be
        read. TooLarge: the query needs too much memory. TimedOut: another thread has interrupted it.
        """
        for _ in range(ATTEMPTS):
            try:
                return ask(self.manifest())
            except duckdb.IOException:
                continue
            except duckdb.InterruptException as error:
                raise TimedOut("the statement was interrupted") from error
            except duckdb.OutOfMemoryException as error:
                raise TooLarge(f"the query needs more memory than a reader of {self.path} may use") from error
            except duckdb.Error as error:
                raise Malformed(f"the embedded store at {self.path} cannot be read: {error}") from error
        raise Unreachable(f"files of the embedded store at {self.path} are missing")

    def source(self, segments: Sequence[Segment]) -> str:
        """Return the SQL table expression over segments of this store."""
        return segments_duckdb.parquet(self.path, segments)

    def arrays(self, statement: str, *, wanted: Columns | None = None) -> Columns:
        """Run a statement and return its columns; it may join the table `wanted`. Only within `attempt`."""
        # DuckDB finds the table by the name of this frame's variable.
        columns: Columns = segments_duckdb.cursor().execute(statement).fetchnumpy()
        return columns

    def rows(
        self, statement: str, parameters: Sequence[Any] = (), *, wanted: Columns | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """Run a statement and yield its rows as they come; it may join the table `wanted`.

        Only within `attempt`, and one at a time per thread: the next statement ends this one.
        """
        result = segments_duckdb.cursor().execute(statement, list(parameters))
        while rows := result.fetchmany(BATCH_ROWS):
            yield from rows

    def per_segment(self, fact: str, segments: Sequence[Segment], find: Callable[[Segment], T]) -> list[T]:
        """Return `find(segment)` for each segment, remembered for as long as the segment is live.

        Segments never change, so what was found in one holds for ever; only new ones are read.
        """
        known: dict[str, T] = self._facts.get((fact, "per segment"), {})
        found = {s.file: known[s.file] if s.file in known else find(s) for s in segments}
        live = {s.file for s in self.manifest().segments}
        kept = {file: value for file, value in known.items() if file in live and file not in found}
        self._facts[fact, "per segment"] = kept | found
        return [found[segment.file] for segment in segments]

    def once(self, fact: str, segments: Sequence[Segment], find: Callable[[], T]) -> T:
        """Return `find()`, remembered while exactly these segments make up a table."""
        key = tuple(segment.file for segment in segments)
        entry: tuple[tuple[str, ...], T] | None = self._facts.get((fact, "once"))
        if entry is None or entry[0] != key:
            entry = self._facts[fact, "once"] = (key, find())
        return entry[1]


def within(manifest: Manifest, table: Table, start_ms: int, end_ms: int) -> tuple[Segment, ...]:
    """Return the segments of a table that can hold rows of the closed interval."""
    return tuple(segment for segment in manifest.of(table) if segment.overlaps(start_ms, end_ms))


@cache
def reader_of(path: Path) -> SegmentReader:
    """Return this process's reader of the store at `path`; all signals of a cluster share it."""
    return SegmentReader(path)

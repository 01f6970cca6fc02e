"""Importing files of OTLP JSON lines, as the OpenTelemetry Collector's file exporter writes them.

Rule: memory does not grow with the file. A file known to the store is not read twice: progress is recorded with
every commit as (first line, lines done, digest of those lines), so an import that was cut short goes on where it
stopped, a file that has grown is read from where it ended, and the same file again adds nothing.
Source: opentelemetry-collector-contrib, "File Exporter" (JSON, one export request per line; gzip and zstd as files).
"""

from __future__ import annotations

import gc
import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import orjson
import zstandard

from federation_core.connectors.otlp.ingest import Ingest
from federation_core.connectors.otlp.report import ImportReport
from federation_core.connectors.stores.segments import SegmentStore
from federation_core.errors import InvalidRequest

#: Rows gathered before they are committed; bounds memory and makes segments worth their file.
SPILL_ROWS: Final = 25_000
MAX_LINE_BYTES: Final = 64 * 1024 * 1024
#: Files whose progress is remembered.
MAX_FILES: Final = 10_000
PROGRESS_LINES: Final = 200

Progress = Callable[[ImportReport], None]
_DAMAGE: Final = (OSError, EOFError, zlib.error, zstandard.ZstdError)


def import_files(
    paths: Iterable[str | os.PathLike[str]],
    store: SegmentStore,
    cluster: str | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Import files into a store and derive metrics from them; return what was kept and what was rejected.

    Files of one period belong into one call, in any order: steps close at its end. `progress` is called with
    the running report every few hundred lines.

    Raises InvalidRequest: a path is no readable file (nothing was imported). StoreUnavailable: the disk failed;
    what was committed stays, and the same call goes on from there.
    """
    files = [_require_file(Path(path)) for path in paths]
    ingest = Ingest(store, cluster=cluster)
    report = ingest.report
    report.total_bytes = sum(file.stat().st_size for file in files)
    before_bytes = 0
    with _rare_collection():
        for file in files:
            report.file = str(file)
            _import_file(file, ingest, before_bytes, progress)
            before_bytes += file.stat().st_size
            report.bytes = before_bytes
        report.file = ""
        ingest.flush()
    while store.maintain(store.manifest.newest_ms or 0):
        pass
    if progress is not None:
        progress(report)
    return report


@contextmanager
def _rare_collection() -> Iterator[None]:
    """Collect cycles rarely: decoded JSON has none, and looking for them costs a quarter of the time."""
    before = gc.get_threshold()
    gc.set_threshold(1_000_000, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _import_file(path: Path, ingest: Ingest, before_bytes: int, progress: Progress | None) -> None:
    report, number, digest, first = ingest.report, 0, hashlib.blake2b(digest_size=16), ""
    done = _lines_done(path, ingest)
    if done:
        report.already_imported.append(f"{path}: {done} lines")
    try:
        with path.open("rb") as raw:
            for line in _lines(_decompress(path, raw)):
                if _is_torn(line):
                    report.reject(number + 1, "lines", "the last line is not complete; import again when it is")
                    break
                number += 1
                digest.update(_identity(line))
                first = first or digest.hexdigest()
                if number <= done:
                    continue
                report.lines += 1
                _add_line(line, number, ingest)
                if ingest.waiting >= SPILL_ROWS:
                    _record(ingest, first, number, digest.hexdigest())
                    ingest.spill()
                if progress is not None and number % PROGRESS_LINES == 0:
                    report.bytes = before_bytes + raw.tell()
                    progress(report)
    except _DAMAGE as error:
        report.reject(number + 1, "lines", f"the file cannot be read further: {error}")
    if number:
        _record(ingest, first, number, digest.hexdigest())


def _add_line(line: bytes, number: int, ingest: Ingest) -> None:
    if len(line) > MAX_LINE_BYTES:
        ingest.report.reject(number, "lines", f"longer than {MAX_LINE_BYTES} bytes")
        return
    if not line.strip():
        return
    try:
        request = orjson.loads(line)
    except ValueError as error:
        ingest.report.reject(number, "lines", f"not JSON: {error}")
        return
    ingest.add(request, number)


def _record(ingest: Ingest, first: str, lines: int, digest: str) -> None:
    """Note how far a file has come; it is stored with the next commit."""
    ingest.imported.pop(first, None)
    ingest.imported[first] = [lines, digest]
    while len(ingest.imported) > MAX_FILES:
        del ingest.imported[next(iter(ingest.imported))]


def _lines_done(path: Path, ingest: Ingest) -> int:
    """Return how many lines of a file the store already holds: all recorded ones, if they are still the same."""
    digest, recorded = hashlib.blake2b(digest_size=16), None
    try:
        with path.open("rb") as raw:
            for number, line in enumerate(_lines(_decompress(path, raw)), 1):
                digest.update(_identity(line))
                if recorded is None:
                    recorded = ingest.imported.get(digest.hexdigest())
                    if recorded is None:
                        return 0
                if number == recorded[0]:
                    return number if digest.hexdigest() == recorded[1] else 0
    except _DAMAGE:
        return 0
    return 0


def _identity(line: bytes) -> bytes:
    """Return what a line is recognised by; the last one may get its line end later."""
    return line.rstrip(b"\r\n") + b"\n"


def _is_torn(line: bytes) -> bool:
    """Tell whether a line is the beginning of one that is still being written."""
    if line.endswith(b"\n") or len(line) > MAX_LINE_BYTES:
        return False
    try:
        orjson.loads(line)
    except ValueError:
        return bool(line.strip())
    return False


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield lines; of one that is too long, its first part with one byte too many."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        yield line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES + 1)
            if not line or line.endswith(b"\n"):
                break


def _decompress(path: Path, raw: IO[bytes]) -> IO[bytes]:
    """Return the file's plain content, by its first bytes rather than its name."""
    magic = raw.read(4)
    raw.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 18)
    if magic == b"\x28\xb5\x2f\xfd":
        reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True, closefd=False)
        return io.BufferedReader(reader, 1 << 18)
    return raw


def _require_file(path: Path) -> Path:
    if not path.is_file():
        problem = "is a directory" if path.is_dir() else "does not exist" if not path.exists() else "is not a file"
        raise InvalidRequest(f"{path} {problem}", field="file", got=str(path), expected="a file of OTLP JSON lines")
    if not os.access(path, os.R_OK):
        raise InvalidRequest(f"{path} cannot be read", field="file", got=str(path), expected="a readable file")
    return path

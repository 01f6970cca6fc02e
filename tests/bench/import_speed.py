"""How fast OTLP comes in: the recording's traces from a file, and one live flush of a small cluster."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from federation_core.connectors.otlp import Ingest, import_files
from federation_core.connectors.stores.segments import SegmentStore
from tests.support import nezha
from tests.support.otlp_requests import (
    T0_MS,
    Request,
    counter,
    gauge,
    log,
    logs,
    metrics,
    point,
    resource,
    span,
    traces,
)

BUDGETS = {"import_spans_per_s": 20_000.0, "live_flush_p50_ms": 30.0}
FLUSH_S = 5
LIVE_FLUSHES = 720
SERVICES = 12


def measure() -> dict[str, float]:
    """Return spans per second of an import (0 without the recording), and the cost of a live flush in ms."""
    with tempfile.TemporaryDirectory() as folder:
        return {**_import(Path(folder)), **_live(Path(folder))}


def _import(folder: Path) -> dict[str, float]:
    given = os.environ.get("APPSENTRY_TEST_DATA")
    if not given:
        return {}
    traces_file, _, _ = nezha.write_otlp(nezha.folder(Path(given)), folder / "otlp", nezha.ONE)[nezha.WHOLE]
    with SegmentStore(folder / "imported") as store:
        started, started_cpu = time.perf_counter(), time.process_time()
        report = import_files([traces_file], store)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
    return {"import_spans_per_s": report.spans / seconds, "import_spans_per_cpu_second": report.spans / cpu_seconds}


def _live(folder: Path) -> dict[str, float]:
    """An hour of five-second flushes of a cluster with twelve services, five requests each."""
    now_ms, took_ms = T0_MS, []
    with SegmentStore(folder / "live", retention_ms=3_600_000, clock_ms=lambda: now_ms) as store:
        ingest = Ingest(store, cluster="prod")
        for number in range(LIVE_FLUSHES):
            now_ms = T0_MS + number * FLUSH_S * 1000
            requests = _requests(number)
            started = time.perf_counter()
            for request in requests:
                ingest.add(request)
            ingest.flush(now_ms)
            took_ms.append((time.perf_counter() - started) * 1000)
    cuts = statistics.quantiles(took_ms, n=100)
    files = sum(1 for file in (folder / "live").rglob("*") if file.is_file())
    return {
        "live_flush_p50_ms": cuts[49],
        "live_flush_p99_ms": cuts[98],
        "live_flush_last_hundred_over_first_hundred": statistics.median(took_ms[-100:])
        / statistics.median(took_ms[:100]),
        "live_store_files": float(files),
    }


def _requests(number: int) -> list[Request]:
    at_s = number * FLUSH_S
    owners = [resource(f"service-{index}") for index in range(SERVICES)]
    spans = [
        [span(number * 10 + request, index + 1, index, end_s=at_s - 0.1, kind=2) for request in range(1, 6)]
        for index in range(SERVICES)
    ]
    records = [[log(f"request {number}", at_s=at_s)] * 4 for _ in owners]
    out = [traces(*zip(owners, spans, strict=True)), logs(*zip(owners, records, strict=True))]
    if number % 3 == 0:
        for owner in owners:
            cpu, memory = point(float(number), at_s=at_s), point(1e6 + number, at_s=at_s)
            out.append(
                metrics(owner, counter("process_cpu_seconds_total", cpu, unit="s"), gauge("memory_bytes", memory))
            )
    return out

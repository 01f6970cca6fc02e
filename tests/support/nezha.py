"""The recorded TrainTicket run as OTLP JSON lines, whole or cut over six clusters.

Rule: nothing of the recording lies in this project; it is read from `$APPSENTRY_TEST_DATA/data/nezha-trainticket`
and written to a temporary folder. Columns, quirks and the suggested clusters are described in its README.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

NAMESPACE: Final = "ts"
WHOLE: Final = "trainticket"
#: Records per line, about what a collector's batch processor sends.
BATCH: Final = 1000
_DECODER: Final = json.JSONDecoder()
_LEVEL: Final = re.compile(r"^\S+ (TRACE|DEBUG|INFO|WARN|ERROR|FATAL) ")
#: CSV column → metric name, unit, extra attribute. All are gauges (answers of queries, one a minute).
GAUGES: Final[Mapping[str, tuple[str, str, str]]] = {
    "CpuUsage(m)": ("pod_cpu_usage_millicores", "", ""),
    "CpuUsageRate(%)": ("pod_cpu_usage_ratio_percent", "", ""),
    "MemoryUsage(Mi)": ("pod_memory_usage_mebibytes", "MiBy", ""),
    "MemoryUsageRate(%)": ("pod_memory_usage_ratio_percent", "", ""),
    "SyscallRead": ("pod_syscalls_read", "", ""),
    "SyscallWrite": ("pod_syscalls_write", "", ""),
    "NetworkReceiveBytes": ("pod_network_receive_bytes_per_second", "By/s", ""),
    "NetworkTransmitBytes": ("pod_network_transmit_bytes_per_second", "By/s", ""),
    "PodClientLatencyP90(s)": ("pod_client_latency_seconds", "s", "0.9"),
    "PodServerLatencyP90(s)": ("pod_server_latency_seconds", "s", "0.9"),
    "PodClientLatencyP95(s)": ("pod_client_latency_seconds", "s", "0.95"),
    "PodServerLatencyP95(s)": ("pod_server_latency_seconds", "s", "0.95"),
    "PodClientLatencyP99(s)": ("pod_client_latency_seconds", "s", "0.99"),
    "PodServerLatencyP99(s)": ("pod_server_latency_seconds", "s", "0.99"),
    "PodWorkload(Ops)": ("pod_requests_per_second", "", ""),
    "PodSuccessRate(%)": ("pod_success_ratio_percent", "", ""),
    "NodeCpuUsageRate(%)": ("node_cpu_usage_ratio_percent", "", ""),
    "NodeMemoryUsageRate(%)": ("node_memory_usage_ratio_percent", "", ""),
    "NodeNetworkReceiveBytes": ("node_network_receive_bytes_per_second", "By/s", ""),
}


@dataclass(frozen=True, slots=True)
class Window:
    """Traces that start in [start_ns, end_ns), of the services in `groups` (empty: of all)."""

    start_ns: int
    end_ns: int
    groups: frozenset[str] = frozenset()


def _window(start: str, end: str, *groups: str) -> Window:
    bounds = (datetime.fromisoformat(f"2023-01-29T{at}:00+00:00") for at in (start, end))
    start_ns, end_ns = (int(bound.timestamp()) * 1_000_000_000 for bound in bounds)
    return Window(start_ns, end_ns, frozenset(groups))


SIX: Final[Mapping[str, Window]] = {
    "prod": _window("09:20", "09:36", "edge", "travel"),
    "app-prod": _window("09:20", "09:36", "orders", "payments", "food"),
    "shared-services": _window("09:20", "09:36", "catalog"),
    "stage": _window("09:02", "09:15"),
    "test": _window("10:03", "10:14"),
    "dev": _window("08:42", "08:46"),
}
ONE: Final[Mapping[str, Window]] = {WHOLE: Window(0, 2**62)}


def folder(test_data: Path) -> Path:
    """Return the recording's folder below the test data."""
    return test_data / "data" / "nezha-trainticket"


def service_of(pod: str) -> str:
    """Return a pod's service: its name without the two hashes Kubernetes adds."""
    return pod.rsplit("-", 2)[0]


def write_otlp(recording: Path, target: Path, windows: Mapping[str, Window] = SIX) -> dict[str, list[Path]]:
    """Write traces, logs and metrics of every cluster as OTLP JSON lines; return the files of each cluster."""
    target.mkdir(parents=True, exist_ok=True)
    groups = {
        service: group
        for group, services in json.loads((recording / "clusters.json").read_text())["clusters"].items()
        for service in services
    }
    spans = list(_rows(recording / "traces.csv.gz"))
    starts: dict[str, int] = {}
    for row in spans:
        start_ns = int(row["StartTimeUnixNano"])
        starts[row["TraceID"]] = min(start_ns, starts.get(row["TraceID"], start_ns))
    logs, samples = list(_rows(recording / "logs.csv.gz")), list(_rows(recording / "pod_metrics.csv.gz"))
    files: dict[str, list[Path]] = {}
    for cluster, window in windows.items():

        def mine(row: Mapping[str, str], at_ns: int, window: Window = window) -> bool:
            group = groups.get(service_of(row["PodName"]), "")
            return window.start_ns <= at_ns < window.end_ns and (not window.groups or group in window.groups)

        signals = {
            "traces": _trace_lines(cluster, [row for row in spans if mine(row, starts[row["TraceID"]])]),
            "logs": _log_lines(cluster, [row for row in logs if mine(row, starts[row["TraceID"]])]),
            "metrics": _metric_lines(cluster, [r for r in samples if mine(r, int(r["TimeStamp"]) * 1_000_000_000)]),
        }
        files[cluster] = []
        for signal, lines in signals.items():
            path = target / f"{cluster}-{signal}.jsonl"
            with path.open("wb") as file:
                file.writelines(lines)
            files[cluster].append(path)
    return files


def _rows(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(1 << 24)
    with gzip.open(path, "rt", newline="") as file:
        yield from csv.DictReader(file)


def _batches(
    cluster: str, rows: list[dict[str, str]]
) -> Iterator[Iterable[tuple[dict[str, Any], list[dict[str, str]]]]]:
    """Yield batches, each as (resource, rows of its pod)."""
    for begin in range(0, len(rows), BATCH):
        by_pod: dict[str, list[dict[str, str]]] = {}
        for row in rows[begin : begin + BATCH]:
            by_pod.setdefault(row["PodName"], []).append(row)
        yield [(_resource(cluster, pod), of_pod) for pod, of_pod in by_pod.items()]


def _resource(cluster: str, pod: str) -> dict[str, Any]:
    return {
        "attributes": _attributes(
            {
                "service.name": service_of(pod),
                "service.instance.id": pod,
                "k8s.namespace.name": NAMESPACE,
                "k8s.pod.name": pod,
                "k8s.cluster.name": cluster,
            }
        )
    }


def _attributes(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


def _trace_lines(cluster: str, rows: list[dict[str, str]]) -> Iterator[bytes]:
    for batch in _batches(cluster, rows):
        parts = [
            {
                "resource": resource,
                "scopeSpans": [{"scope": {"name": "recording"}, "spans": [_span(r) for r in of_pod]}],
            }
            for resource, of_pod in batch
        ]
        yield orjson.dumps({"resourceSpans": parts}) + b"\n"


def _span(row: Mapping[str, str]) -> dict[str, Any]:
    span: dict[str, Any] = {
        "traceId": row["TraceID"],
        "spanId": row["SpanID"],
        "name": row["OperationName"],
        "startTimeUnixNano": row["StartTimeUnixNano"],
        "endTimeUnixNano": row["EndTimeUnixNano"],
    }
    if row["ParentID"] != "root":
        span["parentSpanId"] = row["ParentID"]
    return span


def _log_lines(cluster: str, rows: list[dict[str, str]]) -> Iterator[bytes]:
    for batch in _batches(cluster, rows):
        parts = [
            {"resource": resource, "scopeLogs": [{"logRecords": [_record(row) for row in of_pod]}]}
            for resource, of_pod in batch
        ]
        yield orjson.dumps({"resourceLogs": parts}) + b"\n"


def log_time_ns(row: Mapping[str, str]) -> int:
    """Return a log row's time; the collector wrote a zero time for some, whose text is right."""
    given = int(row["TimeUnixNano"])
    if given > 0:
        return given
    return int(datetime.fromisoformat(row["Timestamp"]).replace(tzinfo=UTC).timestamp() * 1000) * 1_000_000


def _record(row: Mapping[str, str]) -> dict[str, Any]:
    # One row carries the end of another behind its object; the object is what counts.
    text = _DECODER.raw_decode(row["Log"])[0]["log"].rstrip("\n")
    level = _LEVEL.match(text)
    return {
        "timeUnixNano": str(log_time_ns(row)),
        "severityText": level[1] if level else "",
        "body": {"stringValue": text},
        "traceId": row["TraceID"],
        "spanId": row["SpanID"],
        "attributes": _attributes({"node": row["Node"], "container": row["Container"]}),
    }


def _metric_lines(cluster: str, rows: list[dict[str, str]]) -> Iterator[bytes]:
    for batch in _batches(cluster, rows):
        parts = [
            {"resource": resource, "scopeMetrics": [{"metrics": list(_metrics(of_pod))}]} for resource, of_pod in batch
        ]
        yield orjson.dumps({"resourceMetrics": parts}) + b"\n"


def _metrics(rows: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    for column, (name, unit, quantile) in GAUGES.items():
        points = [
            {
                "timeUnixNano": str(int(row["TimeStamp"]) * 1_000_000_000),
                "asDouble": "NaN" if row[column] == "NaN" else float(row[column]),
                "attributes": _attributes({"quantile": quantile} if quantile else {}),
            }
            for row in rows
            if row[column] != ""
        ]
        if points:
            yield {"name": name, "unit": unit, "gauge": {"dataPoints": points}}

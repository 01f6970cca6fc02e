"""Small OTLP JSON requests for tests, and what a store derived from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

#: A round moment, 2024-01-01T00:00:00Z, on the 15 s grid.
T0_MS = 1_704_067_200_000
S_NS = 1_000_000_000

Request = dict[str, Any]


def attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP writes them."""

    def value(item: Any) -> dict[str, Any]:
        match item:
            case bool():
                return {"boolValue": item}
            case int():
                return {"intValue": str(item)}
            case float():
                return {"doubleValue": item}
            case _:
                return {"stringValue": item}

    return [{"key": key, "value": value(item)} for key, item in values.items()]


def resource(service: str, pod: str = "", instance: str = "", namespace: str = "shop", **more: str) -> dict[str, Any]:
    """Return a resource; the pod is `<service>-0` unless given."""
    pod = pod or f"{service}-0"
    return {
        "attributes": attributes(
            {
                "service.name": service,
                "k8s.namespace.name": namespace,
                "k8s.pod.name": pod,
                "service.instance.id": instance or pod,
                **more,
            }
        )
    }


def span(
    trace: int, number: int, parent: int = 0, *, end_s: float = 1.0, duration_s: float = 0.1, **fields: Any
) -> dict[str, Any]:
    """Return a span that ends `end_s` after T0; parent 0 makes it a root."""
    end_ns = T0_MS * 1_000_000 + round(end_s * S_NS)
    made = {
        "traceId": f"{trace:032x}",
        "spanId": f"{number:016x}",
        "name": "GET /",
        "startTimeUnixNano": str(end_ns - round(duration_s * S_NS)),
        "endTimeUnixNano": str(end_ns),
        **fields,
    }
    return made | ({"parentSpanId": f"{parent:016x}"} if parent else {})


def traces(*parts: tuple[dict[str, Any], list[dict[str, Any]]]) -> Request:
    """Return a trace export request of (resource, spans) parts."""
    return {
        "resourceSpans": [{"resource": r, "scopeSpans": [{"scope": {"name": "test"}, "spans": s}]} for r, s in parts]
    }


def log(text: str, *, at_s: float = 1.0, **fields: Any) -> dict[str, Any]:
    """Return a log record `at_s` after T0."""
    t_ns = T0_MS * 1_000_000 + round(at_s * S_NS)
    return {"timeUnixNano": str(t_ns), "severityText": "INFO", "body": {"stringValue": text}, **fields}


def logs(*parts: tuple[dict[str, Any], list[dict[str, Any]]]) -> Request:
    """Return a log export request of (resource, records) parts."""
    return {"resourceLogs": [{"resource": r, "scopeLogs": [{"logRecords": records}]} for r, records in parts]}


def point(
    value: Any = None, *, at_s: float = 1.0, labels: Mapping[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    """Return a data point `at_s` after T0."""
    made: dict[str, Any] = {"timeUnixNano": str(T0_MS * 1_000_000 + round(at_s * S_NS)), **fields}
    if value is not None:
        made["asDouble"] = value
    return made | ({"attributes": attributes(labels)} if labels else {})


def metrics(owner: dict[str, Any], *items: dict[str, Any]) -> Request:
    """Return a metrics export request of one resource."""
    return {"resourceMetrics": [{"resource": owner, "scopeMetrics": [{"metrics": list(items)}]}]}


def gauge(name: str, *points: dict[str, Any], unit: str = "") -> dict[str, Any]:
    """Return a gauge."""
    return {"name": name, "unit": unit, "gauge": {"dataPoints": list(points)}}


def counter(name: str, *points: dict[str, Any], unit: str = "") -> dict[str, Any]:
    """Return a cumulative, monotonic sum."""
    return {
        "name": name,
        "unit": unit,
        "sum": {"dataPoints": list(points), "isMonotonic": True, "aggregationTemporality": 2},
    }


def rows(store: Path, table: str, what: str = "*", order: str = "ALL") -> list[tuple[Any, ...]]:
    """Return a table of a store, read by SQL that knows the documented layout and nothing else."""
    manifest = json.loads((store / "manifest.json").read_text())
    files = [str(store / segment["file"]) for segment in manifest["segments"] if segment["table"] == table]
    if not files:
        return []
    return duckdb.connect().execute(f"SELECT {what} FROM read_parquet({files!r}) ORDER BY {order}").fetchall()


def samples_of(store: Path, name: str) -> dict[str, list[tuple[float, float]]]:
    """Return labels (as the store's JSON) → (seconds after T0, value) of one metric."""
    labels = {number: text for number, found, text in rows(store, "series", "series_id, name, labels") if found == name}
    out: dict[str, list[tuple[float, float]]] = {}
    for number, t_ms, value in rows(store, "samples", "series_id, t_ms, value"):
        if number in labels:
            out.setdefault(labels[number], []).append(((t_ms - T0_MS) / 1000, value))
    return out


def totals_of(store: Path, name: str, *by: str) -> dict[tuple[str, ...], float]:
    """Return the last value of every series of a counter, summed by labels."""
    totals: dict[tuple[str, ...], float] = {}
    for text, values in samples_of(store, name).items():
        labels = json.loads(text)
        key = tuple(labels.get(label, "") for label in by)
        totals[key] = totals.get(key, 0.0) + values[-1][1]
    return totals

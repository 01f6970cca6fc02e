"""Reads OTLP requests of the shop back into flat spans, log records and data points, for assertions.

It follows the form of OTLP JSON and knows nothing of how the shop builds it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from webapp.cli.demo.shop import Shop

ORIGIN_MS = 1_790_000_000_000 - 1_790_000_000_000 % 3_600_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
CHUNK_MS = 600_000


@dataclass
class Emitted:
    """Everything that was emitted; every item is a flat dict with `cluster` and the resource under `resource`."""

    spans: list[dict[str, Any]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    points: list[dict[str, Any]] = field(default_factory=list)

    def add(self, requests_by_cluster: Mapping[str, Iterable[dict[str, Any]]]) -> None:
        for cluster, requests in requests_by_cluster.items():
            for request in requests:
                self.spans += _items(request, cluster, "resourceSpans", "scopeSpans", "spans")
                self.records += _items(request, cluster, "resourceLogs", "scopeLogs", "logRecords")
                self.points += _points(request, cluster)

    def by_id(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {(span["traceId"], span["spanId"]): span for span in self.spans}


def emitted(shop: Shop, from_ms: int, to_ms: int, chunk_ms: int = CHUNK_MS, only: str = "") -> Emitted:
    """Collect what a shop emits, asked for in stretches of `chunk_ms`; `only` keeps one cluster's part."""
    found = Emitted()
    for start_ms in range(from_ms, to_ms, chunk_ms):
        requests = shop.emit(start_ms, min(start_ms + chunk_ms, to_ms))
        found.add({only: requests.get(only, [])} if only else requests)
    return found


def service(item: Mapping[str, Any]) -> str:
    return str(item["resource"]["service.name"])


def duration_ms(span: Mapping[str, Any]) -> float:
    return (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e6


def plain(attributes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return OTLP attributes as a dict; a 64-bit integer stays the string it travels as."""
    return {entry["key"]: next(iter(entry["value"].values())) for entry in attributes}


def _items(request: dict[str, Any], cluster: str, outer: str, scopes: str, inner: str) -> Iterator[dict[str, Any]]:
    for group in request.get(outer, ()):
        resource = plain(group["resource"]["attributes"])
        for scope in group[scopes]:
            for item in scope[inner]:
                yield {**item, "cluster": cluster, "resource": resource}


def _points(request: dict[str, Any], cluster: str) -> Iterator[dict[str, Any]]:
    for metric in _items(request, cluster, "resourceMetrics", "scopeMetrics", "metrics"):
        kind = "sum" if "sum" in metric else "gauge"
        for point in metric[kind]["dataPoints"]:
            yield {
                **point,
                "cluster": cluster,
                "resource": metric["resource"],
                "metric": metric["name"],
                "kind": kind,
            }

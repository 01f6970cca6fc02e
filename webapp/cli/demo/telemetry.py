"""Collects what simulated pods send and packs it into OTLP JSON, one request per cluster and signal.

The form is OTLP's JSON mapping (opentelemetry-proto, "JSON Protobuf Encoding"): ids in hex, 64-bit integers
as strings, enumerations as numbers. Attribute lists are shared between spans, so a reader must not change them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from webapp.cli.demo.landscape import Pod

Json = dict[str, Any]

_SCOPE: Final[Json] = {"name": "appsentry.demo", "version": "1"}


def attribute(key: str, value: str | int) -> Json:
    """Return one OTLP attribute; an integer becomes a string, as the JSON mapping asks for 64 bits."""
    return {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}


class Batch:
    """Spans, log records and metrics of one stretch of time, by pod.

    Times arrive true and leave as the pod's cluster would write them: `lead_ns` holds, for a cluster whose
    clock is off, how far it runs ahead. What a cluster of `silent` sends is dropped.
    """

    def __init__(self) -> None:
        self.lead_ns: Mapping[str, int] = {}
        self.silent: frozenset[str] = frozenset()
        self._spans: dict[Pod, list[Json]] = {}
        self._records: dict[Pod, list[Json]] = {}
        self._metrics: dict[Pod, dict[str, Json]] = {}

    def span(self, pod: Pod, span: Json, start_ns: int, end_ns: int) -> None:
        """Add a span; its times are set here, and those of its events to its end."""
        if pod.cluster in self.silent:
            return
        lead_ns = self.lead_ns.get(pod.cluster, 0)
        span["startTimeUnixNano"] = str(start_ns + lead_ns)
        span["endTimeUnixNano"] = str(end_ns + lead_ns)
        for event in span.get("events", ()):
            event["timeUnixNano"] = str(end_ns + lead_ns)
        self._spans.setdefault(pod, []).append(span)

    def record(self, pod: Pod, level: str, number: int, body: str, at_ns: int, trace: tuple[str, str] | None) -> None:
        """Add a log record of `pod`, with its (trace id, span id) if it belongs to a request."""
        if pod.cluster in self.silent:
            return
        time = str(at_ns + self.lead_ns.get(pod.cluster, 0))
        record: Json = {
            "timeUnixNano": time,
            "observedTimeUnixNano": time,
            "severityNumber": number,
            "severityText": level,
            "body": {"stringValue": body},
        }
        if trace is not None:
            record["traceId"], record["spanId"] = trace
        self._records.setdefault(pod, []).append(record)

    def point(self, pod: Pod, metric: Json, start_ns: int, at_ns: int, value: float) -> None:
        """Add a data point to `metric`, a template without points (name, unit, and `sum` or `gauge`)."""
        if pod.cluster in self.silent:
            return
        lead_ns = self.lead_ns.get(pod.cluster, 0)
        kind = "sum" if "sum" in metric else "gauge"
        metrics = self._metrics.setdefault(pod, {})
        own = metrics.get(metric["name"])
        if own is None:
            own = {**metric, kind: {**metric[kind], "dataPoints": []}}
            metrics[metric["name"]] = own
        point = {"timeUnixNano": str(at_ns + lead_ns), "asDouble": value}
        if kind == "sum":
            point["startTimeUnixNano"] = str(start_ns)
        own[kind]["dataPoints"].append(point)

    def requests(self) -> dict[str, list[Json]]:
        """Return the OTLP requests by cluster: at most one each of spans, log records and metrics."""
        packed: dict[str, list[Json]] = {}
        metrics = {pod: list(own.values()) for pod, own in self._metrics.items()}
        for outer, scopes, inner, content in (
            ("resourceSpans", "scopeSpans", "spans", self._spans),
            ("resourceLogs", "scopeLogs", "logRecords", self._records),
            ("resourceMetrics", "scopeMetrics", "metrics", metrics),
        ):
            for cluster, groups in _by_cluster(content, scopes, inner).items():
                packed.setdefault(cluster, []).append({outer: groups})
        return packed


def _by_cluster(content: Mapping[Pod, Sequence[Json]], scopes: str, inner: str) -> dict[str, list[Json]]:
    groups: dict[str, list[Json]] = {}
    for pod, items in content.items():
        group = {"resource": pod.resource, scopes: [{"scope": _SCOPE, inner: items}]}
        groups.setdefault(pod.cluster, []).append(group)
    return groups

"""Traces as the JSON of our native API.

Rule: nanoseconds are strings, as a JSON number cannot hold them; times are raw clocks, with `skewNano` beside them
to be added. What is not known is null, with the reason in words.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from math import isfinite
from typing import Any

from federation_core.signals.traces.payload import Span, SpanStatus, Summary, Trace

NO_ROOT = "no cluster that answered holds the root span"
NO_ROOT_FOUND = "the root span is in none of the clusters where the trace matched; ask for the trace by id"


def trace_to_json(trace: Trace) -> dict[str, Any]:
    """Return one whole trace."""
    root = trace.root_span
    failed = any(span.status is SpanStatus.ERROR for span in trace.spans)
    return {
        "traceId": trace.trace_id,
        "rootService": root.service if root else None,
        "rootOperation": root.operation if root else None,
        "rootMissing": None if root else NO_ROOT,
        "startTimeUnixNano": str(trace.start_ns) if trace.spans else None,
        "durationNano": str(trace.duration_ns) if trace.spans else None,
        "clusters": list(trace.clusters),
        "status": "error" if failed else "ok",
        "spans": [_span(span) for span in trace.spans],
        "orphans": [span_id for span_id, _ in trace.orphans],
        "criticalPath": [
            {
                "spanId": segment.span_id,
                "startTimeUnixNano": str(segment.start_ns),
                "durationNano": str(segment.end_ns - segment.start_ns),
            }
            for segment in trace.critical_path
        ],
    }


def summary_to_json(summary: Summary) -> dict[str, Any]:
    """Return one row of a search result."""
    root = summary.root
    return {
        "traceId": summary.trace_id,
        "rootService": root.service if root else None,
        "rootOperation": root.operation if root else None,
        "rootMissing": None if root else NO_ROOT_FOUND,
        "startTimeUnixNano": str(summary.start_ns),
        "durationNano": str(summary.end_ns - summary.start_ns),
        "spanCount": len(summary.spans),
        "matchedSpanCount": len(summary.matched),
        "clusters": list(summary.clusters),
        "services": list(summary.services),
        "errors": len(summary.errors),
    }


def _span(span: Span) -> dict[str, Any]:
    return {
        "spanId": span.span_id,
        "parentSpanId": span.parent_id,
        "cluster": span.cluster,
        "namespace": span.namespace,
        "service": span.service,
        "pod": span.pod,
        "operation": span.operation,
        "kind": span.kind.value,
        "startTimeUnixNano": str(span.start_ns),
        "durationNano": str(span.duration_ns),
        "skewNano": str(span.skew_ns),
        "status": span.status.value,
        "statusMessage": span.status_message,
        "attributes": _plain(span.attributes),
        "resourceAttributes": _plain(span.resource),
        "events": [
            {"timeUnixNano": str(event.t_ns), "name": event.name, "attributes": _plain(event.attributes)}
            for event in span.events
        ],
        "links": [
            {"traceId": link.trace_id, "spanId": link.span_id, "attributes": _plain(link.attributes)}
            for link in span.links
        ],
    }


def _plain(value: Any) -> Any:
    """Return an attribute as JSON can say it: bytes in base64, as OTLP does; NaN and infinities as text."""
    match value:
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case bytes():
            return b64encode(value).decode()
        case float() if not isfinite(value):
            return str(value)
        case _:
            return value

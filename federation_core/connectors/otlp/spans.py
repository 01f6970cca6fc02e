"""OTLP spans to rows of the spans table.

Rule: a bad span is rejected alone; the rest of its request is kept. Source: OpenTelemetry Protocol, trace.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from federation_core.connectors.otlp.resources import Resource
from federation_core.connectors.otlp.values import (
    camelise,
    dump,
    read_attributes,
    read_enum,
    read_int,
    read_span_id,
    read_time_ns,
    read_trace_id,
)

KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES: Final = ("unset", "ok", "error")
ERROR: Final = "error"


class SpanRow(NamedTuple):
    """One span; JSON columns are text already."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start_ns: int
    duration_ns: int
    status: str
    status_message: str
    scope: str
    attributes: str
    events: str
    links: str
    resource: Resource


def read_spans(
    scope_spans: Any, resource: Resource, latest_ns: int, reject: Callable[[str], None]
) -> Iterator[SpanRow]:
    """Yield the good spans of one resource and hand the reason for each bad one to `reject`."""
    for scoped in scope_spans:
        scope = (scoped.get("scope") or {}).get("name", "")
        for raw in scoped.get("spans") or ():
            try:
                yield _read_span(raw, scope, resource, latest_ns)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                reject(str(error) if type(error) is ValueError else f"malformed span: {error!r}")


def _read_span(raw: Any, scope: str, resource: Resource, latest_ns: int) -> SpanRow:
    if "traceId" not in raw:
        raw = camelise(raw)
    trace_id, span_id = read_trace_id(raw.get("traceId")), read_span_id(raw.get("spanId"))
    if not trace_id or not span_id:
        raise ValueError(f"a span without {'traceId' if not trace_id else 'spanId'}")
    start_ns = read_time_ns(raw.get("startTimeUnixNano"), "startTimeUnixNano", latest_ns)
    end_ns = read_time_ns(raw.get("endTimeUnixNano"), "endTimeUnixNano", latest_ns)
    if end_ns < start_ns:
        raise ValueError(f"span {span_id} ends {start_ns - end_ns} ns before it starts")
    parent, status, attributes = raw.get("parentSpanId"), raw.get("status"), raw.get("attributes")
    events, links = raw.get("events"), raw.get("links")
    code, message = "unset", ""
    if status:
        code = read_enum(status.get("code", 0), STATUSES, "STATUS_CODE_", "status.code")
        message = status.get("message", "")
    return SpanRow(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=read_span_id(parent, "parentSpanId") if parent else "",
        name=str(raw.get("name", "")),
        kind=read_enum(raw.get("kind", 0), KINDS, "SPAN_KIND_", "kind"),
        start_ns=start_ns,
        duration_ns=end_ns - start_ns,
        status=code,
        status_message=message,
        scope=scope,
        attributes=dump(read_attributes(attributes)) if attributes else "{}",
        events=dump([_event(event) for event in events]) if events else "",
        links=dump([_link(link) for link in links]) if links else "",
        resource=resource,
    )


def _event(event: Any) -> dict[str, Any]:
    return {
        "time_ns": read_int(event.get("timeUnixNano", 0), "event timeUnixNano"),
        "name": event.get("name", ""),
        "attributes": read_attributes(event.get("attributes", ())),
    }


def _link(link: Any) -> dict[str, Any]:
    return {
        "trace_id": read_trace_id(link.get("traceId")),
        "span_id": read_span_id(link.get("spanId")),
        "attributes": read_attributes(link.get("attributes", ())),
    }

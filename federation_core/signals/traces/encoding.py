"""Payloads of traces as bytes, and back.

Rule: `decode(encode(p)) == p`, whatever Unicode the spans hold. Attribute values are OTLP's: text, integers,
floats, booleans, bytes, lists and maps of these. Texts that repeat (services, operations, the attributes of one
process) are stored once and referred to by number; ids are stored as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from typing import Any

import msgpack

from federation_core.errors import WireVersionMismatch
from federation_core.signals.traces.payload import (
    Event,
    Link,
    PathSegment,
    Payload,
    RootSpan,
    Span,
    SpanKey,
    SpanKind,
    SpanStatus,
    Summaries,
    Summary,
    Trace,
    TracePart,
)

_PART, _TRACE, _SUMMARIES = "part/1", "trace/1", "summaries/1"
_KINDS = tuple(kind.value for kind in SpanKind)


def encode(payload: Payload) -> bytes:
    """Write a payload as bytes.

    A lone surrogate, which no UTF-8 text can hold, becomes `?`.
    """
    match payload:
        case TracePart():
            return _pack([_PART, payload.trace_id, _spans_to_wire(payload.spans)])
        case Trace():
            path = [(_id(segment.span_id), segment.start_ns, segment.end_ns) for segment in payload.critical_path]
            root = None if payload.root is None else _keys_to_wire([payload.root])
            orphans = _keys_to_wire(payload.orphans)
            wire = [payload.trace_id, _spans_to_wire(payload.spans), payload.clusters, root, orphans, path]
            return _pack([_TRACE, *wire])
        case Summaries():
            return _pack([_SUMMARIES, payload.more, [_summary_to_wire(trace) for trace in payload.traces]])


def decode(data: bytes) -> Payload:
    """Read what `encode` wrote.

    Raises WireVersionMismatch: the bytes are not this release's traces.
    """
    try:
        kind, *body = _unpack(data)
        read = _READERS.get(kind)
        if read is None:
            raise WireVersionMismatch(f"traces of kind {kind!r}, this release reads {', '.join(_READERS)}")
        return read(*body)
    except (ValueError, KeyError, IndexError, TypeError, msgpack.exceptions.UnpackException) as exc:
        raise WireVersionMismatch(f"traces cannot be read: {exc!r}") from exc


def _part_from_wire(trace_id: str, spans: Mapping[str, Any]) -> TracePart:
    return TracePart(trace_id, _spans_from_wire(trace_id, spans))


def _trace_from_wire(
    trace_id: str, spans: Mapping[str, Any], clusters: list[str], root: Any, orphans: Any, path: list[list[Any]]
) -> Trace:
    return Trace(
        trace_id=trace_id,
        spans=_spans_from_wire(trace_id, spans),
        clusters=tuple(clusters),
        root=None if root is None else _keys_from_wire(root)[0],
        orphans=_keys_from_wire(orphans),
        critical_path=tuple(PathSegment(_text_id(span_id), start, end) for span_id, start, end in path),
    )


def _summaries_from_wire(more: bool, traces: list[Mapping[str, Any]]) -> Summaries:
    return Summaries(tuple(_summary_from_wire(trace) for trace in traces), more)


_READERS: Mapping[str, Callable[..., Payload]] = {
    _PART: _part_from_wire,
    _TRACE: _trace_from_wire,
    _SUMMARIES: _summaries_from_wire,
}


def _spans_to_wire(spans: Sequence[Span]) -> dict[str, Any]:
    texts: dict[str, int] = {}
    resources: dict[bytes, int] = {}
    rows = []
    for span in spans:
        names = (span.operation, span.service, span.namespace, span.pod, span.status_message, span.cluster)
        rows.append(
            [
                _id(span.span_id),
                _id(span.parent_id),
                span.start_ns,
                span.duration_ns,
                span.kind.value,
                span.status.value,
                [texts.setdefault(name, len(texts)) for name in names],
                span.attributes,
                resources.setdefault(_pack(span.resource), len(resources)),
                [[event.t_ns, event.name, event.attributes] for event in span.events],
                [[link.trace_id, link.span_id, link.attributes] for link in span.links],
                span.skew_ns,
            ]
        )
    return {"rows": rows, "texts": list(texts), "resources": list(resources)}


def _spans_from_wire(trace_id: str, wire: Mapping[str, Any]) -> tuple[Span, ...]:
    texts, resources = wire["texts"], [_unpack(packed) for packed in wire["resources"]]
    spans = []
    for row in wire["rows"]:
        span_id, parent_id, start_ns, duration_ns, kind, status, names, attributes, resource, events, links, skew_ns = (
            row
        )
        operation, service, namespace, pod, status_message, cluster = (texts[name] for name in names)
        spans.append(
            Span(
                trace_id=trace_id,
                span_id=_text_id(span_id),
                parent_id=_text_id(parent_id),
                operation=operation,
                service=service,
                start_ns=start_ns,
                duration_ns=duration_ns,
                kind=SpanKind(kind),
                namespace=namespace,
                pod=pod,
                status=SpanStatus(status),
                status_message=status_message,
                attributes=attributes,
                resource=resources[resource],
                events=tuple(Event(*event) for event in events),
                links=tuple(Link(*link) for link in links),
                cluster=cluster,
                skew_ns=skew_ns,
            )
        )
    return tuple(spans)


def _summary_to_wire(summary: Summary) -> dict[str, Any]:
    return {
        "trace_id": summary.trace_id,
        "matched_ns": summary.matched_ns,
        "start_ns": summary.start_ns,
        "end_ns": summary.end_ns,
        "spans": _keys_to_wire(summary.spans),
        "matched": _keys_to_wire(summary.matched),
        "errors": _keys_to_wire(summary.errors),
        "services": summary.services,
        "clusters": summary.clusters,
        "root": None if summary.root is None else astuple(summary.root),
    }


def _summary_from_wire(wire: Mapping[str, Any]) -> Summary:
    return Summary(
        trace_id=wire["trace_id"],
        matched_ns=wire["matched_ns"],
        start_ns=wire["start_ns"],
        end_ns=wire["end_ns"],
        spans=_keys_from_wire(wire["spans"]),
        matched=_keys_from_wire(wire["matched"]),
        errors=_keys_from_wire(wire["errors"]),
        services=tuple(wire["services"]),
        clusters=tuple(wire["clusters"]),
        root=None if wire["root"] is None else RootSpan(*wire["root"]),
    )


def _keys_to_wire(keys: Sequence[SpanKey]) -> list[Any]:
    """Write keys as ids beside one byte per kind."""
    return [[_id(span_id) for span_id, _ in keys], bytes(_KINDS.index(kind) for _, kind in keys)]


def _keys_from_wire(wire: Any) -> tuple[SpanKey, ...]:
    ids, kinds = wire
    return tuple((_text_id(span_id), _KINDS[kind]) for span_id, kind in zip(ids, kinds, strict=True))


def _id(text: str) -> bytes | str:
    """Halve an id of full length; a backend's odd id travels as the text it is."""
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        return text
    return packed if packed.hex() == text else text


def _text_id(wire: bytes | str) -> str:
    return wire.hex() if isinstance(wire, bytes) else wire


def _pack(wire: Any) -> bytes:
    packed: bytes = msgpack.packb(wire, use_bin_type=True, unicode_errors="replace")
    return packed


def _unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, raw=False, strict_map_key=False)

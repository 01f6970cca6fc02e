"""Spans as trace backends answer them: OTLP's JSON, with ids in base64 or in hexadecimal, read to the spans of a query.

Rule: what is no such answer raises ValueError and nothing else. Copies of a span stay, stitching removes them. The
owner of a span is derived as for spans that are sent to us.
Source: OpenTelemetry Protocol, trace.proto; base64 is protobuf's own JSON mapping, hexadecimal OTLP's.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, Final

import orjson

from federation_core.connectors.otlp.resources import Owner, Resources
from federation_core.connectors.otlp.spans import KINDS, STATUSES
from federation_core.connectors.otlp.values import Json, read_attributes, read_enum, read_int
from federation_core.signals.traces.payload import Event, Link, Span, SpanKind, SpanStatus

_HEX: Final = re.compile(r"[0-9A-Fa-f]+")
#: No moment lies beyond; what is computed from two of them fits in 64 bits.
_LATEST_NS: Final = 2**63 - 1
_TRACE_DIGITS, _SPAN_DIGITS = 32, 16


def read_resource_spans(resource_spans: Any) -> Iterator[Span]:
    """Yield all spans of a list of OTLP ResourceSpans; null and absent lists are empty.

    Raises ValueError: it is malformed.
    """
    resources = Resources()
    try:
        for group in resource_spans or ():
            resource = resources.read(group.get("resource"))
            attributes = orjson.loads(resource.text)
            # Before OTLP 0.15 the scope was the instrumentation library.
            for scoped in group.get("scopeSpans") or group.get("instrumentationLibrarySpans") or ():
                for raw in scoped.get("spans") or ():
                    yield _span(raw, resource.owner, attributes)
    except RecursionError:
        raise ValueError("attributes are nested too deeply") from None
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"malformed spans: {error!r}") from error


def read_id(value: Any, digits: int) -> str:
    """Return an id of so many digits as lower-case hexadecimal, padded on the left; empty where it is absent or zero.

    A text of up to that many hexadecimal digits is one already, since base64 of as many bytes is shorter than half of
    them and ends in `=`.

    Raises ValueError: it is no id.

    >>> read_id("fD9ei0OSQ+s=", 16), read_id("9ec88f38a221c1f2b92b4e259ae45", 32), read_id("", 16)
    ('7c3f5e8b439243eb', '0009ec88f38a221c1f2b92b4e259ae45', '')
    """
    if value is None or value == "":
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no id")
    if len(value) <= digits and _HEX.fullmatch(value):
        text = value.lower()
    else:
        try:
            text = b64decode(value, validate=True).hex()
        except (binascii.Error, ValueError):
            raise ValueError(f"{value[:80]!r} is no id in hexadecimal or base64") from None
        if len(text) > digits:
            raise ValueError(f"{value[:80]!r} is longer than {digits // 2} bytes")
    padded = text.rjust(digits, "0")
    return padded if padded.strip("0") else ""


def _span(raw: Any, owner: Owner, resource: Json) -> Span:
    trace_id, span_id = read_id(raw.get("traceId"), _TRACE_DIGITS), read_id(raw.get("spanId"), _SPAN_DIGITS)
    if not trace_id or not span_id:
        raise ValueError(f"a span without {'spanId' if trace_id else 'traceId'}")
    start_ns = _time_ns(raw.get("startTimeUnixNano", 0))
    status = raw.get("status") or {}
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=read_id(raw.get("parentSpanId"), _SPAN_DIGITS),
        operation=_text(raw.get("name", "")),
        service=owner.service,
        start_ns=start_ns,
        # A clock that was set back while it ran makes an end before the start, and no negative length.
        duration_ns=max(_time_ns(raw.get("endTimeUnixNano", 0)) - start_ns, 0),
        kind=SpanKind(read_enum(raw.get("kind", 0), KINDS, "SPAN_KIND_", "kind")),
        namespace=owner.namespace,
        pod=owner.pod,
        status=SpanStatus(read_enum(status.get("code", 0), STATUSES, "STATUS_CODE_", "status.code")),
        status_message=_text(status.get("message", "")),
        attributes=read_attributes(raw.get("attributes") or ()),
        resource=resource,
        events=tuple(_event(event) for event in raw.get("events") or ()),
        links=tuple(_link(link) for link in raw.get("links") or ()),
    )


def _event(raw: Any) -> Event:
    attributes = read_attributes(raw.get("attributes") or ())
    return Event(_time_ns(raw.get("timeUnixNano", 0)), _text(raw.get("name", "")), attributes)


def _link(raw: Any) -> Link:
    attributes = read_attributes(raw.get("attributes") or ())
    trace_id, span_id = read_id(raw.get("traceId"), _TRACE_DIGITS), read_id(raw.get("spanId"), _SPAN_DIGITS)
    return Link(trace_id, span_id, attributes)


def _time_ns(value: Any) -> int:
    time_ns = read_int(value, "a time")
    if not 0 <= time_ns <= _LATEST_NS:
        raise ValueError(f"{value!r} is no moment in nanoseconds")
    return time_ns


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value

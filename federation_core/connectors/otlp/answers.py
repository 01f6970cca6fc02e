"""Spans as trace backends answer them: OTLP's JSON, with ids in base64 or in hexadecimal, read to the spans of a query.

Rule: what is no such answer raises ValueError and nothing else. Copies of a span stay, stitching removes them. The
owner of a span is derived as for spans that are sent to us. An answer has thousands of spans: what is common in them is
read here by the shortest way, and everything else by the one that also explains what is wrong.
Source: OpenTelemetry Protocol, trace.proto; base64 is protobuf's own JSON mapping, hexadecimal OTLP's.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Iterator
from typing import Any, Final

import orjson

from federation_core.connectors.otlp.resources import Owner, Resources
from federation_core.connectors.otlp.spans import KINDS, STATUSES
from federation_core.connectors.otlp.values import Json, dump, read_enum, read_int, read_value
from federation_core.signals.traces.payload import Event, Link, Span, SpanKind, SpanStatus

_HEX: Final = re.compile(r"[0-9A-Fa-f]+")
#: What two times are computed to fits in 64 bits.
_LATEST_NS: Final = 2**63 - 1
_SURELY_INT64: Final = 19
#: Lists and objects that an attribute's value stands in when an answer is written.
_LEVELS_AROUND: Final = 16
_TRACE_DIGITS, _SPAN_DIGITS = 32, 16
_KINDS: Final[dict[Any, SpanKind]] = {f"SPAN_KIND_{kind.name}": kind for kind in SpanKind}
_CODES: Final[dict[Any, SpanStatus]] = {f"STATUS_CODE_{status.name}": status for status in SpanStatus}


def read_resource_spans(resource_spans: Any) -> Iterator[Span]:
    """Yield all spans of a list of OTLP ResourceSpans; null and absent lists are empty.

    Raises ValueError: it is malformed.
    """
    resources, ids = Resources(), Ids()
    try:
        for group in resource_spans or ():
            resource = resources.read(group.get("resource"))
            attributes = orjson.loads(resource.text)
            # Before OTLP 0.15 the scope was the instrumentation library.
            for scoped in group.get("scopeSpans") or group.get("instrumentationLibrarySpans") or ():
                for raw in scoped.get("spans") or ():
                    yield _span(raw, resource.owner, attributes, ids)
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
    if len(value) <= digits and value[-1] != "=" and _HEX.fullmatch(value):
        text = value.lower()
    else:
        try:
            text = a2b_base64(value, strict_mode=True).hex()
        except ValueError:
            raise ValueError(f"{value[:80]!r} is no id in hexadecimal or base64") from None
        if len(text) > digits:
            raise ValueError(f"{value[:80]!r} is longer than {digits // 2} bytes")
    padded = text if len(text) == digits else text.rjust(digits, "0")
    return padded if padded.strip("0") else ""


class Ids:
    """The ids of one answer: all spans of a trace repeat its id, and most ids of spans are some span's parent too."""

    __slots__ = ("_spans", "_traces")

    def __init__(self) -> None:
        self._traces: dict[Any, str] = {}
        self._spans: dict[Any, str] = {}

    def trace(self, value: Any) -> str:
        """Return the id of a trace, as `read_id`.

        Raises ValueError, TypeError: it is no id.
        """
        found = self._traces.get(value)
        if found is None:
            found = self._traces[value] = read_id(value, _TRACE_DIGITS)
        return found

    def span(self, value: Any) -> str:
        """Return the id of a span, as `read_id`.

        Raises ValueError, TypeError: it is no id.
        """
        found = self._spans.get(value)
        if found is None:
            found = read_id(value, _SPAN_DIGITS)
            if value is not None:
                self._spans[value] = found
        return found


def _span(raw: Any, owner: Owner, resource: Json, ids: Ids) -> Span:
    get = raw.get
    trace_id, span_id = ids.trace(get("traceId")), ids.span(get("spanId"))
    if not trace_id or not span_id:
        raise ValueError(f"a span without {'spanId' if trace_id else 'traceId'}")
    name, kind, events, links = get("name", ""), get("kind", 0), get("events"), get("links")
    if not isinstance(name, str):
        raise ValueError(f"{name!r} is no text")
    status, message = SpanStatus.UNSET, ""
    if raw_status := get("status"):
        code, message = raw_status.get("code", 0), _text(raw_status.get("message", ""))
        status = _CODES.get(code) or SpanStatus(read_enum(code, STATUSES, "STATUS_CODE_", "status.code"))
    start_ns, end_ns = _time_ns(get("startTimeUnixNano", 0)), _time_ns(get("endTimeUnixNano", 0))
    # In the order of the fields, which is quicker than by their names.
    return Span(
        trace_id,
        span_id,
        ids.span(get("parentSpanId")),
        name,
        owner.service,
        start_ns,
        # A clock that was set back while it ran makes an end before the start, and no negative length.
        end_ns - start_ns if end_ns > start_ns else 0,
        _KINDS.get(kind) or SpanKind(read_enum(kind, KINDS, "SPAN_KIND_", "kind")),
        owner.namespace,
        owner.pod,
        status,
        message,
        _attributes(get("attributes")),
        resource,
        tuple([_event(event) for event in events]) if events else (),
        tuple([_link(link, ids) for link in links]) if links else (),
    )


def _event(raw: Any) -> Event:
    return Event(_time_ns(raw.get("timeUnixNano", 0)), _text(raw.get("name", "")), _attributes(raw.get("attributes")))


def _link(raw: Any, ids: Ids) -> Link:
    return Link(ids.trace(raw.get("traceId")), ids.span(raw.get("spanId")), _attributes(raw.get("attributes")))


def _attributes(raw: Any) -> Json:
    """Return a list of KeyValue as one object; a key given twice keeps its last value."""
    out: Json = {}
    for pair in raw or ():
        key, value = pair["key"], pair.get("value") or {}
        text = value.get("stringValue")
        if type(text) is not str or type(key) is not str:
            digits = value.get("intValue")
            # Shorter than what 64 bits hold, so that it need not be compared with them.
            text = int(digits) if type(digits) is str and len(digits) < _SURELY_INT64 else _value(value)
            key = _text(key)
        out[key] = text
    return out


def _value(value: Any) -> Any:
    """Return any AnyValue; what is nested is no deeper than every writer of JSON goes (protobuf itself goes less deep).

    Raises ValueError, TypeError: it is none, or deeper.
    """
    read = read_value(value)
    if isinstance(read, list | dict):
        inside = read
        for _ in range(_LEVELS_AROUND):
            inside = [inside]
        dump(inside)
    return read


def _time_ns(value: Any) -> int:
    """Return nanoseconds; what lies beyond 63 bits is a time that was never set, which is what Go makes of it."""
    time_ns = int(value) if type(value) is str else read_int(value, "a time")
    if 0 <= time_ns <= _LATEST_NS:
        return time_ns
    if not 0 <= time_ns < 2**64:
        raise ValueError(f"{value!r} is no moment in nanoseconds")
    return 0


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value

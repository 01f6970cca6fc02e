"""Spans as Jaeger's first JSON API writes them: microseconds, references, tags that are typed or all texts.

Rule: what is no such trace raises ValueError and nothing else. Of tags only those are taken out that say what a span
has a field for. What is below a microsecond was cut off before it came here.
Source: Jaeger documentation, "Jaeger JSON"; for what tags mean, OpenTelemetry specification, "OpenTelemetry to Jaeger
Transformation".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from federation_core.connectors.otlp.answers import read_id
from federation_core.connectors.otlp.resources import UNKNOWN_SERVICE
from federation_core.connectors.otlp.values import as_text, read_float, read_int
from federation_core.signals.traces.payload import Event, Link, Span, SpanKind, SpanStatus

NS_PER_US: Final = 1_000
_LATEST_US: Final = (2**63 - 1) // NS_PER_US
_TRACE_DIGITS, _SPAN_DIGITS = 32, 16
_KINDS: Final = {kind.value: kind for kind in SpanKind}
_STATUS_CODES: Final = {"ERROR": SpanStatus.ERROR, "OK": SpanStatus.OK, "UNSET": SpanStatus.UNSET}
#: The tag `error`, which some put on every span; a text `false` is VictoriaTraces' word for the status ok.
_ERRORS: Final = {
    "true": SpanStatus.ERROR,
    True: SpanStatus.ERROR,
    "false": SpanStatus.OK,
    False: SpanStatus.UNSET,
    "unset": SpanStatus.UNSET,
}
#: Tags that name the library that made the span, for which a span has no field here.
_SCOPE: Final = ("otel.scope.name", "otel.scope.version", "otel.library.name", "otel.library.version")


def read_trace(raw: Any) -> list[Span]:
    """Return the spans of one trace; a trace without spans is empty.

    Raises ValueError: it is malformed.
    """
    try:
        processes = {key: _Process(process) for key, process in (raw.get("processes") or {}).items()}
        return [_span(span, processes) for span in raw.get("spans") or ()]
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"malformed spans: {error!r}") from error


class _Process:
    """Who made a span; spans of one process share its attributes, which nobody changes."""

    __slots__ = ("namespace", "pod", "resource", "service")

    def __init__(self, raw: Any) -> None:
        self.service = _text(raw.get("serviceName") or UNKNOWN_SERVICE)
        self.resource = {"service.name": self.service} | _tags(raw.get("tags"))
        self.namespace = self._tag("k8s.namespace.name") or self._tag("service.namespace")
        self.pod = self._tag("k8s.pod.name")

    def _tag(self, name: str) -> str:
        return as_text(self.resource.get(name))


def _span(raw: Any, processes: Mapping[str, _Process]) -> Span:
    process = processes.get(raw.get("processID")) or _Process(raw.get("process") or {})
    trace_id, span_id = read_id(raw.get("traceID"), _TRACE_DIGITS), read_id(raw.get("spanID"), _SPAN_DIGITS)
    if not trace_id or not span_id:
        raise ValueError(f"a span without {'spanID' if trace_id else 'traceID'}")
    parent_id, links = _references(raw, trace_id)
    tags = _tags(raw.get("tags"))
    kind = _KINDS.get(as_text(tags.pop("span.kind", "")).lower(), SpanKind.UNSPECIFIED)
    for name in _SCOPE:
        tags.pop(name, None)
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        operation=_text(raw.get("operationName", "")),
        service=process.service,
        start_ns=_time_us(raw.get("startTime", 0)) * NS_PER_US,
        duration_ns=_time_us(raw.get("duration", 0)) * NS_PER_US,
        kind=kind,
        namespace=process.namespace,
        pod=process.pod,
        status_message=as_text(tags.pop("otel.status_description", "")),
        status=_take_status(tags),
        attributes=tags,
        resource=process.resource,
        events=tuple(_event(log) for log in raw.get("logs") or ()),
        links=links,
    )


def _take_status(tags: dict[str, Any]) -> SpanStatus:
    """Take the tags that state the status, and return it; a code says more than the tag `error`."""
    status = None
    error = tags.get("error")
    if isinstance(error, str | bool) and error in _ERRORS:
        status = _ERRORS[error]
        del tags["error"]
    code = tags.get("otel.status_code")
    if isinstance(code, str) and code.upper() in _STATUS_CODES:
        status = _STATUS_CODES[code.upper()]
        del tags["otel.status_code"]
    return status or SpanStatus.UNSET


def _references(raw: Any, trace_id: str) -> tuple[str, tuple[Link, ...]]:
    """Return the parent's id and the links.

    The parent is the first that the span is CHILD_OF in its trace; without one the first that it FOLLOWS_FROM there.
    """
    found = [
        (
            reference.get("refType"),
            Link(read_id(reference.get("traceID"), _TRACE_DIGITS), read_id(reference.get("spanID"), _SPAN_DIGITS)),
        )
        for reference in raw.get("references") or ()
    ]
    near = [pair for pair in found if pair[1].trace_id == trace_id and pair[1].span_id]
    parent = next((pair for pair in near if pair[0] == "CHILD_OF"), near[0] if near else None)
    links = tuple(pair[1] for pair in found if pair is not parent)
    if parent is not None:
        return parent[1].span_id, links
    # What wrote this before there were references.
    return read_id(raw.get("parentSpanID"), _SPAN_DIGITS), links


def _event(raw: Any) -> Event:
    fields = _tags(raw.get("fields"))
    return Event(_time_us(raw.get("timestamp", 0)) * NS_PER_US, as_text(fields.pop("event", "")), fields)


def _tags(raw: Iterable[Any] | None) -> dict[str, Any]:
    """Return tags as values of their types; a key given twice keeps its last value."""
    return {_text(tag["key"]): _value(tag.get("type", "string"), tag.get("value")) for tag in raw or ()}


def _value(kind: Any, value: Any) -> Any:
    read = _TYPES.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise ValueError(f"a tag of unknown type {kind!r}")
    return read(value)


def _read_bool(value: Any) -> bool:
    if value in ("true", True):
        return True
    if value in ("false", False):
        return False
    raise ValueError(f"{value!r} is no boolean")


def _read_real(value: Any) -> float | str:
    number = read_float(value, "a tag")
    # As everywhere in attributes: what JSON has no number for is its text.
    return number if number - number == 0 else str(value)


_TYPES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "string": lambda value: value if isinstance(value, str) else as_text(value),
    "bool": _read_bool,
    "int64": lambda value: read_int(value, "a tag"),
    "float64": _read_real,
    # Base64, as it came.
    "binary": lambda value: _text(value),
}


def _time_us(value: Any) -> int:
    time_us = read_int(value, "a time")
    if not 0 <= time_us <= _LATEST_US:
        raise ValueError(f"{value!r} is no time in microseconds")
    return time_us


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value

"""Spans as Jaeger's first JSON API writes them: microseconds, references, tags that are typed or all texts.

Rule: what is no such trace raises ValueError and nothing else. Of tags only those are taken out that say what a span
has a field for. What is below a microsecond was cut off before it came here. What is common is read by a short way.
Source: Jaeger documentation, "Jaeger JSON"; for what tags mean, OpenTelemetry specification, "OpenTelemetry to Jaeger
Transformation".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from federation_core.connectors.otlp.answers import Ids
from federation_core.connectors.otlp.resources import UNKNOWN_SERVICE
from federation_core.connectors.otlp.values import as_text, read_float, read_int
from federation_core.signals.traces.payload import Event, Link, Span, SpanKind, SpanStatus

NS_PER_US: Final = 1_000
_LATEST_US: Final = (2**63 - 1) // NS_PER_US
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
        processes, ids = {key: _Process(process) for key, process in (raw.get("processes") or {}).items()}, Ids()
        return [_span(span, processes, ids) for span in raw.get("spans") or ()]
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


def _span(raw: Any, processes: Mapping[str, _Process], ids: Ids) -> Span:
    get = raw.get
    process = processes.get(get("processID")) or _Process(get("process") or {})
    trace_id, span_id = ids.trace(get("traceID")), ids.span(get("spanID"))
    if not trace_id or not span_id:
        raise ValueError(f"a span without {'spanID' if trace_id else 'traceID'}")
    references, logs = get("references"), get("logs")
    # What wrote a parent before there were references.
    parent_id, links = _references(references, trace_id, ids) if references else ("", ())
    tags = _tags(get("tags"))
    kind = as_text(tags.pop("span.kind", ""))
    for name in _SCOPE:
        if name in tags:
            del tags[name]
    # In the order of the fields, which is quicker than by their names.
    return Span(
        trace_id,
        span_id,
        parent_id or ids.span(get("parentSpanID")),
        _text(get("operationName", "")),
        process.service,
        _time_us(get("startTime", 0)) * NS_PER_US,
        _time_us(get("duration", 0)) * NS_PER_US,
        _KINDS.get(kind) or _KINDS.get(kind.lower(), SpanKind.UNSPECIFIED),
        process.namespace,
        process.pod,
        _take_status(tags),
        as_text(tags.pop("otel.status_description", "")),
        tags,
        process.resource,
        tuple([_event(log) for log in logs]) if logs else (),
        links,
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


def _references(references: Any, trace_id: str, ids: Ids) -> tuple[str, tuple[Link, ...]]:
    """Return the parent's id, empty where none is named, and the links.

    The parent is the first that the span is CHILD_OF in its trace; without one the first that it FOLLOWS_FROM there.
    """
    found = [(of.get("refType"), ids.trace(of.get("traceID")), ids.span(of.get("spanID"))) for of in references]
    near = [link for link in found if link[1] == trace_id and link[2]]
    parent = next((link for link in near if link[0] == "CHILD_OF"), near[0] if near else None)
    links = tuple([Link(link[1], link[2]) for link in found if link is not parent])
    return parent[2] if parent is not None else "", links


def _event(raw: Any) -> Event:
    fields = _tags(raw.get("fields"))
    return Event(_time_us(raw.get("timestamp", 0)) * NS_PER_US, as_text(fields.pop("event", "")), fields)


def _tags(raw: Iterable[Any] | None) -> dict[str, Any]:
    """Return tags as values of their types; a key given twice keeps its last value."""
    out: dict[str, Any] = {}
    for tag in raw or ():
        key, kind, value = tag["key"], tag.get("type", "string"), tag.get("value")
        if type(key) is not str or type(value) is not _ALREADY.get(kind):
            key, value = _text(key), _value(kind, value)
        out[key] = value
    return out


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


#: The types of which a value in JSON is one already; of integers those that 64 bits hold are told by `read_int`.
_ALREADY: Final = {"string": str, "bool": bool}


def _time_us(value: Any) -> int:
    """Return microseconds; what lies beyond 63 bits of nanoseconds is a time that was never set."""
    time_us = value if type(value) is int else read_int(value, "a time")
    if 0 <= time_us <= _LATEST_US:
        return time_us
    if not 0 <= time_us < 2**64:
        raise ValueError(f"{value!r} is no time in microseconds")
    return 0


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value

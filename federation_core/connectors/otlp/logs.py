"""OTLP log records to rows of the logs table.

Rule: a bad record is rejected alone. The level has seven spellings and no more; a record without a time of its own
uses the time it was observed. Source: OpenTelemetry Protocol, logs.proto; Logs data model, "Severity fields".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from federation_core.connectors.otlp.resources import Resource
from federation_core.connectors.otlp.values import (
    as_text,
    camelise,
    dump,
    read_attributes,
    read_span_id,
    read_time_ns,
    read_trace_id,
    read_value,
)

#: Four severity numbers to a level, from 1.
LEVELS: Final = ("trace", "debug", "info", "warn", "error", "fatal")
UNKNOWN: Final = "unknown"
_SYNONYMS: Final = {
    "warning": "warn",
    "err": "error",
    "severe": "error",
    "critical": "fatal",
    "crit": "fatal",
    "panic": "fatal",
    "alert": "fatal",
    "emergency": "fatal",
    "emerg": "fatal",
    "information": "info",
    "informational": "info",
    "notice": "info",
    "verbose": "trace",
    "fine": "debug",
    "finer": "trace",
    "finest": "trace",
}


class LogRow(NamedTuple):
    """One log record; JSON columns are text already."""

    t_ns: int
    level: str
    trace_id: str
    span_id: str
    line: str
    scope: str
    attributes: str
    labels: str
    resource: Resource


def read_logs(scope_logs: Any, resource: Resource, latest_ns: int, reject: Callable[[str], None]) -> Iterator[LogRow]:
    """Yield the good records of one resource and hand the reason for each bad one to `reject`."""
    for scoped in scope_logs:
        scoped = scoped if "logRecords" in scoped else camelise(scoped)
        scope = (scoped.get("scope") or {}).get("name", "")
        for raw in scoped.get("logRecords") or ():
            try:
                yield _read_log(raw, scope, resource, latest_ns)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                reject(str(error) if type(error) is ValueError else f"malformed log record: {error!r}")


def _read_log(raw: Any, scope: str, resource: Resource, latest_ns: int) -> LogRow:
    if "timeUnixNano" not in raw:
        raw = camelise(raw)
    own = raw.get("timeUnixNano")
    if own in (None, 0, "0", ""):
        t_ns = read_time_ns(raw.get("observedTimeUnixNano"), "observedTimeUnixNano", latest_ns)
    else:
        t_ns = read_time_ns(own, "timeUnixNano", latest_ns)
    attributes = raw.get("attributes")
    level = read_level(raw.get("severityNumber", 0), raw.get("severityText", ""))
    return LogRow(
        t_ns=t_ns,
        level=level,
        trace_id=read_trace_id(raw.get("traceId")),
        span_id=read_span_id(raw.get("spanId")),
        line=as_text(read_value(raw.get("body") or {})),
        scope=scope,
        attributes=dump(read_attributes(attributes)) if attributes else "{}",
        labels=_labels(resource, level),
        resource=resource,
    )


@lru_cache(maxsize=64)
def read_level(number: int | str, text: str) -> str:
    """Return the level of a record: by its severity number, else by its severity text.

    >>> read_level(17, ""), read_level("SEVERITY_NUMBER_WARN2", ""), read_level(0, "Warning"), read_level(0, "?")
    ('error', 'warn', 'warn', 'unknown')
    """
    if isinstance(number, str) and number.startswith("SEVERITY_NUMBER_"):
        name = number.removeprefix("SEVERITY_NUMBER_").lower().rstrip("234")
        if name not in (*LEVELS, "unspecified"):
            raise ValueError(f"severityNumber {number!r} is unknown")
        number = LEVELS.index(name) * 4 + 1 if name in LEVELS else 0
    index = int(number)
    if 1 <= index <= 24:
        return LEVELS[(index - 1) // 4]
    if index:
        raise ValueError(f"severityNumber {number!r} is outside 0 to 24")
    word = text.strip().lower().rstrip("1234")
    return word if word in LEVELS else _SYNONYMS.get(word, UNKNOWN)


@lru_cache(maxsize=4096)
def _labels(resource: Resource, level: str) -> str:
    """Return the labels of the stream a record belongs to: who sent it, and its level."""
    labels = {
        "container": resource.container,
        "level": level,
        "node": resource.node,
        **resource.owner._asdict(),
    }
    return dump({name: value for name, value in sorted(labels.items()) if value})

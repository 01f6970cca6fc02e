"""Traces from an embedded store: one by id, or those in which a span matches.

Rule: DuckDB narrows by time, by columns and by what it compares exactly (texts for equality, numbers); the query's
meaning is `span_matches` and nothing else. A found trace comes with all its spans of this cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import numpy as np
import orjson

from federation_core.connectors import Fetched
from federation_core.connectors.stores.segments_layout import Manifest, Segment
from federation_core.connectors.stores.segments_read import SegmentReader, within
from federation_core.connectors.stores.segments_slices import NS_PER_MS, slices
from federation_core.labels import Matcher, MatchOp
from federation_core.plan import Leaf
from federation_core.signals.traces.expr import SpanSearch, TraceById
from federation_core.signals.traces.language import parse, span_matches
from federation_core.signals.traces.payload import (
    Event,
    FoundTraces,
    Link,
    Span,
    SpanKind,
    SpanStatus,
    TracePart,
    window_ns,
)
from federation_core.tenancy import Limits

#: Traces of a search where the leaf names no limit.
DEFAULT_LIMIT: Final = 20
_CHECK_EVERY: Final = 4096
_FIELDS: Final = (
    "trace_id, span_id, parent_id, name, kind, service, namespace, pod, start_ns, duration_ns, status,"
    " status_message, attributes, resource, events, links"
)
#: Labels of the query language → columns; all are texts.
_COLUMNS: Final = {
    "service": "service",
    "namespace": "namespace",
    "pod": "pod",
    "name": "name",
    "statusMessage": "status_message",
}
_TYPED: Final = {"duration": "duration_ns", "status": "status", "kind": "kind"}


def fetch(reader: SegmentReader, leaf: Leaf, limits: Limits, check: Callable[[], None]) -> Fetched:
    """Return a TracePart for a trace id, FoundTraces for a search.

    A lookup by id ignores the leaf's time; a search takes spans that start in it.
    """
    match parse(leaf.text):
        case TraceById(trace_id):
            return reader.attempt(lambda manifest: _by_id(reader, manifest, trace_id))
        case SpanSearch() as search:
            return reader.attempt(lambda manifest: _found(reader, manifest, search, leaf, check))


def _by_id(reader: SegmentReader, manifest: Manifest, trace_id: str) -> Fetched:
    spans = _spans_of(reader, manifest.of("spans"), [trace_id])
    return Fetched(TracePart(trace_id, tuple(spans.get(trace_id, ()))), watermark_ms=manifest.newest_ms)


def _found(
    reader: SegmentReader, manifest: Manifest, search: SpanSearch, leaf: Leaf, check: Callable[[], None]
) -> Fetched:
    limit = leaf.limit or DEFAULT_LIMIT
    found = _matching_traces(reader, manifest, search, leaf, limit, check)
    check()
    spans = _spans_of(reader, manifest.of("spans"), found[:limit])
    parts = tuple(TracePart(trace_id, tuple(spans[trace_id])) for trace_id in found[:limit])
    return Fetched(FoundTraces(parts, len(found) > limit), watermark_ms=manifest.newest_ms)


def _matching_traces(
    reader: SegmentReader,
    manifest: Manifest,
    search: SpanSearch,
    leaf: Leaf,
    limit: int,
    check: Callable[[], None],
) -> list[str]:
    """Return the ids of the first `limit` + 1 traces, by their first matching span in the leaf's direction."""
    start_ns, end_ns = window_ns(leaf.time_range)
    segments = within(manifest, "spans", start_ns // NS_PER_MS, end_ns // NS_PER_MS)
    conditions, parameters = _narrowed(reader, segments, search)
    order = "DESC" if leaf.direction == "backward" else "ASC"
    found: dict[str, int] = {}
    for part in slices(segments, start_ns, end_ns, leaf.direction):
        check()
        rows = reader.rows(
            f"SELECT {_FIELDS} FROM {reader.source(part.segments)}"
            f" WHERE start_ns >= {part.start_ns} AND start_ns < {part.end_ns}{conditions}"
            f" ORDER BY start_ns {order}, trace_id {order}",
            parameters,
        )
        last_ns = None
        for seen, row in enumerate(rows):
            if seen % _CHECK_EVERY == 0:
                check()
            trace_id, at_ns = row[0], row[8]
            if len(found) > limit and at_ns != last_ns:
                break
            if trace_id not in found and span_matches(search, _span(row)):
                found[trace_id] = last_ns = at_ns
        if len(found) > limit:
            break
    backward = leaf.direction == "backward"
    return sorted(found, key=lambda trace_id: (found[trace_id], trace_id), reverse=backward)


def _narrowed(reader: SegmentReader, segments: tuple[Segment, ...], search: SpanSearch) -> tuple[str, list[Any]]:
    """Return SQL conditions that every matching span satisfies, and their parameters."""
    conditions, parameters = "", list[Any]()
    for matcher in search.selector.matchers:
        column = _COLUMNS.get(matcher.label)
        if column:
            fits = _fitting(reader, segments, column, matcher)
            conditions += f" AND {column} IN ({', '.join('?' * len(fits))})" if fits else " AND false"
            parameters += fits
    for comparison in search.comparisons:
        column = _TYPED.get(comparison.field)
        if column:
            operator = "<>" if comparison.op.value == "!=" else comparison.op.value
            conditions += f" AND {column} {operator} ?"
            value = comparison.value
            parameters.append(value.value if isinstance(value, SpanKind | SpanStatus) else value)
    return conditions, parameters


def _fitting(reader: SegmentReader, segments: tuple[Segment, ...], column: str, matcher: Matcher) -> list[str]:
    """Return the values of a column that satisfy a matcher; each distinct value is judged once."""
    if matcher.op is MatchOp.EQ:
        return [matcher.value]

    def values_in(segment: Segment) -> frozenset[str]:
        return frozenset(value for (value,) in reader.rows(f"SELECT DISTINCT {column} FROM {reader.source([segment])}"))

    values = frozenset[str]().union(*reader.per_segment(f"values of {column}", segments, values_in))
    return sorted(value for value in values if matcher.matches(value))


def _spans_of(reader: SegmentReader, segments: tuple[Segment, ...], trace_ids: list[str]) -> dict[str, list[Span]]:
    """Return all spans of some traces, by trace."""
    spans: dict[str, list[Span]] = {}
    if not segments or not trace_ids:
        return spans
    if len(trace_ids) == 1:
        condition, parameters = "WHERE trace_id = ?", trace_ids
    else:
        condition, parameters = "SEMI JOIN wanted USING (trace_id)", []
    statement = f"SELECT {_FIELDS} FROM {reader.source(segments)} {condition} ORDER BY start_ns, span_id"
    for row in reader.rows(statement, parameters, wanted={"trace_id": np.array(trace_ids, dtype=object)}):
        spans.setdefault(row[0], []).append(_span(row))
    return spans


def _span(row: tuple[Any, ...]) -> Span:
    (trace_id, span_id, parent_id, name, kind, service, namespace, pod, start_ns, duration_ns, status, message,
     attributes, resource, events, links) = row  # fmt: skip
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        operation=name,
        service=service,
        start_ns=start_ns,
        duration_ns=duration_ns,
        kind=SpanKind(kind),
        namespace=namespace,
        pod=pod,
        status=SpanStatus(status),
        status_message=message,
        attributes=orjson.loads(attributes) if attributes != "{}" else {},
        resource=_resource(resource),
        events=tuple(Event(e["time_ns"], e["name"], e["attributes"]) for e in orjson.loads(events)) if events else (),
        links=tuple(Link(**link) for link in orjson.loads(links)) if links else (),
    )


@lru_cache(maxsize=4096)
def _resource(text: str) -> dict[str, Any]:
    """Return a resource's attributes; spans of one process share the mapping, which nobody changes."""
    values: dict[str, Any] = orjson.loads(text)
    return values

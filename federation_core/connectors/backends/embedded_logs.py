"""Log entries from an embedded store: by stream, text and pattern, newest or oldest first.

Rule: a label set is judged once, in Python, with the matchers every signal uses. DuckDB only narrows (time, streams,
contained text); every filter is then judged again by the signal's own functions, so there is one meaning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
import orjson

from federation_core.connectors import Fetched
from federation_core.connectors.stores.segments_layout import Manifest, Segment
from federation_core.connectors.stores.segments_read import SegmentReader, within
from federation_core.connectors.stores.segments_slices import NS_PER_MS, Slice, slices
from federation_core.labels import Labels
from federation_core.plan import Leaf
from federation_core.query import Direction
from federation_core.signals.logs.expr import LineOp, LogQuery
from federation_core.signals.logs.language import matches, parse
from federation_core.signals.logs.payload import Entries, Entry, first_entries, window_ns
from federation_core.tenancy import Limits

_NOT_IN_LABEL: Final = re.compile(r"[^A-Za-z0-9_]")
#: The pattern by which a structured search asks for a trace id with or without its leading zeros.
_PADDED_ID: Final = re.compile(r"0\*([0-9a-f]+)")
#: Entries judged between two looks at the deadline.
_CHECK_EVERY: Final = 4096


def fetch(reader: SegmentReader, leaf: Leaf, limits: Limits, check: Callable[[], None]) -> Fetched:
    """Return the first entries of the leaf's query in its direction, as Entries; all where it has no limit.

    More than the tenant's `max_entries` are not read: the answer then says that there are more.
    """
    query = parse(leaf.text)
    limit = min(leaf.limit or limits.max_entries, limits.max_entries)

    def ask(manifest: Manifest) -> Fetched:
        found = _search(reader, manifest, query, leaf, limit, check)
        return Fetched(first_entries(Entries.of(found), limit, leaf.direction), watermark_ms=manifest.newest_ms)

    return reader.attempt(ask)


def _search(
    reader: SegmentReader, manifest: Manifest, query: LogQuery, leaf: Leaf, limit: int, check: Callable[[], None]
) -> list[Entry]:
    """Return at least the first `limit` + 1 matching entries, those sharing the last one's time included."""
    start_ns, end_ns = window_ns(leaf.time_range)
    segments = within(manifest, "logs", start_ns // NS_PER_MS, end_ns // NS_PER_MS)
    streams = _streams(reader, segments, query)
    found: list[Entry] = []
    for part in slices(segments, start_ns, end_ns, leaf.direction):
        if not streams:
            break
        for seen, row in enumerate(_candidates(reader, part, query, streams, leaf.direction)):
            if seen % _CHECK_EVERY == 0:
                check()
            if len(found) > limit and row[0] != found[-1].t_ns:
                return found
            entry = _matching(query, row, streams)
            if entry is not None:
                found.append(entry)
        if len(found) > limit:
            return found
    return found


def _streams(reader: SegmentReader, segments: tuple[Segment, ...], query: LogQuery) -> Mapping[str, Labels]:
    """Return the label sets that the selector accepts, by their text in the store."""

    def labels_in(segment: Segment) -> frozenset[str]:
        rows = reader.rows(f"SELECT DISTINCT labels FROM {reader.source([segment])}")
        return frozenset(text for (text,) in rows)

    texts = frozenset().union(*reader.per_segment("log streams", segments, labels_in))
    return {text: labels for text in texts if query.selector.matches(labels := _labels(text))}


def _candidates(
    reader: SegmentReader, part: Slice, query: LogQuery, streams: Mapping[str, Labels], direction: Direction
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a slice that may match, in order of time."""
    conditions, parameters = _narrowed(query)
    order = "DESC" if direction == "backward" else "ASC"
    return reader.rows(
        "SELECT t_ns, ordinal, labels, line, trace_id, span_id, attributes"
        f" FROM {reader.source(part.segments)} SEMI JOIN wanted USING (labels)"
        f" WHERE t_ns >= {part.start_ns} AND t_ns < {part.end_ns}{conditions}"
        f" ORDER BY t_ns {order}, ordinal {order}",
        parameters,
        wanted={"labels": np.array(list(streams), dtype=object)},
    )


def _matching(query: LogQuery, row: tuple[Any, ...], streams: Mapping[str, Labels]) -> Entry | None:
    """Return a row as an entry if it matches; lines are judged first, because few pass and metadata costs."""
    t_ns, ordinal, labels, line, trace_id, span_id, attributes = row
    if not all(line_filter.accepts(line) for line_filter in query.line_filters):
        return None
    entry = Entry(t_ns, line, streams[labels], _metadata(attributes, trace_id, span_id), ordinal)
    return entry if matches(query, entry) else None


def _narrowed(query: LogQuery) -> tuple[str, list[str]]:
    """Return SQL conditions that every matching entry satisfies, and their parameters."""
    conditions, parameters = "", []
    for line in query.line_filters:
        if line.op is LineOp.CONTAINS:
            conditions += " AND contains(line, ?)"
            parameters.append(line.text)
    for label in query.label_filters:
        padded = _PADDED_ID.fullmatch(label.matcher.value)
        if label.matcher.label == "trace_id" and padded and label.matcher.op == "=~":
            conditions += " AND ends_with(trace_id, ?)"
            parameters.append(padded[1])
    return conditions, parameters


@lru_cache(maxsize=65_536)
def _labels(text: str) -> Labels:
    return Labels.of(orjson.loads(text))


def _metadata(attributes: str, trace_id: str, span_id: str) -> Labels:
    """Return what belongs to the entry alone, named as labels are so that filters can name it."""
    ids = [("trace_id", trace_id), ("span_id", span_id)]
    if attributes == "{}":
        return Labels.of(ids)
    values: dict[str, Any] = orjson.loads(attributes)
    named = {_NOT_IN_LABEL.sub("_", name): _text(value) for name, value in values.items()}
    return Labels.of(named | dict(ids))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()

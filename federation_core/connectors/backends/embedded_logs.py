"""Log entries from an embedded store: by stream, text and pattern, newest or oldest first.

Rule: a label set is judged once, in Python, with the matchers every signal uses. DuckDB only narrows (time, streams,
contained text); every filter is then judged again by the signal's own functions, so there is one meaning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
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
from federation_core.signals.logs.expr import LineOp, LogQuery, passing
from federation_core.signals.logs.language import parse
from federation_core.signals.logs.payload import Entries, concat, first_entries, window_ns
from federation_core.tenancy import Limits

_NOT_IN_LABEL: Final = re.compile(r"[^A-Za-z0-9_]")
#: The pattern by which a structured search asks for a trace id with or without its leading zeros.
_PADDED_ID: Final = re.compile(r"0\*([0-9a-f]+)")
#: Entries judged at once, between two looks at the deadline.
_AT_ONCE: Final = 1024


def fetch(reader: SegmentReader, leaf: Leaf, limits: Limits, check: Callable[[], None]) -> Fetched:
    """Return the first entries of the leaf's query in its direction, as Entries; all where it has no limit.

    More than the tenant's `max_entries` are not read: the answer then says that there are more.
    """
    query = parse(leaf.text)
    limit = min(leaf.limit or limits.max_entries, limits.max_entries)

    def ask(manifest: Manifest) -> Fetched:
        found = _search(reader, manifest, query, leaf, limit, check)
        return Fetched(first_entries(found, limit, leaf.direction), watermark_ms=manifest.newest_ms)

    return reader.attempt(ask)


def _search(
    reader: SegmentReader, manifest: Manifest, query: LogQuery, leaf: Leaf, limit: int, check: Callable[[], None]
) -> Entries:
    """Return at least the first `limit` + 1 matching entries, those sharing the last one's time included."""
    start_ns, end_ns = window_ns(leaf.time_range)
    segments = within(manifest, "logs", start_ns // NS_PER_MS, end_ns // NS_PER_MS)
    streams = _streams(reader, segments, query)
    found: list[Entries] = []
    count, enough_ns = 0, None
    for part in slices(segments, start_ns, end_ns, leaf.direction) if streams else ():
        rows = _candidates(reader, part, query, streams, leaf.direction)
        while some := list(islice(rows, _AT_ONCE)):
            check()
            matching = _matching(query, some, streams)
            if count <= limit < count + len(matching):
                # With this one there is one more than is asked for.
                enough_ns = matching.t_ns[limit - count]
            found.append(matching)
            count += len(matching)
            if enough_ns is not None and some[-1][0] != enough_ns:
                return concat(found)
        if enough_ns is not None:
            break
    return concat(found)


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


def _matching(query: LogQuery, rows: list[tuple[Any, ...]], streams: Mapping[str, Labels]) -> Entries:
    """Return the rows that match as entries; lines are judged first, because few pass and metadata costs."""
    line_filters = [stage.judge() for stage in query.line_filters]
    rows = [row for row in rows if all(accepts(row[3]) for accepts in line_filters)]
    entries = Entries.of_columns(
        [row[0] for row in rows],
        [row[3] for row in rows],
        [streams[row[2]] for row in rows],
        [_metadata(attributes, trace_id, span_id) for *_, trace_id, span_id, attributes in rows],
        [row[1] for row in rows],
    )
    return passing(query, entries)


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

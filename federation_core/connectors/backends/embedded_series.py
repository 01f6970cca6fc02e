"""Which series an embedded store has in an interval: label sets, names, values, types of metrics.

Rule: a series is there if it has a sample in the interval. Segments never change, so the series of each are read once
and kept; only those that the interval cuts are looked at by time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from federation_core.connectors import Fetched
from federation_core.connectors.backends.embedded_metrics import Array, SeriesIndex, series_index
from federation_core.connectors.stores.segments_layout import Manifest, Segment
from federation_core.connectors.stores.segments_read import SegmentReader, within
from federation_core.labels import NAME, Labels
from federation_core.plan import Leaf
from federation_core.query import TimeRange
from federation_core.signals.series.expr import Discovery, Question
from federation_core.signals.series.language import parse
from federation_core.signals.series.payload import Fact, Found, Row
from federation_core.tenancy import Limits


def fetch(reader: SegmentReader, leaf: Leaf, limits: Limits, check: Callable[[], None]) -> Fetched:
    """Return the rows of a question about series, as Found; more than the tenant's `max_series` are cut, and named."""
    expr = parse(leaf.text)

    def ask(manifest: Manifest) -> Fetched:
        index = series_index(reader, manifest)
        selected: set[int] = set()
        for selector in expr.selectors:
            check()
            selected.update(index.select(selector))
        there = _seen(reader, manifest, leaf.time_range, check)
        numbers = index.numbers.tolist()
        rows = [row for row in sorted(selected) if numbers[row] in there]
        answer = tuple(dict.fromkeys(_rows(expr, reader, manifest, index, rows)))
        most = limits.max_series
        truncated = f"{len(answer)} rows, above max_series {most}" if len(answer) > most else ""
        return Fetched(Found(expr.question, answer[:most]), truncated=truncated, watermark_ms=manifest.newest_ms)

    return reader.attempt(ask)


def _seen(reader: SegmentReader, manifest: Manifest, span: TimeRange, check: Callable[[], None]) -> frozenset[int]:
    """Return the numbers of the series with a sample in the interval."""
    segments = within(manifest, "samples", span.start_ms, span.end_ms)
    whole = [s for s in segments if span.start_ms <= s.min_ms and s.max_ms <= span.end_ms]

    def all_of(segment: Segment) -> frozenset[int]:
        check()
        return _numbers(reader.arrays(f"SELECT DISTINCT series_id FROM {reader.source([segment])}")["series_id"])

    found = frozenset().union(*reader.per_segment("series of samples", whole, all_of))
    cut = [segment for segment in segments if segment not in whole]
    if cut:
        check()
        where = f"t_ms BETWEEN {span.start_ms} AND {span.end_ms}"
        columns = reader.arrays(f"SELECT DISTINCT series_id FROM {reader.source(cut)} WHERE {where}")
        found |= _numbers(columns["series_id"])
    return found


def _numbers(column: Array) -> frozenset[int]:
    return frozenset(np.ma.getdata(column).tolist())


def _rows(
    expr: Discovery, reader: SegmentReader, manifest: Manifest, index: SeriesIndex, rows: list[int]
) -> Iterator[Row]:
    labels: Iterator[Labels] = (index.labels[row] for row in rows)
    match expr.question:
        case Question.SERIES:
            yield from labels
        case Question.LABELS:
            yield from (name for found in labels for name in found.names())
        case Question.VALUES:
            yield from (value for found in labels if (value := found.get(expr.label)))
        case Question.METADATA:
            facts = _facts(reader, manifest)
            for name in {found.get(NAME) for found in labels}:
                yield from facts.get(name, ())


def _facts(reader: SegmentReader, manifest: Manifest) -> dict[str, tuple[Fact, ...]]:
    """Return what the store knows of each metric; a name that was written with two types has both."""
    segments = manifest.of("series")

    def read() -> dict[str, tuple[Fact, ...]]:
        facts: dict[str, tuple[Fact, ...]] = {}
        if segments:
            statement = f"SELECT DISTINCT name, type, unit FROM {reader.source(segments)}"
            for name, kind, unit in reader.rows(statement):
                facts[name] = (*facts.get(name, ()), _fact(name, kind, unit))
        return facts

    return reader.once("facts of metrics", segments, read)


def _fact(name: str, kind: str, unit: str) -> Fact:
    # A histogram's and a summary's series are several; their metric has the name without the ending.
    if kind in ("histogram", "summary"):
        for ending in ("_bucket", "_sum", "_count"):
            name = name.removesuffix(ending)
    return Fact(name, kind or "unknown", "", unit)

"""Raw samples of a matrix selector from an embedded store.

Rule: matchers are decided in Python on an index of the series, samples are fetched by series number and time, and
no value is touched: DuckDB neither compares nor aggregates them, and a NaN comes back with the bits it had.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from federation_core.connectors import Fetched
from federation_core.connectors.stores.segments_layout import Manifest, Segment
from federation_core.connectors.stores.segments_read import SegmentReader, within
from federation_core.errors import UnsupportedQuery
from federation_core.labels import NAME, Labels, Selector
from federation_core.plan import Leaf
from federation_core.signals.metrics.expr import MatrixSelector
from federation_core.signals.metrics.frame import SampleColumns
from federation_core.signals.metrics.parse import parse
from federation_core.tenancy import Limits

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class SeriesIndex:
    """Every series of a store: number and labels, and the rows of each metric name."""

    numbers: Array
    labels: tuple[Labels, ...]
    by_name: dict[str, list[int]]

    def select(self, selector: Selector) -> list[int]:
        """Return the rows whose labels satisfy every matcher; each distinct value is judged once."""
        rows = self.by_name.get(selector.name, []) if selector.name else range(len(self.labels))
        kept = [(row, dict(self.labels[row])) for row in rows]
        for matcher in selector.matchers:
            verdicts: dict[str, bool] = {}
            still = []
            for row, labels in kept:
                value = labels.get(matcher.label, "")
                verdict = verdicts.get(value)
                if verdict is None:
                    verdict = verdicts[value] = matcher.matches(value)
                if verdict:
                    still.append((row, labels))
            kept = still
        return [row for row, _ in kept]


def fetch(reader: SegmentReader, leaf: Leaf, limits: Limits, check: Callable[[], None]) -> Fetched:
    """Return the samples in (end - window, end] of every series the leaf selects, as SampleColumns.

    More than the tenant's `max_samples` are cut one above it, which the engine then refuses by name.
    """
    expr = parse(leaf.text)
    if not isinstance(expr, MatrixSelector):
        raise UnsupportedQuery(f"an embedded store answers matrix selectors, not {leaf.text!r}", construct="leaf")
    end_ms = leaf.time_range.end_ms - expr.offset_ms
    start_ms = end_ms - expr.window_ms

    def ask(manifest: Manifest) -> Fetched:
        index = series_index(reader, manifest)
        rows = np.array(index.select(expr.selector), dtype=np.int64)
        segments = within(manifest, "samples", start_ms + 1, end_ms)
        check()
        if not len(rows) or not segments:
            return Fetched(SampleColumns.empty(), watermark_ms=manifest.newest_ms)
        columns = _samples(reader, segments, index.numbers[rows], start_ms, end_ms, limits.max_samples + 1)
        return Fetched(_assemble(index, rows, *columns), watermark_ms=manifest.newest_ms)

    return reader.attempt(ask)


def series_index(reader: SegmentReader, manifest: Manifest) -> SeriesIndex:
    """Return the index of all series, built again only when series were added or dropped."""
    segments = manifest.of("series")
    return reader.once("series", segments, lambda: _build_index(reader, segments))


def _build_index(reader: SegmentReader, segments: tuple[Segment, ...]) -> SeriesIndex:
    numbers: list[int] = []
    labels: list[Labels] = []
    by_name: dict[str, list[int]] = {}
    statement = f"SELECT series_id, name, labels FROM {reader.source(segments)} ORDER BY series_id" if segments else ""
    for number, name, text in reader.rows(statement) if statement else ():
        # Label names and values repeat across series without end; interned they are held once.
        pairs = [(sys.intern(key), sys.intern(value)) for key, value in orjson.loads(text).items()]
        by_name.setdefault(name, []).append(len(numbers))
        numbers.append(number)
        labels.append(Labels.of([(NAME, sys.intern(name)), *pairs]))
    return SeriesIndex(np.array(numbers, dtype=np.int64), tuple(labels), by_name)


def _samples(
    reader: SegmentReader, segments: tuple[Segment, ...], numbers: Array, start_ms: int, end_ms: int, limit: int
) -> tuple[Array, Array, Array]:
    """Return (series number, time, value) of all samples wanted, by series and time, each time once."""
    low, high = int(numbers.min()), int(numbers.max())
    # A dense set is a range; any other still gives the range by which row groups are skipped.
    dense = high - low + 1 == len(numbers)
    columns = reader.arrays(
        f"SELECT series_id, t_ms, value, nan_bits FROM {reader.source(segments)}"
        f"{'' if dense else ' SEMI JOIN wanted USING (series_id)'}"
        f" WHERE t_ms > {start_ms} AND t_ms <= {end_ms} AND series_id BETWEEN {low} AND {high}"
        f" ORDER BY series_id, t_ms, value LIMIT {limit}",
        wanted={"series_id": numbers.astype(np.uint32)},
    )
    ids = np.ma.getdata(columns["series_id"]).astype(np.int64)
    times = np.ma.getdata(columns["t_ms"])
    values = np.array(np.ma.getdata(columns["value"]), dtype=np.float64)
    is_nan = ~np.ma.getmaskarray(columns["nan_bits"])
    values.view(np.int64)[is_nan] = np.ma.getdata(columns["nan_bits"])[is_nan]
    # A time written twice counts once, with the smaller value: where a counter began anew, that is its zero.
    first = np.ones(len(ids), dtype=bool)
    first[1:] = (ids[1:] != ids[:-1]) | (times[1:] != times[:-1])
    return ids[first], times[first], values[first]


def _assemble(index: SeriesIndex, rows: Array, ids: Array, times: Array, values: Array) -> SampleColumns:
    """Return the columns of the series that have samples; `rows` are in ascending order of series number."""
    present, begins = np.unique(ids, return_index=True)
    at = rows[np.searchsorted(index.numbers[rows], present)]
    offsets = np.append(begins, len(ids)).astype(np.int64)
    return SampleColumns(tuple(index.labels[row] for row in at.tolist()), offsets, times.astype(np.int64), values)

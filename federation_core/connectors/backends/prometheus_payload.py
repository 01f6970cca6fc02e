"""Answers of Prometheus' API as payloads of the metrics signal.

Rule: samples are those in (end - window, end], whichever edges the backend's own windows have, and a time that is
there twice counts once. Native histograms are refused by name: the API tells their bounds and not their schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from federation_core.connectors.backends.prometheus_api import Reply
from federation_core.connectors.backends.prometheus_points import Points
from federation_core.errors import Malformed, UnsupportedQuery
from federation_core.labels import Labels
from federation_core.signals.metrics.expr import MatrixSelector
from federation_core.signals.metrics.frame import STALE_BITS, Frame, Grid, SampleColumns
from federation_core.signals.metrics.moments import moment_of
from federation_core.signals.metrics.prometheus_json import from_json, samples_from_json


def is_matrix(data: Any) -> bool:
    """Tell whether an answer holds several samples of a series."""
    return isinstance(data, Mapping) and data.get("resultType") == "matrix"


def read_frame(reply: Reply, grid: Grid) -> Frame:
    """Return the values of an expression on a grid.

    Raises Malformed, UnsupportedQuery.
    """
    rows = _rows(reply)
    if not _is_taken(rows, reply.points) or grid.is_instant:
        return from_json(reply.data, grid)
    points = reply.points
    steps, rest = np.divmod(points.t_ms - grid.start_ms, grid.step_ms)
    off = (rest != 0) | (steps < 0) | (steps >= grid.steps)
    if off.any():
        raise Malformed(f"not an answer to the query that was sent: {points.t_ms[off][0]} ms is not on the grid")
    at = np.repeat(np.arange(len(rows)), np.diff(points.offsets)), steps
    values = np.full((len(rows), grid.steps), np.nan)
    present = np.zeros(values.shape, dtype=np.bool_)
    values[at], present[at] = points.values, True
    return Frame(_labels(rows), grid, values, present)


def read_samples(reply: Reply, node: MatrixSelector, at_ms: int, *, nan_is_stale: bool = False) -> SampleColumns:
    """Return the samples of a matrix selector that was asked for at a moment; series without any are left out.

    `nan_is_stale`: the backend stores no NaN but stale markers, whose bits JSON cannot tell.

    Raises Malformed, UnsupportedQuery.
    """
    rows, points = _rows(reply), reply.points
    if _is_taken(rows, points):
        columns = SampleColumns(_labels(rows), points.offsets, points.t_ms, points.values)
    else:
        columns = samples_from_json(reply.data)
    if nan_is_stale:
        values = columns.values.copy()
        values.view(np.uint64)[np.isnan(values)] = STALE_BITS
        columns = replace(columns, values=values)
    moment_ms = moment_of(node)
    end_ms = (at_ms if moment_ms is None else moment_ms) - node.offset_ms
    kept = (columns.t_ms > end_ms - node.window_ms) & (columns.t_ms <= end_ms)
    # Of a time written twice the last one counts; some stores keep both.
    kept[:-1] &= (columns.t_ms[:-1] != columns.t_ms[1:]) | (np.diff(columns.series_index) != 0)
    columns = columns.select(kept)
    there = np.flatnonzero(np.diff(columns.offsets))
    return columns if len(there) == columns.series_count else columns.take(there)


def _rows(reply: Reply) -> list[Mapping[str, Any]]:
    """Return the series of an answer; a scalar has none."""
    try:
        rows = list(reply.data["result"]) if reply.data["resultType"] in ("vector", "matrix") else []
        if not all(isinstance(row, dict) for row in rows):
            raise TypeError("a series is no object")
        native = any("histogram" in row or "histograms" in row for row in rows)
    except (LookupError, TypeError) as exc:
        raise Malformed(f"not an answer to a query: {type(exc).__name__}") from exc
    if native:
        raise UnsupportedQuery("native histograms are not supported", construct="native histogram")
    return rows


def _is_taken(rows: list[Mapping[str, Any]], points: Points) -> bool:
    """Tell whether the points of all series were read as columns, in the order of the series."""
    return len(points.offsets) == len(rows) + 1 and all(row.get("values") == i for i, row in enumerate(rows))


def _labels(rows: list[Mapping[str, Any]]) -> tuple[Labels, ...]:
    try:
        return tuple(Labels.of(row["metric"]) for row in rows)
    except (LookupError, TypeError, ValueError, AttributeError) as exc:
        raise Malformed(f"not an answer to a query: {type(exc).__name__}") from exc

"""Answers of Prometheus' API as payloads of the metrics signal.

Rule: samples are those in (end - window, end], whichever edges the backend's own windows have, and a time that is
there twice counts once. Native histograms are refused by name: the API tells their bounds and not their schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from federation_core.errors import Malformed, UnsupportedQuery
from federation_core.signals.metrics.expr import MatrixSelector
from federation_core.signals.metrics.frame import Frame, Grid, SampleColumns
from federation_core.signals.metrics.moments import moment_of
from federation_core.signals.metrics.prometheus_json import from_json, samples_from_json


def is_matrix(data: Any) -> bool:
    """Tell whether an answer holds several samples of a series."""
    return isinstance(data, Mapping) and data.get("resultType") == "matrix"


def read_frame(data: Any, grid: Grid) -> Frame:
    """Return the values of an expression on a grid.

    Raises Malformed, UnsupportedQuery.
    """
    _require_floats(data)
    return from_json(data, grid)


def read_samples(data: Any, node: MatrixSelector, at_ms: int) -> SampleColumns:
    """Return the samples of a matrix selector that was asked for at a moment; series without any are left out.

    Raises Malformed, UnsupportedQuery.
    """
    _require_floats(data)
    columns = samples_from_json(data)
    moment_ms = moment_of(node)
    end_ms = (at_ms if moment_ms is None else moment_ms) - node.offset_ms
    kept = (columns.t_ms > end_ms - node.window_ms) & (columns.t_ms <= end_ms)
    # Of a time written twice the last one counts; some stores keep both.
    kept[:-1] &= (columns.t_ms[:-1] != columns.t_ms[1:]) | (np.diff(columns.series_index) != 0)
    columns = columns.select(kept)
    rows = np.flatnonzero(np.diff(columns.offsets))
    return columns if len(rows) == columns.series_count else columns.take(rows)


def _require_floats(data: Any) -> None:
    try:
        rows = data["result"] if data["resultType"] in ("vector", "matrix") else ()
        native = any("histogram" in row or "histograms" in row for row in rows)
    except (LookupError, TypeError) as exc:
        raise Malformed(f"not an answer to a query: {type(exc).__name__}") from exc
    if native:
        raise UnsupportedQuery("native histograms are not supported", construct="native histogram")

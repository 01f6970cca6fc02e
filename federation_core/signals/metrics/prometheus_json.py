"""Payloads as the JSON of Prometheus' HTTP API, both ways.

Rule: a number reads back to the same float64. Values are strings printed as Go prints them (the shortest digits that
read back); times are seconds, whole ones without a fraction.
Source: Prometheus documentation, "HTTP API / Expression query result formats".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from federation_core.errors import Malformed
from federation_core.labels import Labels
from federation_core.query import Query
from federation_core.signals.metrics.frame import Floats, Frame, Grid, Ints, Payload, SampleColumns, StringValue

#: Python prints what lies between them without an exponent, as Go does.
_LEAST_PLAIN, _TOO_LARGE = 1e-4, 1e16


def to_json(payload: Payload, query: Query | None = None) -> dict[str, Any]:
    """Return `{"resultType": …, "result": …}`: vector, scalar or string for an instant, matrix for a range.

    `query` belongs to the signal's contract and is not needed: a payload knows its grid.
    """
    if isinstance(payload, StringValue):
        return {"resultType": "string", "result": [format_seconds(payload.at_ms), payload.text]}
    if isinstance(payload, SampleColumns):
        return {"resultType": "matrix", "result": _raw_matrix(payload)}
    if not payload.grid.is_instant:
        return {"resultType": "matrix", "result": _matrix(payload)}
    seconds = format_seconds(payload.grid.start_ms)
    if payload.kind == "scalar":
        return {"resultType": "scalar", "result": [seconds, format_scalar(float(payload.values[0, 0]))]}
    rows = zip(payload.labels, payload.values[:, 0].tolist(), payload.present[:, 0].tolist(), strict=True)
    result = [{"metric": dict(lb), "value": [seconds, format_value(v)]} for lb, v, there in rows if there]
    return {"resultType": "vector", "result": result}


def from_json(data: Mapping[str, Any], grid: Grid) -> Frame:
    """Read the `data` of an answer to a query on `grid`: scalar, vector or matrix.

    Raises Malformed: another result type, a time outside the grid, a value that is no number.
    """
    try:
        kind, result = data["resultType"], data["result"]
        if kind == "scalar":
            return Frame.scalar(grid, float(result[1]))
        if kind not in ("vector", "matrix"):
            raise ValueError(f"the result type is {kind!r}")
        points = [series["values"] if kind == "matrix" else [series["value"]] for series in result]
        times, numbers = _columns([point for some in points for point in some])
        at = np.repeat(np.arange(len(result)), list(map(len, points))), _steps_of(times, grid)
        values = np.full((len(result), grid.steps), np.nan)
        present = np.zeros((len(result), grid.steps), dtype=np.bool_)
        values[at], present[at] = numbers, True
        return Frame(tuple(Labels.of(series["metric"]) for series in result), grid, values, present)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as exc:
        raise Malformed(f"not an answer to the query that was sent: {exc}") from exc


def samples_from_json(data: Mapping[str, Any]) -> SampleColumns:
    """Read the raw samples from the answer to an instant query of a matrix selector.

    Raises Malformed: the answer is not a matrix.
    """
    try:
        if data["resultType"] != "matrix":
            raise ValueError(f"the result type is {data['resultType']!r}")
        return SampleColumns.of((Labels.of(series["metric"]), *_columns(series["values"])) for series in data["result"])
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as exc:
        raise Malformed(f"not an answer to the query that was sent: {exc}") from exc


def format_value(value: float) -> str:
    """Print the value of a sample: with an exponent from 1e21 and below 1e-6, as Go's JSON has it.

    >>> format_value(1e21), format_value(5.0), format_value(1e-7), format_value(float("inf"))
    ('1e+21', '5', '1e-07', '+Inf')
    """
    if value == 0 or 1e-6 <= abs(value) < 1e21 or not math.isfinite(value):
        return format_scalar(value)
    return repr(value)


def format_values(values: Floats) -> list[str]:
    """Print the values of samples, most of which need no look at each.

    >>> format_values(np.array([1.0, -0.0, 0.25])), format_values(np.array([1.0, 1e21]))
    (['1', '-0', '0.25'], ['1', '1e+21'])
    """
    sizes = np.abs(values)
    if not (((sizes >= _LEAST_PLAIN) & (sizes < _TOO_LARGE)) | (values == 0)).all():
        return list(map(format_value, values.tolist()))
    return [text[:-2] if text[-2:] == ".0" else text for text in map(repr, values.tolist())]


def format_scalar(value: float) -> str:
    """Print a scalar, which Prometheus never gives an exponent.

    >>> format_scalar(1e21), format_scalar(-0.0), format_scalar(1e-7), format_scalar(float("-inf"))
    ('1000000000000000000000', '-0', '0.0000001', '-Inf')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" in text:
        return format(Decimal(text), "f")
    return text.removesuffix(".0")


def format_seconds(time_ms: int) -> int | float:
    """Return a time in seconds, as an integer where it is a whole number of them."""
    return time_ms // 1000 if time_ms % 1000 == 0 else time_ms / 1000


def _matrix(frame: Frame) -> list[dict[str, Any]]:
    seconds = [format_seconds(t) for t in frame.grid.times_ms.tolist()]
    result = []
    for labels, values, present in zip(frame.labels, frame.values, frame.present, strict=True):
        steps = np.flatnonzero(present)
        points = zip(steps.tolist(), format_values(values[steps]), strict=True)
        if len(steps):
            result.append({"metric": dict(labels), "values": [[seconds[j], text] for j, text in points]})
    return result


def _raw_matrix(columns: SampleColumns) -> list[dict[str, Any]]:
    shown = columns.without_stale()
    result = []
    for row, labels in enumerate(shown.labels):
        span = slice(int(shown.offsets[row]), int(shown.offsets[row + 1]))
        points = zip(shown.t_ms[span].tolist(), format_values(shown.values[span]), strict=True)
        if span.start < span.stop:
            values = [[format_seconds(t), text] for t, text in points]
            result.append({"metric": dict(labels), "values": values})
    return result


def _columns(points: Sequence[Sequence[Any]]) -> tuple[Ints, Floats]:
    times = np.array([round(float(t) * 1000) for t, _ in points], dtype=np.int64)
    return times, np.array([float(v) for _, v in points], dtype=np.float64)


def _steps_of(times: Ints, grid: Grid) -> Ints:
    """Return the steps at these times; raises ValueError: one is between two or outside."""
    if grid.is_instant:
        steps, off = np.zeros(len(times), dtype=np.int64), times != grid.start_ms
    else:
        steps, rest = np.divmod(times - grid.start_ms, grid.step_ms)
        off = (rest != 0) | (steps < 0) | (steps >= grid.steps)
    if off.any():
        raise ValueError(f"the time {times[off][0]} ms is not on the grid")
    return steps

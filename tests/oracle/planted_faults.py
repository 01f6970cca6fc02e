"""Faults that an engine might have, to be planted into ours: the net must catch every one.

Rule: a fault changes one real function of the engine and leaves the rest alone. Each family, which is a module of
functions or a part of the engine, has at least one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from federation_core.labels import Labels
from federation_core.query import TimeRange
from federation_core.signals.metrics import binary, evaluate, joins, moments, operations, windows
from federation_core.signals.metrics.expr import (
    COMPARISONS,
    Aggregate,
    Binary,
    Expr,
    Grouping,
    Matching,
    MatrixSelector,
    Subquery,
    VectorSelector,
    map_children,
)
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.functions import FUNCTIONS, counters
from federation_core.signals.metrics.functions.contract import Argument, Context, windows_argument
from tests.oracle import answers

Plant = Callable[[pytest.MonkeyPatch], None]
# The package has a function of this name.
run: Any = importlib.import_module("federation_core.signals.metrics.run")


@dataclass(frozen=True)
class Fault:
    """A fault of a family; `favoured` are the constructs that the generator draws often to find it."""

    family: str
    what: str
    favoured: tuple[str, ...]
    plant: Plant


def _answer(name: str, change: Callable[[Frame, Sequence[Argument]], Frame]) -> Plant:
    """Change what a function returns."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        real = FUNCTIONS[name]

        def apply(arguments: Sequence[Argument], context: Context) -> Frame:
            return change(real.apply(arguments, context), arguments)

        monkeypatch.setitem(FUNCTIONS, name, replace(real, apply=apply))  # type: ignore[arg-type]

    return plant


def _arguments(name: str, change: Callable[[list[Any]], list[Any]]) -> Plant:
    """Change what a function is given."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        real = FUNCTIONS[name]

        def apply(arguments: Sequence[Argument], context: Context) -> Frame:
            return real.apply(change(list(arguments)), context)

        monkeypatch.setitem(FUNCTIONS, name, replace(real, apply=apply))  # type: ignore[arg-type]

    return plant


def _record(name: str, **changes: Any) -> Plant:
    return lambda mp: mp.setitem(FUNCTIONS, name, replace(FUNCTIONS[name], **changes))  # type: ignore[arg-type]


def _instead(name: str, other: str) -> Plant:
    return lambda mp: mp.setitem(FUNCTIONS, name, replace(FUNCTIONS[other], name=name))  # type: ignore[arg-type]


def _values(frame: Frame, change: Callable[[Any], Any]) -> Frame:
    return replace(frame, values=change(frame.values))


def _wrapped(module: Any, name: str, wrapper: Callable[..., Any]) -> Plant:
    """Put `wrapper(real, …)` in the place of a function."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, **named: wrapper(real, *given, **named))

    return plant


# --- functions


def _of_sample(frame: Frame, arguments: Sequence[Argument]) -> Frame:
    counts = windows_argument(arguments[0]).counts.astype(np.float64)
    return _values(frame, lambda values: values * np.sqrt(counts / np.maximum(counts - 1, 1)))


def _nan_is_largest(frame: Frame, arguments: Sequence[Argument]) -> Frame:
    seen = windows_argument(arguments[0])
    nan = np.concatenate([[0], np.cumsum(np.isnan(seen.columns.values))])
    return _values(frame, lambda values: np.where(nan[seen.end] > nan[seen.first], np.nan, values))


def _cut_quantile(arguments: list[Any]) -> list[Any]:
    return [_values(arguments[0], lambda values: np.clip(values, 0, 1)), arguments[1]]


def _from_the_window(arguments: list[Any]) -> list[Any]:
    seen, ahead = arguments
    return [seen, _values(ahead, lambda values: values - seen.offset_ms / 1000)]


def _first_row(frame: Frame, arguments: Sequence[Argument]) -> Frame:
    operand = arguments[0]
    assert isinstance(operand, Frame)
    if not operand.series_count:
        return frame
    return _values(frame, lambda _: np.where(operand.present[:1], operand.values[:1], np.nan))


def _without_lowest_bucket(arguments: list[Any]) -> list[Any]:
    frame: Frame = arguments[1]
    rows = [row for row, labels in enumerate(frame.labels) if labels.get("le") != "0.005"]
    return [arguments[0], frame.take(rows)]


def _unanchored(arguments: list[Any]) -> list[Any]:
    return [*arguments[:4], f".*?(?:{arguments[4]}).*"]


# --- aggregation


def _aggregate_sample(real: Any, node: Aggregate, frame: Frame, parameter: Any, session: Any) -> Frame:
    found: Frame = real(node, frame, parameter, session)
    if node.operator != "stddev" or not found.series_count:
        return found
    counts = real(replace(node, operator="count"), frame, parameter, session).values
    return _values(found, lambda values: values * np.sqrt(counts / np.maximum(counts - 1, 1)))


def _average_of_all_rows(real: Any, node: Aggregate, frame: Frame, parameter: Any, session: Any) -> Frame:
    found: Frame = real(node, frame, parameter, session)
    if node.operator != "avg" or not found.series_count:
        return found
    counts = real(replace(node, operator="count"), frame, parameter, session)
    there = np.where(counts.present, counts.values, 0)
    return _values(found, lambda values: values * there / there.max(axis=1, keepdims=True))


def _groups_exchanged(real: Any, node: Aggregate, *rest: Any) -> Any:
    grouping = node.grouping
    if grouping.labels:
        node = replace(node, grouping=replace(grouping, without=not grouping.without))
    return real(node, *rest)


def _choice_of_everything(real: Any, node: Aggregate, *rest: Any) -> Any:
    return real(replace(node, grouping=Grouping()) if node.operator == "topk" else node, *rest)


def _values_with_a_point(real: Any, node: Aggregate, *rest: Any) -> Any:
    found: Frame = real(node, *rest)
    if node.operator != "count_values":
        return found
    name = getattr(node.parameter, "value", "")
    labels = (row.with_label(name, row.get(name) + (".0" if row.get(name).isdigit() else "")) for row in found.labels)
    return replace(found, labels=tuple(labels))


# --- binary operators


def _without_included(real: Any, node: Binary, *rest: Any) -> Any:
    return real(replace(node, matching=replace(node.matching, include=())), *rest)


def _filtered_by_right(real: Any, node: Binary, left: Any, right: Any, filtered: Any) -> Any:
    return real(node, left, right, right)


def _keeps_name(real: Any, node: Binary, session: Any) -> bool:
    return node.operator not in COMPARISONS


def _or_of_all_labels(real: Any, node: Binary, *rest: Any) -> Any:
    return real(replace(node, matching=Matching()) if node.operator == "or" else node, *rest)


def _unless_is_and(real: Any, node: Binary, *rest: Any) -> Any:
    return real(replace(node, operator="and") if node.operator == "unless" else node, *rest)


# --- windows, subqueries, moments


def _late_window(real: Any, columns: Any, grid: Grid, window_ms: int, *rest: Any) -> Any:
    return real(columns, grid, window_ms - 15_000, *rest)


def _ahead(real: Any, columns: Any, grid: Grid, offset_ms: int = 0, at_ms: int | None = None) -> Any:
    return real(columns, grid, -offset_ms, at_ms)


def _evaluation_times(real: Any, columns: Any, grid: Grid, *rest: Any) -> Any:
    frame: Frame = real(columns, grid, *rest)
    return _values(frame, lambda values: np.broadcast_to(grid.times_ms / 1000, values.shape))


def _unaligned(real: Any, node: Subquery, grid: Grid) -> Grid:
    found: Grid = real(node, grid)
    return replace(found, start_ms=found.start_ms + found.step_ms // 2, steps=max(0, found.steps - 1))


def _everywhere(expr: Expr, change: Callable[[Any], Any]) -> Expr:
    below = map_children(expr, lambda child: _everywhere(child, change))
    return change(below) if isinstance(below, VectorSelector | MatrixSelector | Subquery) else below


def _ends_exchanged(real: Any, expr: Expr, asked: TimeRange) -> Expr:
    ends = {"start": "end", "end": "start"}
    found: Expr = real(_everywhere(expr, lambda node: replace(node, at=ends.get(node.at, node.at))), asked)
    return found


def _without_moments(real: Any, expr: Expr, asked: TimeRange) -> Expr:
    found: Expr = real(_everywhere(expr, lambda node: replace(node, at=None)), asked)
    return found


def _without_subquery_offset(real: Any, expr: Expr, asked: TimeRange) -> Expr:
    def change(node: Any) -> Any:
        return replace(node, offset_ms=0) if isinstance(node, Subquery) else node

    found: Expr = real(_everywhere(expr, change), asked)
    return found


_MONTHS = _answer("month", lambda frame, _: _values(frame, lambda values: values - 1))
_SUNDAY = _answer("day_of_week", lambda frame, _: _values(frame, lambda values: np.where(values == 0, 7, values)))
_EVEN = _answer(
    "round", lambda frame, given: frame if len(given) > 1 else replace(frame, values=np.round(given[0].values))
)
_NO_LABELS = _answer("absent", lambda frame, _: replace(frame, labels=tuple(Labels() for _ in frame.labels)))
_FACTORS = _arguments("double_exponential_smoothing", lambda given: [given[0], given[2], given[1]])
_JOINED = _arguments("label_join", lambda given: [given[0], given[1], "", *given[3:]])

FAULTS = (
    Fault("counters", "a reset is not added", ("rate", "increase"), _wrapped(counters, "_add_resets", lambda *_: None)),
    Fault("counters", "delta sees resets", ("delta",), _instead("delta", "increase")),
    Fault("counters", "irate is an average", ("irate",), _instead("irate", "rate")),
    Fault("over_time", "the deviation is a sample's", ("stddev_over_time",), _answer("stddev_over_time", _of_sample)),
    Fault("over_time", "NaN is the largest", ("max_over_time",), _answer("max_over_time", _nan_is_largest)),
    Fault("over_time", "the name is lost", ("last_over_time",), _record("last_over_time", keeps_name=False)),
    Fault(
        "quantile_over_time",
        "a quantile beyond 1 is 1",
        ("quantile_over_time",),
        _arguments("quantile_over_time", _cut_quantile),
    ),
    Fault(
        "regression",
        "the prediction is the window's",
        ("predict_linear", "offset"),
        _arguments("predict_linear", _from_the_window),
    ),
    Fault("regression", "the factors are exchanged", ("double_exponential_smoothing",), _FACTORS),
    Fault("elementwise", "halves are rounded to even", ("round",), _EVEN),
    Fault("elementwise", "a bound is the other one", ("clamp_max",), _instead("clamp_max", "clamp_min")),
    Fault("dates", "months begin at 0", ("month",), _MONTHS),
    Fault("dates", "Sunday is 7", ("day_of_week",), _SUNDAY),
    Fault("conversions", "the scalar of several rows is the first", ("scalar",), _answer("scalar", _first_row)),
    Fault(
        "conversions",
        "the timestamp is the evaluation's",
        ("timestamp",),
        _wrapped(run, "latest_times", _evaluation_times),
    ),
    Fault("absence", "the labels are lost", ("absent",), _NO_LABELS),
    Fault("sorting", "the order is the other", ("sort_desc",), _instead("sort_desc", "sort")),
    Fault(
        "relabelling", "the expression is not anchored", ("label_replace",), _arguments("label_replace", _unanchored)
    ),
    Fault("relabelling", "the separator is lost", ("label_join",), _JOINED),
    Fault(
        "histogram",
        "the lowest bucket is left out",
        ("histogram_quantile",),
        _arguments("histogram_quantile", _without_lowest_bucket),
    ),
    Fault("aggregate", "the deviation is a sample's", ("stddev",), _wrapped(evaluate, "aggregate", _aggregate_sample)),
    Fault("aggregate", "absent rows are counted", ("avg",), _wrapped(evaluate, "aggregate", _average_of_all_rows)),
    Fault("aggregate", "by is without", ("by", "sum"), _wrapped(evaluate, "aggregate", _groups_exchanged)),
    Fault("aggregate", "the choice ignores groups", ("topk",), _wrapped(evaluate, "aggregate", _choice_of_everything)),
    Fault("aggregate", "values have a point", ("count_values",), _wrapped(evaluate, "aggregate", _values_with_a_point)),
    Fault(
        "binary",
        "group_left loses labels",
        ("group_left with labels", "group_right with labels", "*", "+"),
        _wrapped(binary, "join", _without_included),
    ),
    Fault("binary", "a filter keeps the right side", (">", "<", "!="), _wrapped(joins, "operate", _filtered_by_right)),
    Fault(
        "binary",
        "the remainder has the divisor's sign",
        ("%", "sign -"),
        lambda mp: mp.setitem(operations._ARITHMETIC, "%", np.mod),  # type: ignore[arg-type]
    ),
    Fault("binary", "bool keeps the name", ("bool", ">="), _wrapped(joins, "_drops_name", _keeps_name)),
    Fault("binary", "or ignores on", ("or",), _wrapped(binary, "combine_sets", _or_of_all_labels)),
    Fault("binary", "unless is and", ("unless",), _wrapped(binary, "combine_sets", _unless_is_and)),
    Fault("windows", "a window begins late", ("count_over_time",), _wrapped(run, "windows_of", _late_window)),
    Fault(
        "windows",
        "the lookback is ten minutes",
        ("vector selector",),
        lambda mp: mp.setattr(windows, "LOOKBACK_MS", 600_000),
    ),
    Fault("windows", "an offset looks ahead", ("offset", "vector selector"), _wrapped(run, "latest", _ahead)),
    Fault(
        "subqueries",
        "the steps are not aligned",
        ("subquery", "idelta", "deriv"),
        _wrapped(evaluate, "subquery_grid", _unaligned),
    ),
    Fault(
        "subqueries",
        "the default step is 15 s",
        ("subquery", "subquery, default step", "count_over_time"),
        lambda mp: mp.setattr(moments, "DEFAULT_STEP_MS", 15_000),
    ),
    Fault(
        "subqueries",
        "the offset is overlooked",
        ("subquery", "offset of a subquery", "max_over_time"),
        _wrapped(answers, "resolve", _without_subquery_offset),
    ),
    Fault("moments", "start() is end()", ("@ start()", "@ end()"), _wrapped(answers, "resolve", _ends_exchanged)),
    Fault("moments", "@ is overlooked", ("@ number", "@ end()"), _wrapped(answers, "resolve", _without_moments)),
)

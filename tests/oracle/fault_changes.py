"""What the planted faults do: each takes what a real function gets or gives, and gets it wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from federation_core.query import TimeRange
from federation_core.signals.metrics.expr import (
    COMPARISONS,
    Aggregate,
    Binary,
    Expr,
    Grouping,
    Matching,
    MatrixSelector,
    Subquery,
    Unary,
    VectorSelector,
    map_children,
)
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.functions.contract import Argument, windows_argument
from tests.oracle.planting import with_values


def of_sample(frame: Frame, arguments: Sequence[Argument]) -> Frame:
    counts = windows_argument(arguments[0]).counts.astype(np.float64)
    return with_values(frame, lambda values: values * np.sqrt(counts / np.maximum(counts - 1, 1)))


def nan_is_largest(frame: Frame, arguments: Sequence[Argument]) -> Frame:
    seen = windows_argument(arguments[0])
    nan = np.concatenate([[0], np.cumsum(np.isnan(seen.columns.values))])
    return with_values(frame, lambda values: np.where(nan[seen.end] > nan[seen.first], np.nan, values))


def cut_quantile(arguments: list[Any]) -> list[Any]:
    return [with_values(arguments[0], lambda values: np.clip(values, 0, 1)), arguments[1]]


def from_the_window(arguments: list[Any]) -> list[Any]:
    seen, ahead = arguments
    return [seen, with_values(ahead, lambda values: values - seen.offset_ms / 1000)]


def first_row(frame: Frame, arguments: Sequence[Argument]) -> Frame:
    operand = arguments[0]
    assert isinstance(operand, Frame)
    if not operand.series_count:
        return frame
    return with_values(frame, lambda _: np.where(operand.present[:1], operand.values[:1], np.nan))


def without_lowest_bucket(arguments: list[Any]) -> list[Any]:
    frame: Frame = arguments[1]
    rows = [row for row, labels in enumerate(frame.labels) if labels.get("le") != "0.005"]
    return [arguments[0], frame.take(rows)]


def unanchored(arguments: list[Any]) -> list[Any]:
    return [*arguments[:4], f".*?(?:{arguments[4]}).*"]


def half_to_even(frame: Frame, arguments: Sequence[Argument]) -> Frame:
    operand = arguments[0]
    assert isinstance(operand, Frame)
    return frame if len(arguments) > 1 else replace(frame, values=np.round(operand.values))


def aggregate_sample(real: Any, node: Aggregate, frame: Frame, parameter: Any, session: Any) -> Frame:
    found: Frame = real(node, frame, parameter, session)
    if node.operator != "stddev" or not found.series_count:
        return found
    counts = real(replace(node, operator="count"), frame, parameter, session).values
    return with_values(found, lambda values: values * np.sqrt(counts / np.maximum(counts - 1, 1)))


def average_of_all_rows(real: Any, node: Aggregate, frame: Frame, parameter: Any, session: Any) -> Frame:
    found: Frame = real(node, frame, parameter, session)
    if node.operator != "avg" or not found.series_count:
        return found
    counts = real(replace(node, operator="count"), frame, parameter, session)
    there = np.where(counts.present, counts.values, 0)
    return with_values(found, lambda values: values * there / there.max(axis=1, keepdims=True))


def groups_exchanged(real: Any, node: Aggregate, *rest: Any) -> Any:
    grouping = node.grouping
    if grouping.labels:
        node = replace(node, grouping=replace(grouping, without=not grouping.without))
    return real(node, *rest)


def choice_of_everything(real: Any, node: Aggregate, *rest: Any) -> Any:
    return real(replace(node, grouping=Grouping()) if node.operator == "topk" else node, *rest)


def values_with_a_point(real: Any, node: Aggregate, *rest: Any) -> Any:
    found: Frame = real(node, *rest)
    if node.operator != "count_values":
        return found
    name = getattr(node.parameter, "value", "")
    labels = (row.with_label(name, row.get(name) + (".0" if row.get(name).isdigit() else "")) for row in found.labels)
    return replace(found, labels=tuple(labels))


def without_included(real: Any, node: Binary, *rest: Any) -> Any:
    return real(replace(node, matching=replace(node.matching, include=())), *rest)


def filtered_by_right(real: Any, node: Binary, left: Any, right: Any, filtered: Any) -> Any:
    return real(node, left, right, right)


def keeps_name(real: Any, node: Binary, session: Any) -> bool:
    return node.operator not in COMPARISONS


def or_of_all_labels(real: Any, node: Binary, *rest: Any) -> Any:
    return real(replace(node, matching=Matching()) if node.operator == "or" else node, *rest)


def unless_is_and(real: Any, node: Binary, *rest: Any) -> Any:
    return real(replace(node, operator="and") if node.operator == "unless" else node, *rest)


def late_window(real: Any, columns: Any, grid: Grid, window_ms: int, *rest: Any) -> Any:
    return real(columns, grid, window_ms - 15_000, *rest)


def ahead(real: Any, columns: Any, grid: Grid, offset_ms: int = 0, at_ms: int | None = None) -> Any:
    return real(columns, grid, -offset_ms, at_ms)


def evaluation_times(real: Any, columns: Any, grid: Grid, *rest: Any) -> Any:
    frame: Frame = real(columns, grid, *rest)
    return with_values(frame, lambda values: np.broadcast_to(grid.times_ms / 1000, values.shape))


def unaligned(real: Any, node: Subquery, grid: Grid) -> Grid:
    found: Grid = real(node, grid)
    return replace(found, start_ms=found.start_ms + found.step_ms // 2, steps=max(0, found.steps - 1))


def everywhere(expr: Expr, change: Callable[[Any], Any]) -> Expr:
    below = map_children(expr, lambda child: everywhere(child, change))
    return change(below) if isinstance(below, VectorSelector | MatrixSelector | Subquery) else below


def tight_sign(real: Any, text: str) -> Expr:
    """Let a sign bind tighter than the power that it stands before."""

    def change(node: Expr) -> Expr:
        below = map_children(node, change)
        if isinstance(below, Unary) and isinstance(below.operand, Binary) and below.operand.operator == "^":
            return replace(below.operand, left=Unary(below.operand.left))
        return below

    return change(real(text))


def ends_exchanged(real: Any, expr: Expr, asked: TimeRange) -> Expr:
    ends = {"start": "end", "end": "start"}
    found: Expr = real(everywhere(expr, lambda node: replace(node, at=ends.get(node.at, node.at))), asked)
    return found


def without_moments(real: Any, expr: Expr, asked: TimeRange) -> Expr:
    found: Expr = real(everywhere(expr, lambda node: replace(node, at=None)), asked)
    return found


def without_subquery_offset(real: Any, expr: Expr, asked: TimeRange) -> Expr:
    def change(node: Any) -> Any:
        return replace(node, offset_ms=0) if isinstance(node, Subquery) else node

    found: Expr = real(everywhere(expr, change), asked)
    return found

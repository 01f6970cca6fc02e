"""When things are seen: `@`, offsets and the steps of subqueries.

Rule: `resolve` is applied once, before anything is split or evaluated: `start()`, `end()`, `range()` and `step()`, also
after `@`, are those of the range that was *asked*, also for a leaf that is evaluated on another one. The grid of a
subquery is found here alone, so that the planner and the engine never differ in it.
Source: Prometheus documentation, "Querying basics / @ modifier, subquery".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from federation_core.query import TimeRange
from federation_core.signals.metrics.expr import (
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    Subquery,
    VectorSelector,
    children,
    map_children,
    selectors,
)
from federation_core.signals.metrics.frame import Grid

#: The step of a subquery that names none; Prometheus' default evaluation interval.
DEFAULT_STEP_MS = 60_000


#: Functions that look at the time of the step.
_OF_THE_STEP = frozenset(
    {"time", "timestamp", "predict_linear", "year", "month", "day_of_month", "day_of_week", "day_of_year"}
    | {"days_in_month", "hour", "minute"}
)
#: Functions that say what was asked, in seconds; `resolve` puts their values in.
ASKED: Mapping[str, Callable[[TimeRange], int]] = {
    "start": lambda asked: asked.first_ms,
    "end": lambda asked: asked.end_ms,
    "range": lambda asked: asked.end_ms - asked.first_ms,
    "step": lambda asked: asked.step_ms,
}


def resolve(expr: Expr, asked: TimeRange) -> Expr:
    """Return the expression with every moment in ms, and what depends on the asked range, written out."""
    resolved = map_children(expr, lambda child: resolve(child, asked))
    if isinstance(resolved, Call) and resolved.function in ASKED:
        return NumberLiteral(ASKED[resolved.function](asked) / 1000)
    if isinstance(resolved, VectorSelector | MatrixSelector | Subquery) and isinstance(resolved.at, str):
        resolved = replace(resolved, at=ASKED[resolved.at](asked))
    if isinstance(resolved, Subquery) and resolved.step_ms is None:
        resolved = replace(resolved, step_ms=DEFAULT_STEP_MS)
    return resolved


def moment_of(node: VectorSelector | MatrixSelector | Subquery) -> int | None:
    """Return the moment in ms that a resolved node is fixed to, if it is."""
    if isinstance(node.at, str):
        raise TypeError(f"@ {node.at}() was not resolved")
    return node.at


def seen_from(node: VectorSelector | MatrixSelector | Subquery, grid: Grid) -> tuple[int, int]:
    """Return the first and the last moment, in ms, at which a node looks: right edges of windows, offset included."""
    at_ms = moment_of(node)
    first_ms, last_ms = (grid.start_ms, grid.end_ms) if at_ms is None else (at_ms, at_ms)
    return first_ms - node.offset_ms, last_ms - node.offset_ms


def subquery_grid(node: Subquery, grid: Grid) -> Grid:
    """Return the steps at which a subquery's expression is evaluated: multiples of its step within all windows.

    It has no steps where no multiple lies in them.
    """
    if node.step_ms is None:
        raise TypeError("the step of a subquery was not resolved")
    first_ms, last_ms = seen_from(node, grid)
    start_ms = ((first_ms - node.window_ms) // node.step_ms + 1) * node.step_ms
    return Grid(start_ms, node.step_ms, max(0, (last_ms - start_ms) // node.step_ms + 1))


def is_pinned(expr: Expr) -> bool:
    """Tell whether an expression over series has one value, whatever step it is evaluated at."""
    return _pinned(expr) and any(True for _ in selectors(expr))


def _pinned(expr: Expr) -> bool:
    match expr:
        case VectorSelector() | MatrixSelector() | Subquery():
            return expr.at is not None
        case Call(function=function) if function in _OF_THE_STEP:
            return False
    return all(map(_pinned, children(expr)))


def on_grids(expr: Expr, grid: Grid) -> Iterator[tuple[Expr, Grid]]:
    """Yield every node of a resolved expression with the grid it is evaluated on, the outer ones first."""
    yield expr, grid
    inner = subquery_grid(expr, grid) if isinstance(expr, Subquery) else grid
    for child in children(expr):
        yield from on_grids(child, inner)

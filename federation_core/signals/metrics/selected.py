"""Plain selectors with their values at the steps of a grid, as a backend's own engine sees them, for our engine.

Rule: a backend that tells samples without stale markers cannot tell where a series ended; its engine can, so it is
asked for the values of selectors at the very steps that the evaluation looks at. Windows are made of raw samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from federation_core.labels import Selector
from federation_core.query import MAX_STEPS, TimeRange
from federation_core.signals.metrics.expr import Call, Expr, MatrixSelector, Subquery, VectorSelector, children
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.moments import moment_of, seen_from, subquery_grid
from federation_core.signals.metrics.run import SampleStore, Span, span_of


@dataclass(frozen=True, slots=True)
class Selection:
    """The values of a selector on a grid; `timestamps` asks for the times of the samples instead."""

    selector: Selector
    grid: Grid
    timestamps: bool = False

    def as_expr(self, selector: Selector) -> Expr:
        """Return what the backend evaluates, given the conditions it can decide."""
        node = VectorSelector(selector)
        return Call("timestamp", (node,)) if self.timestamps else node


def needs_of(expr: Expr, grid: Grid) -> Iterator[Selection | Span]:
    """Yield what a resolved expression needs: selectors on grids, and the raw samples of ranges."""
    if not grid.steps:
        return
    match expr:
        case VectorSelector():
            yield selection(expr, grid)
        case Call(function="timestamp", arguments=(VectorSelector() as node,)):
            yield selection(node, grid, timestamps=True)
        case MatrixSelector():
            yield span_of(expr, grid)
        case _:
            inner = subquery_grid(expr, grid) if isinstance(expr, Subquery) else grid
            for child in children(expr):
                yield from needs_of(child, inner)


def selection(node: VectorSelector, grid: Grid, *, timestamps: bool = False) -> Selection:
    """Return what a selector asks for when it is evaluated on a grid."""
    first_ms, _ = seen_from(node, grid)
    # What is fixed to a moment, or seen once, is an instant wherever it is asked from.
    once = grid.steps == 1 or moment_of(node) is not None
    return Selection(node.selector, Grid(first_ms, 0, 1) if once else replace(grid, start_ms=first_ms), timestamps)


def time_ranges(grid: Grid) -> list[TimeRange]:
    """Return the ranges to ask for, in order: more steps than one query may have are several."""
    if grid.is_instant:
        return [TimeRange(grid.start_ms, grid.start_ms)]
    firsts = range(0, grid.steps, MAX_STEPS)
    ends = [min(first + MAX_STEPS, grid.steps) - 1 for first in firsts]
    at = [grid.start_ms + step * grid.step_ms for step in (*firsts, *ends)]
    return [TimeRange(a, b, grid.step_ms) for a, b in zip(at[: len(ends)], at[len(ends) :], strict=True)]


def put_together(frames: list[Frame], grid: Grid) -> Frame:
    """Return the frame on a grid out of those on its parts, in order."""
    if len(frames) == 1:
        return frames[0]
    rows = {labels: row for row, labels in enumerate(dict.fromkeys(ls for frame in frames for ls in frame.labels))}
    values = np.full((len(rows), grid.steps), np.nan)
    present = np.zeros(values.shape, dtype=np.bool_)
    first = 0
    for frame in frames:
        at = np.array([rows[labels] for labels in frame.labels], dtype=np.int64)
        values[at, first : first + frame.grid.steps] = frame.values
        present[at, first : first + frame.grid.steps] = frame.present
        first += frame.grid.steps
    return Frame(tuple(rows), grid, values, present)


@dataclass(frozen=True, slots=True)
class SelectedStore(SampleStore):
    """The source of an evaluation whose instant vectors a backend's engine has selected."""

    frames: Mapping[Selection, Frame] = field(default_factory=dict)

    def vector(self, node: VectorSelector, grid: Grid) -> Frame:
        """Return the instant vector of a selector on the grid."""
        return self._seen(selection(node, grid), grid)

    def timestamps(self, node: VectorSelector, grid: Grid) -> Frame:
        """Return the times, in seconds, of the samples of that instant vector."""
        return self._seen(selection(node, grid, timestamps=True), grid)

    def _seen(self, wanted: Selection, grid: Grid) -> Frame:
        frame = self.frames[wanted]
        shape = (frame.series_count, grid.steps)
        values, present = np.broadcast_to(frame.values, shape), np.broadcast_to(frame.present, shape)
        return Frame(frame.labels, grid, values, present)

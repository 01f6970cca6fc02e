"""What is asked of a backend that keeps its samples for a while.

Rule: a value is made of all the samples that it looks at or not at all: a sum over a window that lacks its older half
is a wrong number, not an old one, and so is a ratio whose two sides are of different clusters. So a cluster takes part
in the steps of a query at which none of its leaves looks at anything older than it keeps (lookback, windows, offsets,
`@` and subqueries included), with all of its leaves, and in the others with none. As steps go on they only ever look
further ahead, so the first of them is found by halving.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace

from federation_core.plan import Leaf
from federation_core.query import Query, TimeRange
from federation_core.signals import Kept
from federation_core.signals.metrics.distribute import leaf_id_of
from federation_core.signals.metrics.expr import Expr, MatrixSelector, VectorSelector
from federation_core.signals.metrics.frame import Grid
from federation_core.signals.metrics.moments import on_grids, seen_from
from federation_core.signals.metrics.parse import parse_root
from federation_core.signals.metrics.printer import to_text
from federation_core.signals.metrics.run import Span, spans_of, tree_of


def keep(root: str, query: Query, leaves: Sequence[Leaf], oldest_ms: int) -> Kept:
    """Return what to ask of a cluster that has nothing older: its leaves, as later steps of the query look at them."""
    expr, grid = parse_root(root), Grid.of(query.time_range)
    trees = {leaf.id: tree_of(leaf) for leaf in leaves}
    if _looks_from(expr, grid, trees) >= oldest_ms:
        return Kept(tuple(leaves), grid.start_ms)
    if isinstance(expr, MatrixSelector):
        # Samples that are themselves the answer are shown as far back as they go.
        newer = tuple(_newer(leaf, trees[leaf.id], oldest_ms) for leaf in leaves if leaf.time_range.end_ms > oldest_ms)
        return Kept(newer, grid.start_ms if newer else None)

    def is_whole(step: int) -> bool:
        return _looks_from(expr, Grid(grid.start_ms + step * grid.step_ms, 0, 1), trees) >= oldest_ms

    first = bisect_left(range(grid.steps), True, key=is_whole)
    if first == grid.steps:
        return Kept((), None)
    later = steps_from(grid, grid.start_ms + first * grid.step_ms)
    grids, spans = grids_of(expr, later), _samples_of(expr, later)
    asked = [_on(leaf, grids[leaf.id]) for leaf in leaves if leaf.id in grids]
    asked += [_newer(leaf, trees[leaf.id], spans[leaf.id].start_ms) for leaf in leaves if leaf.id in spans]
    return Kept(tuple(sorted(asked, key=lambda leaf: [*trees].index(leaf.id))), later.start_ms)


def steps_from(grid: Grid, from_ms: int) -> Grid:
    """Return the steps of a grid from a moment on; there are some."""
    left_out = 0 if grid.is_instant else max(0, -(-(from_ms - grid.start_ms) // grid.step_ms))
    return Grid(grid.start_ms + left_out * grid.step_ms, grid.step_ms, grid.steps - left_out)


def grids_of(root: Expr, grid: Grid) -> dict[str, Grid]:
    """Return leaf id → the steps at which a root on a grid looks at the values of that leaf."""
    found: dict[str, Grid] = {}
    for node, seen in on_grids(root, grid):
        if isinstance(node, VectorSelector) and seen.steps:
            # Who looks at one leaf from several places does so up to one end, but maybe from different beginnings.
            leaf = leaf_id_of(node)
            found[leaf] = max(found.get(leaf, seen), seen, key=lambda grid: grid.steps)
    return found


def _samples_of(root: Expr, grid: Grid) -> dict[str, Span]:
    """Return leaf id → the samples of that leaf that a root on a grid looks at."""
    found: dict[str, Span] = {}
    for node, seen in on_grids(root, grid):
        if isinstance(node, MatrixSelector) and seen.steps:
            leaf, span = leaf_id_of(node), _span(node, seen)
            found[leaf] = min(found.get(leaf, span), span, key=lambda span: span.start_ms)
    return found


def _span(node: MatrixSelector, seen: Grid) -> Span:
    first_ms, last_ms = seen_from(node, seen)
    return Span(node.selector, first_ms - node.window_ms, last_ms)


def _looks_from(root: Expr, grid: Grid, trees: Mapping[str, Expr]) -> int:
    """Return the oldest moment of a cluster's samples that a root on a grid looks at, through leaves that are asked."""
    values = ((trees[leaf], seen) for leaf, seen in grids_of(root, grid).items() if leaf in trees)
    found = [span.start_ms for tree, seen in values for span in spans_of(tree, seen)]
    found += [span.start_ms for leaf, span in _samples_of(root, grid).items() if leaf in trees]
    return min(found, default=grid.start_ms)


def _on(leaf: Leaf, grid: Grid) -> Leaf:
    return replace(leaf, time_range=TimeRange(grid.start_ms, grid.end_ms, grid.step_ms))


def _newer(leaf: Leaf, tree: Expr, start_ms: int) -> Leaf:
    assert isinstance(tree, MatrixSelector)
    return replace(leaf, text=to_text(replace(tree, window_ms=leaf.time_range.end_ms - start_ms)))

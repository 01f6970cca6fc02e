"""The root: unites the clusters' leaves and evaluates what is left of the query over them.

Rule: clusters are taken in order of name, so the same parts give the same bits in whatever order they came. A leaf's
values are exact values of the grid's steps: no lookback is applied to them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from federation_core.errors import Malformed
from federation_core.query import Query
from federation_core.signals import ROOM, Room
from federation_core.signals.metrics.cluster_label import attach
from federation_core.signals.metrics.distribute import leaf_id_of
from federation_core.signals.metrics.evaluate import evaluate
from federation_core.signals.metrics.expr import (
    Aggregate,
    Call,
    Expr,
    MatrixSelector,
    VectorSelector,
    selectors,
)
from federation_core.signals.metrics.frame import Frame, Grid, Payload, SampleColumns
from federation_core.signals.metrics.moments import moment_of, on_grids
from federation_core.signals.metrics.parse import parse, parse_root
from federation_core.signals.metrics.run import payload_of
from federation_core.signals.metrics.session import require_room
from federation_core.signals.metrics.undecided import NOTHING, Undecided
from federation_core.signals.metrics.windows import Windows, windows_of
from federation_core.tenancy import Limits

P = TypeVar("P", Frame, SampleColumns)


#: What orders an instant's answer, if nothing is done with it afterwards.
_RANKINGS = frozenset({"topk", "bottomk"})
_SORTING = frozenset({"sort", "sort_desc", "sort_by_label", "sort_by_label_desc"})


@dataclass(frozen=True, slots=True)
class LeafSource:
    """Gives a root its leaves: each reference stands for the union of what the clusters sent."""

    frames: Mapping[str, Frame]
    samples: Mapping[str, SampleColumns]
    limits: Limits

    def vector(self, node: VectorSelector, grid: Grid) -> Frame:
        """Return the united frame of a leaf."""
        return Frame.empty(grid) if node == NOTHING else self.frames[leaf_id_of(node)]

    def timestamps(self, node: VectorSelector, grid: Grid) -> Frame:
        """Return the time of the step wherever a leaf has a value.

        The times of samples are read inside the clusters: a leaf under `timestamp` in a root was no selector.
        """
        leaf = self.vector(node, grid)
        return replace(leaf, values=np.broadcast_to(grid.times_ms / 1000, leaf.values.shape))

    def windows(self, node: MatrixSelector, grid: Grid) -> Windows:
        """Return the windows over the united samples of a leaf.

        Raises QueryTooLarge: a fine step over a long time makes many windows out of few samples.
        """
        columns = self.samples[leaf_id_of(node)]
        require_room(columns.series_count * grid.steps, self.limits.max_values)
        return windows_of(columns, grid, node.window_ms, node.offset_ms, moment_of(node))


def merge(
    root: str,
    query: Query,
    parts: Mapping[str, Mapping[str, Any]],
    silent: Mapping[str, frozenset[str]],
    room: Room = ROOM,
) -> tuple[Payload, tuple[str, ...]]:
    """Answer a query from cluster → leaf id → payload.

    `silent` clusters change what makes a sample out of a missing series, see `undecided`; all else has a value over the
    clusters that answered, and the coverage ledger says who is missing.

    Raises QueryExecutionError, QueryTooLarge, MergeConflict; Malformed: a part is not what its leaf asked for.
    """
    expr, grid = parse_root(root), Grid.of(query.time_range)
    source = _united(expr, grid, parts, room)
    payload, said = _evaluated(expr, grid, source, room)
    undecided = Undecided(_silence(expr, silent))
    if (certain := undecided.without(expr)) != expr:
        decided, said_then = _evaluated(certain, grid, source, room)
        if undecided.is_nested or not _same(payload, decided):
            payload, said = decided, (*undecided.said, *said_then)
    ranked = grid.is_instant and _is_ranking(parse(query.text))
    return (payload if ranked else payload.sorted_by_labels()), said


def _evaluated(expr: Expr, grid: Grid, source: LeafSource, room: Room) -> tuple[Payload, tuple[str, ...]]:
    value, said = evaluate(expr, grid, source, max_values=room.limits.max_values, check=room.check)
    return payload_of(value.pruned() if isinstance(value, Frame) else value, grid), said


def _same(left: Payload, right: Payload) -> bool:
    if not isinstance(left, Frame) or not isinstance(right, Frame):
        return left == right
    return (
        left.labels == right.labels
        and np.array_equal(left.present, right.present)
        and np.array_equal(left.values[left.present], right.values[right.present], equal_nan=True)
    )


def _is_ranking(asked: Expr) -> bool:
    """Tell whether the instant answer is in an order of its own, also where the clusters made it, not by label set."""
    match asked:
        case Aggregate(operator=operator):
            return operator in _RANKINGS
        case Call(function=function):
            return function in _SORTING
    return False


def _united(expr: Expr, grid: Grid, parts: Mapping[str, Mapping[str, Any]], room: Room) -> LeafSource:
    _require_room(parts, room.limits)
    frames: dict[str, Frame] = {}
    samples: dict[str, SampleColumns] = {}
    for node, seen in on_grids(expr, grid):
        match node:
            case MatrixSelector():
                samples[leaf_id_of(node)] = unite_samples(_parts_of(leaf_id_of(node), parts, SampleColumns))
            case VectorSelector():
                frames[leaf_id_of(node)] = unite_frames(_parts_of(leaf_id_of(node), parts, Frame), seen)
    return LeafSource(frames, samples, room.limits)


def _require_room(parts: Mapping[str, Mapping[str, Any]], limits: Limits) -> None:
    """Raise QueryTooLarge if all clusters together have sent more than one evaluation may hold."""
    frames = [part for sent in parts.values() for part in sent.values() if isinstance(part, Frame)]
    require_room(sum(frame.values.size for frame in frames), limits.max_values)


def _silence(expr: Expr, silent: Mapping[str, frozenset[str]]) -> dict[str, tuple[str, ...]]:
    """Return leaf id → the clusters that have not answered it."""
    return {
        leaf: tuple(name for name, missing in silent.items() if leaf in missing)
        for leaf in map(leaf_id_of, selectors(expr))
    }


def _parts_of(leaf_id: str, parts: Mapping[str, Mapping[str, Any]], kind: type[P]) -> dict[str, P]:
    found = {}
    for cluster in sorted(parts):
        # Where a cluster's share of a leaf folds away, it was not asked for it.
        if leaf_id not in parts[cluster]:
            continue
        payload = parts[cluster][leaf_id]
        if not isinstance(payload, kind):
            raise Malformed(f"leaf {leaf_id} came as {type(payload).__name__}", cluster=cluster)
        found[cluster] = payload
    return found


def unite_frames(parts: Mapping[str, Frame], grid: Grid) -> Frame:
    """Return the union of the clusters' frames, each series with its cluster.

    Raises Malformed: a frame is on another grid. MergeConflict: see `attach`.
    """
    frames = []
    for cluster, frame in parts.items():
        if frame.grid != grid or frame.kind != "vector":
            raise Malformed(f"a leaf was answered by a {frame.kind} on {frame.grid}, not on {grid}", cluster=cluster)
        frames.append(replace(frame, labels=attach(frame.labels, cluster)))
    if not frames:
        return Frame.empty(grid)
    return Frame(
        tuple(labels for frame in frames for labels in frame.labels),
        grid,
        np.concatenate([frame.values for frame in frames]),
        np.concatenate([frame.present for frame in frames]),
    )


def unite_samples(parts: Mapping[str, SampleColumns]) -> SampleColumns:
    """Return the clusters' raw samples together, each series with its cluster, in order of label set.

    Raises MergeConflict: see `attach`.
    """
    series = [
        (labels, columns.t_ms[start:end], columns.values[start:end])
        for cluster, columns in parts.items()
        for labels, start, end in zip(
            attach(columns.labels, cluster), columns.offsets.tolist(), columns.offsets[1:].tolist(), strict=False
        )
    ]
    return SampleColumns.of(sorted(series, key=lambda row: row[0]))

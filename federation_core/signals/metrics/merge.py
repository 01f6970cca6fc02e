"""The root: unites the clusters' leaves and evaluates what is left of the query over them.

Rule: clusters are taken in order of name, so the same parts give the same bits in whatever order they came. A leaf's
values are exact values of the grid's steps: no lookback is applied to them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from federation_core.errors import Malformed
from federation_core.query import Query
from federation_core.signals import ROOM, Room, Silence
from federation_core.signals.metrics.cluster_label import attach
from federation_core.signals.metrics.decided import decided, joined, stretches
from federation_core.signals.metrics.distribute import leaf_id_of
from federation_core.signals.metrics.evaluate import evaluate
from federation_core.signals.metrics.expr import (
    Aggregate,
    Call,
    Expr,
    MatrixSelector,
    VectorSelector,
)
from federation_core.signals.metrics.frame import Frame, Grid, Payload, SampleColumns
from federation_core.signals.metrics.kept import grids_of, steps_from
from federation_core.signals.metrics.moments import moment_of, on_grids
from federation_core.signals.metrics.parse import parse, parse_root
from federation_core.signals.metrics.run import payload_of
from federation_core.signals.metrics.session import require_room
from federation_core.signals.metrics.undecided import NOTHING
from federation_core.signals.metrics.windows import Windows, windows_of
from federation_core.tenancy import Limits

P = TypeVar("P", Frame, SampleColumns)


#: Every cluster was asked for all steps.
_NOBODY: Mapping[str, Grid] = {}
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
    silent: Silence,
    room: Room = ROOM,
) -> tuple[Payload, tuple[str, ...]]:
    """Answer a query from cluster → leaf id → payload.

    `silent` clusters change what makes a sample out of a missing series, see `decided`; all else has a value over the
    clusters that answered, and the coverage ledger says who is missing.

    Raises QueryExecutionError, QueryTooLarge, MergeConflict; Malformed: a part is not what its leaf asked for.
    """
    expr, grid = parse_root(root), Grid.of(query.time_range)
    _require_room(parts, room.limits)
    late = {
        name: grids_of(expr, steps_from(grid, told.until_ms))
        for name, told in silent.items()
        if told.until_ms is not None
    }
    found: list[Payload] = []
    said: dict[str, None] = {}
    for stretch in stretches(expr, grid, silent):
        there = {name: sent for name, sent in parts.items() if name not in stretch.without}
        source = _united(expr, grid, there, late, room.limits)
        payload, words = decided(expr, stretch, partial(_evaluated, grid=grid, source=source, room=room))
        found.append(payload)
        said |= dict.fromkeys(words)
    payload = joined(found, grid)
    ranked = grid.is_instant and _is_ranking(parse(query.text))
    return (payload if ranked else payload.sorted_by_labels()), tuple(said)


def _evaluated(expr: Expr, grid: Grid, source: LeafSource, room: Room) -> tuple[Payload, tuple[str, ...]]:
    value, said = evaluate(expr, grid, source, max_values=room.limits.max_values, check=room.check)
    return payload_of(value.pruned() if isinstance(value, Frame) else value, grid), said


def _is_ranking(asked: Expr) -> bool:
    """Tell whether the instant answer is in an order of its own, also where the clusters made it, not by label set."""
    match asked:
        case Aggregate(operator=operator):
            return operator in _RANKINGS
        case Call(function=function):
            return function in _SORTING
    return False


def _united(
    expr: Expr,
    grid: Grid,
    parts: Mapping[str, Mapping[str, Any]],
    late: Mapping[str, Mapping[str, Grid]],
    limits: Limits,
) -> LeafSource:
    """Return the leaves; `late` is cluster → leaf id → the steps that it was asked for, where these are not all."""
    frames: dict[str, Frame] = {}
    samples: dict[str, SampleColumns] = {}
    for node, seen in on_grids(expr, grid):
        match node:
            case MatrixSelector():
                samples[leaf_id_of(node)] = unite_samples(_parts_of(leaf_id_of(node), parts, SampleColumns))
            case VectorSelector():
                leaf = leaf_id_of(node)
                asked = {name: grids[leaf] for name, grids in late.items() if leaf in grids}
                frames[leaf] = unite_frames(_parts_of(leaf, parts, Frame), seen, asked)
    return LeafSource(frames, samples, limits)


def _require_room(parts: Mapping[str, Mapping[str, Any]], limits: Limits) -> None:
    """Raise QueryTooLarge if all clusters together have sent more than one evaluation may hold."""
    frames = [part for sent in parts.values() for part in sent.values() if isinstance(part, Frame)]
    require_room(sum(frame.values.size for frame in frames), limits.max_values)


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


def unite_frames(parts: Mapping[str, Frame], grid: Grid, late: Mapping[str, Grid] = _NOBODY) -> Frame:
    """Return the union of the clusters' frames, each series with its cluster; those in `late` have later steps alone.

    Raises Malformed: a frame is on another grid. MergeConflict: see `attach`.
    """
    frames = []
    for cluster, frame in parts.items():
        asked = late.get(cluster, grid)
        if frame.grid != asked or frame.kind != "vector":
            raise Malformed(f"a leaf was answered by a {frame.kind} on {frame.grid}, not on {asked}", cluster=cluster)
        frames.append(replace(_on_all(frame, grid), labels=attach(frame.labels, cluster)))
    if not frames:
        return Frame.empty(grid)
    return Frame(
        tuple(labels for frame in frames for labels in frame.labels),
        grid,
        np.concatenate([frame.values for frame in frames]),
        np.concatenate([frame.present for frame in frames]),
    )


def _on_all(frame: Frame, grid: Grid) -> Frame:
    """Return a frame on the later steps of a grid as one on all of them, with nothing before."""
    missing = grid.steps - frame.grid.steps
    if not missing:
        return frame
    values, present = (
        np.full((frame.series_count, grid.steps), np.nan),
        np.zeros((frame.series_count, grid.steps), bool),
    )
    values[:, missing:], present[:, missing:] = frame.values, frame.present
    return replace(frame, grid=grid, values=values, present=present)


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

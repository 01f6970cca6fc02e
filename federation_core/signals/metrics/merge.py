"""The root: unites the clusters' leaves and evaluates what is left of the query over them.

Rule: clusters are taken in order of name, so the same parts give the same bits in whatever order they came. A leaf's
values are exact values of the grid's steps: no lookback is applied to them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from federation_core.errors import Malformed
from federation_core.query import Query
from federation_core.signals.metrics.aggregate import SELECTIONS
from federation_core.signals.metrics.cluster_label import attach
from federation_core.signals.metrics.distribute import leaf_ids
from federation_core.signals.metrics.evaluate import evaluate
from federation_core.signals.metrics.expr import Aggregate, Expr, MatrixSelector, VectorSelector
from federation_core.signals.metrics.frame import Frame, Grid, Payload, SampleColumns
from federation_core.signals.metrics.parse import parse, parse_root
from federation_core.signals.metrics.windows import Windows

P = TypeVar("P", Frame, SampleColumns)


@dataclass(frozen=True, slots=True)
class LeafSource:
    """Gives a root its leaves: each reference stands for the union of what the clusters sent."""

    leaves: Mapping[Expr, Frame]

    def vector(self, node: VectorSelector, grid: Grid) -> Frame:
        """Return the united frame of a leaf."""
        return self.leaves[node]

    def timestamps(self, node: VectorSelector, grid: Grid) -> Frame:
        """A root has no samples: timestamps are read inside the clusters."""
        raise TypeError("a root cannot look at raw samples")

    def windows(self, node: MatrixSelector, grid: Grid) -> Windows:
        """A root has no windows: ranges are evaluated inside the clusters."""
        raise TypeError("a root cannot look at raw samples")


def merge(
    root: str, query: Query, parts: Mapping[str, Mapping[str, Any]], silent: Sequence[str]
) -> tuple[Payload, tuple[str, ...]]:
    """Answer a query from cluster → leaf id → payload.

    `silent` clusters change nothing here: every construct of this subset has a value over the clusters that
    answered, and the coverage ledger says who is missing.

    Raises QueryExecutionError, MergeConflict; Malformed: a part is not what its leaf asked for.
    """
    expr, grid = parse_root(root), Grid.of(query.time_range)
    ids = leaf_ids(expr)
    if isinstance(expr, MatrixSelector):
        return unite_samples(_parts_of(next(iter(ids.values())), parts, SampleColumns)), ()
    leaves = {node: unite_frames(_parts_of(leaf_id, parts, Frame), grid) for node, leaf_id in ids.items()}
    frame, warnings = evaluate(expr, grid, LeafSource(leaves))
    assert isinstance(frame, Frame)
    frame = frame.pruned()
    # The instant answer of topk and bottomk is a ranking, also where the clusters made it; every other answer is listed
    # by label set.
    asked = parse(query.text)
    ranked = grid.is_instant and isinstance(asked, Aggregate) and asked.operator in SELECTIONS
    return (frame if ranked else frame.sorted_by_labels()), warnings


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

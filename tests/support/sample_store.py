"""A metrics connector over samples held in memory: the smallest backend that keeps the contract.

It answers a matrix selector from lists of (labels, times, values), stale markers included, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from federation_core.connectors import Fetched
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.labels import Labels
from federation_core.plan import Leaf, Shard
from federation_core.query import Deadline, Query, TimeRange
from federation_core.signals.metrics import KIND
from federation_core.signals.metrics.expr import MatrixSelector
from federation_core.signals.metrics.frame import Frame, Grid, Payload, SampleColumns
from federation_core.signals.metrics.moments import resolve
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.run import SampleStore, spans_of
from federation_core.tenancy import Limits, Scope

STALE = np.uint64(0x7FF0000000000002).view(np.float64)
FAR_DEADLINE = Deadline(10**15)

Series = tuple[Labels, Sequence[int], Sequence[float]]


@dataclass
class MemoryConnector:
    """Answers matrix selectors from memory and remembers what it was asked."""

    series: Sequence[Series]
    kind: str = "memory"
    pushes_down: frozenset[str] = frozenset()
    asked: list[Leaf] = field(default_factory=list)

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        self.asked.append(leaf)
        node = parse(leaf.text)
        assert isinstance(node, MatrixSelector)
        end_ms = leaf.time_range.end_ms
        found = []
        for labels, times, values in self.series:
            if node.selector.matches(labels):
                t = np.asarray(times, dtype=np.int64)
                inside = (t > end_ms - node.window_ms) & (t <= end_ms)
                if inside.any():
                    found.append((labels, t[inside], np.asarray(values, dtype=np.float64)[inside]))
        return Fetched(SampleColumns.of(found), watermark_ms=end_ms)

    def inventory(self, deadline: Deadline) -> Inventory:
        return Inventory()

    def ping(self, deadline: Deadline) -> None:
        return None

    def about(self, deadline: Deadline) -> About:
        return About()


def labels(text: str) -> Labels:
    """Read `name{a="1"}` as a label set."""
    node = parse(text)
    return Labels.of([(m.label, m.value) for m in node.selector.matchers])  # type: ignore[union-attr]


def series(text: str, points: Iterable[tuple[int, float]]) -> Series:
    """Build a series from `name{a="1"}` and (time in ms, value) pairs."""
    rows = list(points)
    return labels(text), [t for t, _ in rows], [v for _, v in rows]


def every(step_ms: int, values: Iterable[float | None], start_ms: int = 0) -> list[tuple[int, float]]:
    """Space values evenly; None is a gap."""
    return [(start_ms + i * step_ms, v) for i, v in enumerate(values) if v is not None]


def scope_of(clusters: Iterable[str], limits: Limits | None = None) -> Scope:
    return Scope("tenant", dict.fromkeys(clusters, ()), limits=limits or Limits())


def query_of(text: str, time_range: TimeRange) -> Query:
    return Query("metrics", text, time_range, "tenant")


def federate(
    text: str,
    stores: Mapping[str, Sequence[Series]],
    time_range: TimeRange,
    order: Sequence[str] | None = None,
) -> tuple[Payload, tuple[str, ...]]:
    """Plan, run in every cluster, send over the wire, merge in the given order of arrival."""
    query = query_of(text, time_range)
    split = KIND.split(KIND.parse(text), query, sorted(stores))
    parts, said = {}, []
    for cluster in order or sorted(stores):
        if cluster not in split.leaves:
            continue
        shard = Shard("q", cluster, "metrics", split.leaves[cluster], scope_of([cluster]), FAR_DEADLINE.at_ms)
        fetched = KIND.run(MemoryConnector(stores[cluster]), shard, FAR_DEADLINE)
        said += [warning for f in fetched.values() for warning in f.warnings]
        parts[cluster] = {leaf: KIND.decode(KIND.encode(f.payload)) for leaf, f in fetched.items()}
    payload, warnings = KIND.merge(split.root, query, parts, {})
    return payload, tuple(dict.fromkeys((*said, *warnings)))


def evaluate_one(text: str, store: Sequence[Series], time_range: TimeRange) -> Payload:
    """Evaluate over one store, with its own label `cluster`, as the one Prometheus that holds everything would."""
    return answer_one(text, store, time_range)[0].sorted_by_labels()


def answer_one(
    text: str,
    store: Sequence[Series],
    time_range: TimeRange,
    *,
    delayed_names: bool = False,
    limits: Limits | None = None,
) -> tuple[Payload, tuple[str, ...]]:
    """Evaluate over one store; return the answer in the engine's order, and its annotations."""
    expr, grid = resolve(parse(text), time_range), Grid.of(time_range)
    samples = SampleStore("one", limits or Limits())
    for span in spans_of(expr, grid):
        found = [row for row in store if span.selector.matches(row[0])]
        samples.keep(span, Fetched(SampleColumns.of(found).sorted_by_labels()))
    return samples.answer(expr, grid, delayed_names=delayed_names)


def as_dict(payload: Payload) -> dict[Labels, dict[int, float]]:
    """Return labels → time in ms → value of everything that is present."""
    if isinstance(payload, SampleColumns):
        spans = zip(payload.labels, payload.offsets.tolist(), payload.offsets[1:].tolist(), strict=False)
        return {
            row: dict(zip(payload.t_ms[a:b].tolist(), payload.values[a:b].tolist(), strict=True)) for row, a, b in spans
        }
    assert isinstance(payload, Frame)
    times = payload.grid.times_ms.tolist()
    return {
        row: {times[j]: float(payload.values[i, j]) for j in np.flatnonzero(payload.present[i]).tolist()}
        for i, row in enumerate(payload.labels)
    }

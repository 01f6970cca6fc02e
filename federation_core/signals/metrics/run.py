"""One cluster's share: fetch the raw samples its leaves need, evaluate the leaves beside the data.

Rule: each selector is fetched once for all leaves, over the one window that covers every step of the grid, so all
leaves see one snapshot. What is asked of a backend with its own PromQL engine is another matter (`rungs`). A limit
is an error that names it, never a cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from federation_core.connectors import Connector, Fetched
from federation_core.errors import Malformed, QueryTooLarge
from federation_core.labels import Selector
from federation_core.plan import Leaf, Shard
from federation_core.query import Deadline, TimeRange
from federation_core.signals.metrics.cluster_label import as_backend_has, labels_above
from federation_core.signals.metrics.evaluate import evaluate
from federation_core.signals.metrics.expr import Expr, MatrixSelector, VectorSelector, selectors
from federation_core.signals.metrics.frame import Frame, Grid, Payload, SampleColumns, StringValue
from federation_core.signals.metrics.moments import moment_of, on_grids, resolve, seen_from
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.printer import to_text
from federation_core.signals.metrics.windows import LOOKBACK_MS, Windows, latest, latest_times, windows_of
from federation_core.tenancy import Limits


def run(connector: Connector, shard: Shard, deadline: Deadline) -> dict[str, Fetched]:
    """Answer every leaf of a shard: leaf id → payload and what must be said with it.

    Raises FederationError: ClusterError from the connector, TimedOut, QueryTooLarge, QueryExecutionError.
    """
    trees = {leaf.id: tree_of(leaf) for leaf in shard.leaves}
    store = SampleStore(shard.cluster_name, shard.scope.limits, lambda: deadline.check_clock(shard.cluster_name))
    needed = {span for leaf in shard.leaves for span in spans_of(trees[leaf.id], Grid.of(leaf.time_range))}
    for span in joined(needed):
        deadline.check_clock(shard.cluster_name)
        asked = leaf_of(span, shard.cluster_name)
        fetched = Fetched(SampleColumns.empty()) if asked is None else connector.fetch(asked, shard.scope, deadline)
        store.keep(span, arrived(span, fetched, shard.cluster_name))
        store.require_within()
    return store.answers(shard, trees)


def tree_of(leaf: Leaf) -> Expr:
    """Return the resolved expression of a leaf."""
    # The planner has written moments out; a leaf that was written by hand may still name the ends of its range.
    return resolve(parse(leaf.text), leaf.time_range)


@dataclass(frozen=True, slots=True)
class Span:
    """The samples of one selector in (start_ms, end_ms]."""

    selector: Selector
    start_ms: int
    end_ms: int


def payload_of(value: Frame | Windows | str, grid: Grid) -> Payload:
    """Return what the engine found as the answer to a query."""
    match value:
        case Windows():
            return value.samples_at(0)
        case str():
            return StringValue(grid.end_ms, value)
    return value


def span_of(node: VectorSelector | MatrixSelector, grid: Grid) -> Span:
    """Return the samples that a selector needs for every step of a grid."""
    window_ms = node.window_ms if isinstance(node, MatrixSelector) else LOOKBACK_MS
    first_ms, last_ms = seen_from(node, grid)
    return Span(node.selector, first_ms - window_ms, last_ms)


def spans_of(expr: Expr, grid: Grid) -> set[Span]:
    """Return the samples that all selectors of a resolved expression need, each for the steps it is evaluated at."""
    return {
        span_of(node, seen)
        for node, seen in on_grids(expr, grid)
        if isinstance(node, VectorSelector | MatrixSelector) and seen.steps
    }


def joined(needed: Iterable[Span]) -> list[Span]:
    """Return what to fetch: one span per selector, or several where they lie apart (a long offset)."""
    spans: list[Span] = []
    for span in sorted(needed, key=lambda s: (s.selector.matchers, s.start_ms)):
        last = spans[-1] if spans else None
        if last and last.selector == span.selector and span.start_ms <= last.end_ms:
            spans[-1] = Span(span.selector, last.start_ms, max(last.end_ms, span.end_ms))
        else:
            spans.append(span)
    return spans


def leaf_of(span: Span, cluster: str) -> Leaf | None:
    """Return what a backend is asked for the samples of a span; None where its conditions reject the cluster."""
    selector = as_backend_has(span.selector, cluster)
    if selector is None:
        return None
    text = to_text(MatrixSelector(selector, span.end_ms - span.start_ms))
    return Leaf(f"raw:{text}", text, TimeRange(span.end_ms, span.end_ms))


def arrived(span: Span, fetched: Fetched, cluster: str) -> Fetched:
    """Turn the labels of a span's samples into those the rest of the federation knows.

    Raises Malformed: they are no samples, or not in order. MergeConflict: two series became one.
    """
    columns = fetched.payload
    if not isinstance(columns, SampleColumns):
        raise Malformed(f"the connector answered raw samples with {type(columns).__name__}", cluster=cluster)
    if not columns.in_order:
        raise Malformed("the connector answered samples that are not in order of time, or one twice", cluster=cluster)
    labels, rows = labels_above(span.selector, columns.labels, cluster)
    columns = columns.relabelled(labels)
    if rows is not None:
        columns = columns.take(rows)
    return Fetched(columns.sorted_by_labels(), fetched.warnings, fetched.truncated, fetched.watermark_ms)


def require_at_most(cluster: str, name: str, asked: int, allowed: int) -> None:
    """Raise QueryTooLarge if a query needs more of something in a cluster than the scope's `max_<name>`."""
    if asked > allowed:
        raise QueryTooLarge(
            f"the query needs {asked} {name} in cluster {cluster}, above {allowed}",
            limit=f"max_{name}",
            asked=asked,
            allowed=allowed,
        )


@dataclass(frozen=True, slots=True)
class SampleStore:
    """The raw samples of one shard, as the engine's source; `check` raises once the deadline has passed."""

    cluster: str
    limits: Limits = field(default_factory=Limits)
    check: Callable[[], None] = lambda: None
    fetched: dict[Span, Fetched] = field(default_factory=dict)
    #: The same samples without stale markers, for windows; made where needed.
    _clean: dict[Span, SampleColumns] = field(default_factory=dict)

    def keep(self, span: Span, fetched: Fetched) -> None:
        """Add the answer to one span."""
        self.fetched[span] = fetched

    def answer(
        self, expr: Expr, grid: Grid, *, delayed_names: bool = False, held: int = 0
    ) -> tuple[Payload, tuple[str, ...]]:
        """Return the value of a resolved expression over these samples, and its annotations.

        `held` values of other answers are held meanwhile.

        Raises QueryExecutionError, QueryTooLarge.
        """
        value, said = evaluate(
            expr,
            grid,
            self,
            max_values=self.limits.max_values,
            check=self.check,
            delayed_names=delayed_names,
            held=held,
        )
        return payload_of(value, grid), said

    def answers(self, shard: Shard, trees: Mapping[str, Expr]) -> dict[str, Fetched]:
        """Return the answers to those leaves of a shard of which there is a tree.

        Raises QueryExecutionError, QueryTooLarge, what `check` raises.
        """
        found, held = {}, 0
        for leaf in shard.leaves:
            if leaf.id in trees:
                self.check()
                payload, warnings = self.answer(trees[leaf.id], Grid.of(leaf.time_range), held=held)
                held += payload.values.size if isinstance(payload, Frame) else payload.sample_count
                found[leaf.id] = self.said_with(trees[leaf.id], payload, warnings)
        return found

    def require_within(self) -> None:
        """Raise QueryTooLarge if more was read than the scope allows."""
        payloads = [f.payload for f in self.fetched.values()]
        self._require("series", sum(p.series_count for p in payloads), self.limits.max_series)
        self._require("samples", sum(p.sample_count for p in payloads), self.limits.max_samples)

    def _require(self, name: str, asked: int, allowed: int) -> None:
        require_at_most(self.cluster, name, asked, allowed)

    def vector(self, node: VectorSelector, grid: Grid) -> Frame:
        """Return the instant vector of a selector on the grid.

        Raises QueryTooLarge: a fine step over a long time makes many values out of few samples.
        """
        return latest(self._columns(node, grid), grid, node.offset_ms, moment_of(node))

    def timestamps(self, node: VectorSelector, grid: Grid) -> Frame:
        """Return the times, in seconds, of the samples of that instant vector.

        Raises QueryTooLarge.
        """
        return latest_times(self._columns(node, grid), grid, node.offset_ms, moment_of(node))

    def windows(self, node: MatrixSelector, grid: Grid) -> Windows:
        """Return the windows of a matrix selector on the grid.

        Raises QueryTooLarge.
        """
        self._columns(node, grid)
        span = self._covering(node, grid)
        if span not in self._clean:
            self._clean[span] = self.fetched[span].payload.without_stale()
        return windows_of(self._clean[span], grid, node.window_ms, node.offset_ms, moment_of(node))

    def _columns(self, node: VectorSelector | MatrixSelector, grid: Grid) -> SampleColumns:
        columns: SampleColumns = self.fetched[self._covering(node, grid)].payload
        self._require("values", columns.series_count * grid.steps, self.limits.max_values)
        return columns

    def said_with(self, expr: Expr, payload: Payload, warnings: tuple[str, ...]) -> Fetched:
        """Return a leaf's payload with what was said about the samples it rests on."""
        wanted = {node.selector for node in selectors(expr)}
        used = [fetched for span, fetched in self.fetched.items() if span.selector in wanted]
        marks = [fetched.watermark_ms for fetched in used if fetched.watermark_ms is not None]
        return Fetched(
            payload,
            tuple(dict.fromkeys([*(w for fetched in used for w in fetched.warnings), *warnings])),
            "; ".join(sorted({fetched.truncated for fetched in used if fetched.truncated})),
            max(marks, default=None),
        )

    def _covering(self, node: VectorSelector | MatrixSelector, grid: Grid) -> Span:
        need = span_of(node, grid)
        return next(
            span
            for span in self.fetched
            if span.selector == need.selector and span.start_ms <= need.start_ms and need.end_ms <= span.end_ms
        )

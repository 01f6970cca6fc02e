"""One cluster's share: fetch the raw samples its leaves need, evaluate the leaves beside the data.

Rule: each selector is fetched once for all leaves, over the one window that covers every step of the grid, so all
leaves see one snapshot. A backend with its own PromQL engine (`pushes_down`) is given the leaves instead. A limit is
an error that names it, never a cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from federation_core.connectors import Connector, Fetched
from federation_core.errors import Malformed, QueryTooLarge
from federation_core.labels import CLUSTER, Selector
from federation_core.plan import Leaf, Shard
from federation_core.query import Deadline, TimeRange
from federation_core.signals.metrics.cluster_label import EXPORTED_CLUSTER, require_distinct, set_aside
from federation_core.signals.metrics.evaluate import evaluate
from federation_core.signals.metrics.expr import Expr, MatrixSelector, VectorSelector, selectors
from federation_core.signals.metrics.frame import Frame, Grid, Payload, SampleColumns, StringValue
from federation_core.signals.metrics.moments import moment_of, on_grids, resolve, seen_from
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.printer import to_text
from federation_core.signals.metrics.windows import LOOKBACK_MS, Windows, latest, latest_times, windows_of
from federation_core.tenancy import Limits

#: What a connector names in `pushes_down` if its backend evaluates PromQL itself.
PROMQL = "promql"


def run(connector: Connector, shard: Shard, deadline: Deadline) -> dict[str, Fetched]:
    """Answer every leaf of a shard: leaf id → payload and what must be said with it.

    Raises FederationError: ClusterError from the connector, TimedOut, QueryTooLarge, QueryExecutionError.
    """
    if PROMQL in connector.pushes_down:
        return {leaf.id: _pushed(connector, leaf, shard, deadline) for leaf in shard.leaves}
    trees = {leaf.id: _tree(leaf) for leaf in shard.leaves}
    store = SampleStore(shard.cluster_name, shard.scope.limits, lambda: deadline.check_clock(shard.cluster_name))
    for span in _spans(trees, shard.leaves):
        deadline.check_clock(shard.cluster_name)
        store.keep(span, _fetch(connector, span, shard, deadline))
        store.require_within()
    answers = {}
    for leaf in shard.leaves:
        deadline.check_clock(shard.cluster_name)
        payload, warnings = store.answer(trees[leaf.id], Grid.of(leaf.time_range))
        answers[leaf.id] = store.said_with(trees[leaf.id], payload, warnings)
    return answers


def _tree(leaf: Leaf) -> Expr:
    # The planner has written moments out; a leaf that was written by hand may still name the ends of its range.
    return resolve(parse(leaf.text), leaf.time_range)


def _pushed(connector: Connector, leaf: Leaf, shard: Shard, deadline: Deadline) -> Fetched:
    deadline.check_clock(shard.cluster_name)
    return connector.fetch(leaf, shard.scope, deadline)


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


def _spans(trees: Mapping[str, Expr], leaves: Iterable[Leaf]) -> list[Span]:
    """Return what to fetch: one span per selector, or several where they lie apart (a long offset)."""
    needed = {span for leaf in leaves for span in spans_of(trees[leaf.id], Grid.of(leaf.time_range))}
    joined: list[Span] = []
    for span in sorted(needed, key=lambda s: (s.selector.matchers, s.start_ms)):
        last = joined[-1] if joined else None
        if last and last.selector == span.selector and span.start_ms <= last.end_ms:
            joined[-1] = Span(span.selector, last.start_ms, max(last.end_ms, span.end_ms))
        else:
            joined.append(span)
    return joined


def _fetch(connector: Connector, span: Span, shard: Shard, deadline: Deadline) -> Fetched:
    """Fetch one span and turn its labels into those the rest of the federation knows."""
    cluster = shard.cluster_name
    on_cluster, selector = span.selector.split_label(CLUSTER)
    if not all(matcher.matches(cluster) for matcher in on_cluster):
        return Fetched(SampleColumns.empty())
    # The label is made here, out of the backend's own `cluster`, so its conditions are decided here too.
    on_exported, selector = selector.split_label(EXPORTED_CLUSTER)
    text = to_text(MatrixSelector(selector, span.end_ms - span.start_ms))
    leaf = Leaf(f"raw:{text}", text, TimeRange(span.end_ms, span.end_ms))
    fetched = connector.fetch(leaf, shard.scope, deadline)
    columns = fetched.payload
    if not isinstance(columns, SampleColumns):
        raise Malformed(f"the connector answered raw samples with {type(columns).__name__}", cluster=cluster)
    if not columns.in_order:
        raise Malformed("the connector answered samples that are not in order of time, or one twice", cluster=cluster)
    labels = tuple(set_aside(series, cluster) for series in columns.labels)
    require_distinct(labels, cluster)
    columns = columns.relabelled(labels)
    if on_exported:
        condition = Selector(on_exported)
        columns = columns.take([row for row, series in enumerate(labels) if condition.matches(series)])
    return Fetched(columns.sorted_by_labels(), fetched.warnings, fetched.truncated, fetched.watermark_ms)


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

    def answer(self, expr: Expr, grid: Grid, *, delayed_names: bool = False) -> tuple[Payload, tuple[str, ...]]:
        """Return the value of a resolved expression over these samples, and its annotations.

        Raises QueryExecutionError, QueryTooLarge.
        """
        value, said = evaluate(
            expr, grid, self, max_values=self.limits.max_values, check=self.check, delayed_names=delayed_names
        )
        return payload_of(value, grid), said

    def require_within(self) -> None:
        """Raise QueryTooLarge if more was read than the scope allows."""
        payloads = [f.payload for f in self.fetched.values()]
        self._require("series", sum(p.series_count for p in payloads), self.limits.max_series)
        self._require("samples", sum(p.sample_count for p in payloads), self.limits.max_samples)

    def _require(self, name: str, asked: int, allowed: int) -> None:
        if asked > allowed:
            raise QueryTooLarge(
                f"the query needs {asked} {name} in cluster {self.cluster}, above {allowed}",
                limit=f"max_{name}",
                asked=asked,
                allowed=allowed,
            )

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

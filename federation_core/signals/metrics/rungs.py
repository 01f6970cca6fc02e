"""One cluster's share where the backend has an engine: each leaf on the highest rung that answers it exactly.

Ground rule: correctness outranks speed. The rungs: the backend's own engine, given whole leaves; our engine beside it,
on plain selectors at the steps and raw samples of ranges; our engine on raw samples alone. A leaf is given to the
backend if its engine is Prometheus' own, knows all the leaf uses, and meets no label `cluster` of the backend's that
would have to be moved aside first. An engine that cannot read what it should know leaves the next rung.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, runtime_checkable

from federation_core.connectors import Connector, Fetched
from federation_core.errors import Malformed
from federation_core.inventory import Inventory
from federation_core.labels import CLUSTER, Selector
from federation_core.plan import Leaf, Shard
from federation_core.query import Deadline, TimeRange
from federation_core.signals.metrics.cluster_label import as_backend_has, is_made_here, labels_above
from federation_core.signals.metrics.dialect import Dialect, labels_of
from federation_core.signals.metrics.expr import Expr, MatrixSelector
from federation_core.signals.metrics.frame import Frame, Grid, SampleColumns
from federation_core.signals.metrics.localise import as_labelled_backend_sees
from federation_core.signals.metrics.printer import to_text
from federation_core.signals.metrics.replicas import NO_REPLICAS, Replicas, UnitedStore
from federation_core.signals.metrics.run import (
    SampleStore,
    Span,
    arrived,
    joined,
    leaf_of,
    require_at_most,
    spans_of,
    tree_of,
)
from federation_core.signals.metrics.run import run as run_beside
from federation_core.signals.metrics.selected import SelectedStore, Selection, needs_of, put_together, time_ranges
from federation_core.signals.metrics.tagged import tag, tag_for, untag
from federation_core.tenancy import Scope

#: What a connector names in `pushes_down` if its backend evaluates PromQL itself.
PROMQL = "promql"

#: A question about the series of some selectors in a span of time.
_Look: TypeAlias = Callable[[Sequence[Selector], int, int, Deadline], bool]


@runtime_checkable
class Engine(Protocol):
    """A connector to a backend that evaluates PromQL itself."""

    kind: str
    pushes_down: frozenset[str]

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        """Answer one leaf, as every connector does; one that is no matrix selector with a Frame on its grid."""
        ...

    def fetch_all(self, leaves: Sequence[Leaf], scope: Scope, deadline: Deadline) -> list[Fetched]:
        """Answer several leaves at once, in their order."""
        ...

    def dialect(self, deadline: Deadline) -> Dialect:
        """Return what the engine is, as far as it may be used."""
        ...

    def is_cluster_free(self, asked: Sequence[Selector], start_ms: int, end_ms: int, deadline: Deadline) -> bool:
        """Tell whether no series has a label `cluster`, or every one has it with the cluster's own name."""
        ...

    def inventory(self, deadline: Deadline) -> Inventory:
        """List what the backend holds."""
        ...

    def ping(self, deadline: Deadline) -> None:
        """Return if the backend can answer."""
        ...


@runtime_checkable
class Replicated(Protocol):
    """A connector to a backend in which replicas of one scraper have put their samples side by side."""

    #: What tells the replicas apart.
    replica_labels: tuple[str, ...]

    def are_replicas_free(self, asked: Sequence[Selector], start_ms: int, end_ms: int, deadline: Deadline) -> bool:
        """Tell whether no series has a label of `replica_labels`."""
        ...


def run(connector: Connector, shard: Shard, deadline: Deadline) -> dict[str, Fetched]:
    """Answer every leaf of a shard: leaf id → payload and what must be said with it.

    Raises FederationError: ClusterError from the connector, QueryTooLarge, QueryExecutionError, MergeConflict.
    """
    if not isinstance(connector, Engine):
        if PROMQL in connector.pushes_down:
            # Beside it samples would be asked for of which it does not tell where their series ended.
            raise TypeError(f"a {connector.kind} connector pushes down and is no Engine")
        return run_beside(connector, shard, deadline)
    deadline.check_clock(shard.cluster_name)
    dialect = connector.dialect(deadline)
    trees = {leaf.id: tree_of(leaf) for leaf in shard.leaves}
    share = _with_replicas(_Share(connector, shard, deadline, dialect, trees))
    pushed = share.pushable()
    try:
        return share.answer(pushed)
    except Malformed:
        # An engine that does not read what its version should is no reason to fail while there is another rung.
        if not pushed:
            raise
    return share.answer({})


def given_to(dialect: Dialect, tree: Expr) -> Expr | None:
    """Return what an engine is given to evaluate of a resolved leaf, in its spelling; None where it is not given it."""
    trusted = dialect.exact or dialect.approximate
    if not trusted or isinstance(tree, MatrixSelector) or _names_cluster(tree):
        return None
    return dialect.spelled(as_labelled_backend_sees(tree))


@dataclass(frozen=True, slots=True)
class _Share:
    """One shard while it is answered; `trees` are its leaves, resolved, `replicas` those that its series have."""

    engine: Engine
    shard: Shard
    deadline: Deadline
    dialect: Dialect
    trees: Mapping[str, Expr]
    replicas: Replicas = NO_REPLICAS

    @property
    def cluster(self) -> str:
        return self.shard.cluster_name

    def pushable(self) -> dict[str, Expr]:
        """Return the leaves for the backend's engine, in its spelling."""
        if self.replicas.names:
            return {}
        spelled = {leaf_id: given_to(self.dialect, tree) for leaf_id, tree in self.trees.items()}
        found = {leaf_id: tree for leaf_id, tree in spelled.items() if tree is not None}
        return found if self._is_cluster_free(found) else {}

    def _is_cluster_free(self, pushed: Mapping[str, Expr]) -> bool:
        return self.all_hold(self.engine.is_cluster_free, pushed)

    def all_hold(self, look: _Look, leaf_ids: Iterable[str], replicas: Replicas = NO_REPLICAS) -> bool:
        """Tell whether something is so of all series of some leaves, whichever replica's they are."""
        # One look for all leaves: they are parts of one query and mostly select the same series.
        spans = {span for leaf_id in leaf_ids for span in spans_of(self.trees[leaf_id], self._grid(leaf_id))}
        found = {replicas.asked(span.selector) for span in spans}
        if not found:
            return True
        if None in found:
            # A condition that is met by a replica alone would find it.
            return False
        start_ms, end_ms = min(span.start_ms for span in spans), max(span.end_ms for span in spans)
        asked = sorted((one for one in found if one is not None), key=lambda selector: selector.matchers)
        return look(asked, start_ms, end_ms, self.deadline)

    def answer(self, pushed: Mapping[str, Expr]) -> dict[str, Fetched]:
        """Answer the leaves, those in `pushed` by the backend's engine and the others by ours, all asked for at once.

        Raises FederationError; Malformed also where the backend cannot read what it is asked.
        """
        beside = {leaf_id: tree for leaf_id, tree in self.trees.items() if leaf_id not in pushed}
        selections, spans = self._needs(beside)
        grids = {leaf_id: self._grid(leaf_id) for leaf_id in pushed}
        grids |= {name: selection.grid for name, selection in selections.items()}
        exprs = dict(pushed)
        for name, selection in selections.items():
            asked = self._asked(selection.selector)
            selector = None if asked is None else as_backend_has(asked, self.cluster)
            if selector is not None:
                exprs[name] = selection.as_expr(selector)
        samples = {span: leaf for span in spans if (leaf := self._samples_of(span)) is not None}
        requests, name = _requests(exprs, grids), tag_for(exprs.values())
        leaves = [*(_leaf(parts, when, name) for when, parts in requests), *samples.values()]
        replies = self.engine.fetch_all(leaves, self.shard.scope, self.deadline) if leaves else []
        self.deadline.check_clock(self.cluster)

        frames: dict[str, list[Frame]] = {name: [] for name in grids}
        for (_, parts), reply in zip(requests, replies, strict=False):
            for part, frame in untag(_frame(reply, self.cluster), parts, name, self.cluster).items():
                frames[part].append(frame)
        whole = {part: self.replicas.seen(put_together(found, grids[part])) for part, found in frames.items()}
        limits = self.shard.scope.limits
        require_at_most(self.cluster, "series", sum(f.series_count for f in whole.values()), limits.max_series)
        store = self._store({s: self._above(whole[name], s.selector) for name, s in selections.items()})
        raw = dict(zip(samples, replies[len(requests) :], strict=True))
        for span in spans:
            store.keep(span, arrived(span, self._united(raw.get(span)), self.cluster))
            store.require_within()
        said = tuple(dict.fromkeys(warning for reply in replies for warning in reply.warnings))
        answers = store.answers(self.shard, beside)
        answers = {
            leaf_id: replace(f, warnings=tuple(dict.fromkeys(said + f.warnings))) for leaf_id, f in answers.items()
        }
        if pushed and self.dialect.approximate:
            said += (f"cluster {self.cluster}: {self.dialect.engine} has evaluated by its own rules: approximate",)
        return answers | {leaf_id: Fetched(self._above(whole[leaf_id], Selector()), said) for leaf_id in pushed}

    def _samples_of(self, span: Span) -> Leaf | None:
        asked = self._asked(span.selector)
        return None if asked is None else leaf_of(replace(span, selector=asked), self.cluster)

    def _asked(self, selector: Selector) -> Selector | None:
        """Return what the backend is asked for the series of a selector; None where it has none of them."""
        asked = self.dialect.answerable(selector)
        return None if asked is None else self.replicas.asked(asked)

    def _united(self, samples: Fetched | None) -> Fetched:
        if samples is None:
            return Fetched(SampleColumns.empty())
        # What is no samples is told by who takes them.
        columns = samples.payload
        return (
            replace(samples, payload=self.replicas.united(columns)) if isinstance(columns, SampleColumns) else samples
        )

    def _needs(self, trees: Mapping[str, Expr]) -> tuple[dict[str, Selection], list[Span]]:
        """Return what our engine needs for these leaves: named selections, and spans of raw samples."""
        needed: set[Selection | Span] = set()
        for leaf_id, tree in trees.items():
            grid = self._grid(leaf_id)
            needed |= set(needs_of(tree, grid)) if self.dialect.on_grids else spans_of(tree, grid)
            if self.replicas.names:
                needed |= spans_of(tree, grid)
        found = {n for n in needed if isinstance(n, Selection)}
        if self.replicas.names:
            # They tell where a series is; the time of its sample is that of the replica's that was taken.
            found = {replace(one, timestamps=False) for one in found}
        selections = sorted(found, key=repr)
        spans = joined(n for n in needed if isinstance(n, Span))
        return {str(number): selection for number, selection in enumerate(selections)}, spans

    def _grid(self, leaf_id: str) -> Grid:
        return next(Grid.of(leaf.time_range) for leaf in self.shard.leaves if leaf.id == leaf_id)

    def _store(self, frames: Mapping[Selection, Frame]) -> SampleStore:
        limits = self.shard.scope.limits

        def check() -> None:
            self.deadline.check_clock(self.cluster)

        if not self.dialect.on_grids:
            # The evaluation looks back in raw samples, as it does everywhere else.
            return SampleStore(self.cluster, limits, check)
        kind = UnitedStore if self.replicas.names else SelectedStore
        return kind(self.cluster, limits, check, frames=frames)

    def _above(self, frame: Frame, selector: Selector) -> Frame:
        labels, rows = labels_above(selector, frame.labels, self.cluster)
        above = replace(frame, labels=labels)
        return (above if rows is None else above.take(rows)).sorted_by_labels()


def _with_replicas(share: _Share) -> _Share:
    """Return the share, told of its replicas unless none of its series has any."""
    if not isinstance(share.engine, Replicated) or not share.engine.replica_labels:
        return share
    replicas = Replicas(share.engine.replica_labels)
    free = share.all_hold(share.engine.are_replicas_free, share.trees, replicas)
    return share if free else replace(share, replicas=replicas)


def _requests(exprs: Mapping[str, Expr], grids: Mapping[str, Grid]) -> list[tuple[TimeRange, dict[str, Expr]]]:
    """Return what is asked on each time range: everything that has one in common together."""
    found: dict[TimeRange, dict[str, Expr]] = {}
    for name, expr in exprs.items():
        for when in time_ranges(grids[name]):
            found.setdefault(when, {})[name] = expr
    return sorted(found.items(), key=lambda item: (item[0].step_ms, item[0].start_ms))


def _leaf(parts: Mapping[str, Expr], when: TimeRange, name: str) -> Leaf:
    return Leaf(f"parts:{','.join(parts)}", to_text(tag(parts, name)), when)


def _frame(reply: Fetched, cluster: str) -> Frame:
    if not isinstance(reply.payload, Frame):
        raise Malformed(f"the backend answered values with {type(reply.payload).__name__}", cluster=cluster)
    return reply.payload


def _names_cluster(expr: Expr) -> bool:
    """Tell whether an expression names the label or one that is made out of it here, which no backend has."""
    return any(label == CLUSTER or is_made_here(label) for label in labels_of(expr))

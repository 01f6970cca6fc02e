"""One cluster's share: what its backend has, in the labels that the rest of the federation knows.

Rule: every series has the label `cluster`, with this cluster's name; a backend's own, different label of that name is
shown as `exported_cluster`. Where that may happen, or is asked about, the series themselves are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from federation_core.connectors import Connector, Fetched
from federation_core.errors import Malformed
from federation_core.labels import CLUSTER, EXPORTED_CLUSTER, Labels, backend_accepts, set_aside
from federation_core.plan import Leaf, Shard
from federation_core.query import Deadline
from federation_core.signals.series.expr import Discovery, Question, map_selectors, to_text
from federation_core.signals.series.language import parse
from federation_core.signals.series.payload import ROW_TYPES, Found, Row, first_rows


def run(connector: Connector, shard: Shard, deadline: Deadline) -> dict[str, Fetched]:
    """Answer every leaf of a shard.

    Raises Malformed: the connector returned something else than rows of the question. TimedOut, QueryCanceled.
    """
    return {leaf.id: _Asked(connector, shard, leaf, deadline).answer(parse(leaf.text)) for leaf in shard.leaves}


class _Asked:
    """One leaf and the backend it is put to."""

    def __init__(self, connector: Connector, shard: Shard, leaf: Leaf, deadline: Deadline) -> None:
        self._connector, self._shard, self._leaf, self._deadline = connector, shard, leaf, deadline
        self._cluster = shard.cluster_name

    def answer(self, expr: Discovery) -> Fetched:
        """Return the leaf's first rows."""
        fetched = self._rows(expr)
        found: Found = fetched.payload
        return replace(fetched, payload=first_rows(expr.question, found.rows, self._leaf.limit, more=found.more))

    def _rows(self, expr: Discovery) -> Fetched:
        match expr.question:
            case Question.METADATA:
                return self._fetch(expr)
            case Question.SERIES:
                return self._series(expr)
            case _ if self._has_exported(expr):
                fetched = self._series(expr)
                labels = [row for row in fetched.payload.rows if isinstance(row, Labels)]
                return replace(fetched, payload=Found(expr.question, tuple(_told(expr, labels))))
            case Question.LABELS:
                fetched = self._fetch(expr)
                rows = fetched.payload.rows
                return replace(fetched, payload=Found(Question.LABELS, (*rows, CLUSTER) if rows else ()))
            case Question.VALUES if expr.label == CLUSTER:
                fetched = self._fetch(replace(expr, question=Question.LABELS, label=""))
                there = (self._cluster,) if fetched.payload.rows else ()
                return replace(fetched, payload=Found(Question.VALUES, there))
            case Question.VALUES:
                return self._fetch(expr)

    def _has_exported(self, expr: Discovery) -> bool:
        """Whether a label `exported_cluster` is asked about, or some series will be given it."""
        if expr.label == EXPORTED_CLUSTER or _on_exported(expr):
            return True
        own = self._fetch(Discovery(Question.VALUES, expr.selectors, CLUSTER)).payload.rows
        return not set(own) <= {self._cluster}

    def _series(self, expr: Discovery) -> Fetched:
        """Return the series that satisfy the selectors, as the federation labels them."""
        wider = map_selectors(expr, lambda selector: backend_accepts(selector.split_label(EXPORTED_CLUSTER)[1]))
        fetched = self._fetch(Discovery(Question.SERIES, wider.selectors))
        rows = (set_aside(row, self._cluster) for row in fetched.payload.rows)
        if _on_exported(expr):
            # The label is made here, out of the backend's own `cluster`, so its conditions are decided here too.
            rows = (row for row in rows if self._matches(expr, row))
        labelled = tuple(row.with_label(CLUSTER, self._cluster) for row in rows)
        return replace(fetched, payload=Found(Question.SERIES, labelled))

    def _matches(self, expr: Discovery, row: Labels) -> bool:
        self._deadline.check_clock(self._cluster)
        return any(selector.matches(row) for selector in expr.selectors)

    def _fetch(self, expr: Discovery) -> Fetched:
        self._deadline.check_clock(self._cluster)
        # Without a limit: what a backend has first is not what comes first once the labels are the federation's.
        leaf = replace(self._leaf, text=to_text(expr), limit=0)
        fetched = self._connector.fetch(leaf, self._shard.scope, self._deadline)
        found, kind = fetched.payload, ROW_TYPES[expr.question]
        if not isinstance(found, Found) or not all(isinstance(row, kind) for row in found.rows):
            raise Malformed(f"the connector's answer is no list of {expr.question.value}", cluster=self._cluster)
        return fetched


def _on_exported(expr: Discovery) -> bool:
    return any(matcher.label == EXPORTED_CLUSTER for selector in expr.selectors for matcher in selector.matchers)


def _told(expr: Discovery, series: Iterable[Labels]) -> set[Row]:
    """Return the names, or the values of one label, that the series have."""
    if expr.question is Question.LABELS:
        return {name for labels in series for name in labels.names()}
    return {value for labels in series if (value := labels.get(expr.label))}

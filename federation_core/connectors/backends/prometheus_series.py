"""Which series, labels, values and metrics there are behind Prometheus' HTTP API.

Rule: time is as exact as the backend takes it: Prometheus looks at whole chunks, and for names and values at whole
blocks. A label whose name is no plain one is looked for in the series themselves, as releases differ in how such a name
is written in a path; so is nothing else. What would be cut is not fetched where the backend ends its lists by itself.
Source: Prometheus documentation, "HTTP API / Querying metadata".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from federation_core.connectors import Fetched
from federation_core.connectors.backends import prometheus_about
from federation_core.connectors.backends.prometheus_api import PrometheusApi, Reply, seconds
from federation_core.connectors.backends.prometheus_engine import EngineFinder
from federation_core.errors import Malformed
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.labels import ANY, NAME, Labels, Selector
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.selector_text import selector_text
from federation_core.signals.metrics.replicas import NO_REPLICAS, Replicas
from federation_core.signals.series.expr import Discovery, Question
from federation_core.signals.series.language import parse
from federation_core.signals.series.payload import Fact, Found, Row
from federation_core.tenancy import Scope

#: So many rows that nobody cuts them.
_UNLIMITED: Final = 2**62
#: What Prometheus says of a list that it has ended.
_ENDED: Final = "results truncated due to limit"
_PLAIN_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
#: Type of a metric → the endings that its series' names may have beyond its own.
_ENDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "histogram": ("_bucket", "_count", "_sum"),
    "gaugehistogram": ("_bucket", "_gcount", "_gsum"),
    "summary": ("_count", "_sum"),
    "counter": ("_total",),
    "info": ("_info",),
}


class PrometheusSeries:
    """What one cluster's backend has, for discovery; safe to use from several threads."""

    kind = "prometheus"
    pushes_down: frozenset[str] = frozenset()

    def __init__(self, cluster: str, api: PrometheusApi, replicas: Replicas = NO_REPLICAS) -> None:
        self._cluster, self._api, self._replicas = cluster, api, replicas
        self._engine = EngineFinder(api)

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        """Answer a question about series; more than the tenant's `max_series` rows are cut, and named.

        Raises ClusterError, QueryCanceled.
        """
        expr = parse(leaf.text)
        asked = tuple(s for selector in expr.selectors if (s := self._replicas.asked(selector)) is not None)
        # No condition means everything, so one that nothing can meet must not become none.
        most = scope.limits.max_series
        rows, warnings = self._rows(replace(expr, selectors=asked), leaf, most, deadline) if asked else ((), ())
        truncated = f"more rows than max_series {most}" if len(rows) > most else ""
        return Fetched(Found(expr.question, rows[:most]), warnings, truncated)

    def inventory(self, deadline: Deadline) -> Inventory:
        """List nothing: the metrics of the same backend do."""
        return Inventory()

    def ping(self, deadline: Deadline) -> None:
        """Return if the backend answers; raise the ClusterError that explains why not otherwise."""
        self._list("labels", (("start", "0.000"), ("end", "0.000")), deadline)

    def about(self, deadline: Deadline) -> About:
        """Return which backend it is, and the time of its newest sample."""
        return prometheus_about.tell(self._api, deadline)

    def _rows(
        self, expr: Discovery, leaf: Leaf, most: int, deadline: Deadline
    ) -> tuple[tuple[Row, ...], tuple[str, ...]]:
        """Return the rows of an answer, or of more than `most` at least one more than that."""
        fields = (
            *(("match[]", selector_text(selector)) for selector in expr.selectors),
            ("start", seconds(leaf.time_range.start_ms)),
            ("end", seconds(leaf.time_range.end_ms)),
        )
        match expr.question:
            case Question.SERIES:
                # How many replicas a series has is not known, so neither is how many rows make `most` series.
                limit = () if self._replicas.names else self._limit(most, deadline)
                reply = self._list("series", (*fields, *limit), deadline)
                # Of the replicas of one series there is one.
                series = self._replicas.without(map(self._labels, reply.data))
                return tuple(dict.fromkeys(series)), reply.warnings
            case Question.VALUES if expr.label in self._replicas.names:
                return (), ()
            case Question.LABELS:
                reply = self._list("labels", (*fields, *self._limit(most, deadline)), deadline)
            case Question.VALUES if _PLAIN_NAME.fullmatch(expr.label):
                reply = self._list(f"label/{expr.label}/values", (*fields, *self._limit(most, deadline)), deadline)
            case Question.VALUES:
                # Of many series one value may be left.
                found, said = self._rows(replace(expr, question=Question.SERIES), leaf, _UNLIMITED, deadline)
                values = (row.get(expr.label) for row in found if isinstance(row, Labels))
                return tuple(dict.fromkeys(value for value in values if value)), said
            case Question.METADATA:
                return self._facts(expr, fields, deadline)
        hidden = self._replicas.names if expr.question is Question.LABELS else ()
        return tuple(str(row) for row in reply.data if row and row not in hidden), reply.warnings

    def _limit(self, most: int, deadline: Deadline) -> tuple[tuple[str, str], ...]:
        """Return the field that ends a list once there are certain to be more rows than `most`, where one does."""
        if most == _UNLIMITED or not self._engine.find(deadline).limits_lists:
            return ()
        # One more tells that there are more; beside it stand the rows that are not shown.
        return (("limit", str(most + 2 + len(self._replicas.names))),)

    def _facts(
        self, expr: Discovery, fields: tuple[tuple[str, str], ...], deadline: Deadline
    ) -> tuple[tuple[Row, ...], tuple[str, ...]]:
        """Return the facts of all metrics, or of those that the selected series belong to."""
        reply = self._api.get("metadata", (), deadline)
        facts = tuple(self._read_facts(reply.data))
        if expr.selectors == (Selector((ANY,)),):
            return facts, reply.warnings
        # Metadata knows no selectors: whose it is, is told by the names of the series.
        named = self._list(f"label/{NAME}/values", fields, deadline)
        names = {str(name) for name in named.data}
        told = tuple(fact for fact in facts if any(name in names for name in _series_names(fact)))
        return told, tuple(dict.fromkeys((*reply.warnings, *named.warnings)))

    def _read_facts(self, data: Any) -> Iterator[Fact]:
        if not isinstance(data, dict):
            raise Malformed("the metadata is no object", cluster=self._cluster)
        for metric, found in data.items():
            for fact in found if isinstance(found, list) else ():
                if isinstance(fact, dict):
                    kind, text, unit = (str(fact.get(name) or "") for name in ("type", "help", "unit"))
                    yield Fact(metric, kind or "unknown", text, unit)

    def _list(self, path: str, fields: Iterable[tuple[str, str]], deadline: Deadline) -> Reply:
        reply = self._api.get(path, tuple(fields), deadline)
        # Some backends say nothing where there is nothing.
        if reply.data is None:
            return replace(reply, data=[])
        if not isinstance(reply.data, list):
            raise Malformed(f"{path} is no list", cluster=self._cluster)
        # That a list was ended is seen by its length, and told in our words.
        return replace(reply, warnings=tuple(said for said in reply.warnings if not said.endswith(_ENDED)))

    def _labels(self, row: Any) -> Labels:
        if not isinstance(row, dict) or not all(isinstance(value, str) for value in row.values()):
            raise Malformed("a series is no label set", cluster=self._cluster)
        return Labels.of(row)


def _series_names(fact: Fact) -> Iterator[str]:
    yield fact.metric
    yield from (fact.metric + ending for ending in _ENDINGS.get(fact.type, ()))

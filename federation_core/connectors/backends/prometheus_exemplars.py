"""Exemplars behind Prometheus' HTTP API.

Rule: a backend that has none answers an empty list, and that is complete. Of one that is known to keep none
(VictoriaMetrics, Prometheus before 2.26) it is said, because an empty answer would look like a quiet service. Exemplars
are asked for in a form: the selectors of a dashboard's expression may be longer than a URL.
Source: Prometheus documentation, "HTTP API / Querying exemplars"; VictoriaMetrics answers this path with an empty list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from federation_core.connectors import Fetched
from federation_core.connectors.backends import prometheus_about
from federation_core.connectors.backends.prometheus_api import PrometheusApi, Reply, seconds
from federation_core.connectors.backends.prometheus_engine import EngineFinder
from federation_core.errors import Malformed
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.labels import Labels
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.signals.exemplars.expr import Wanted, to_text
from federation_core.signals.exemplars.language import parse
from federation_core.signals.exemplars.payload import Exemplar, Exemplars, Exemplified, unite
from federation_core.signals.metrics.prometheus_json import format_value
from federation_core.signals.metrics.replicas import NO_REPLICAS, Replicas
from federation_core.tenancy import Limits, Scope

_PATH: Final = "query_exemplars"
#: The release of Prometheus from which on it has exemplars.
_SINCE: Final = (2, 26)
#: The farthest time whose milliseconds have room in 64 bits.
_FARTHEST_S: Final = 9.2e15


class PrometheusExemplars:
    """The exemplars of one cluster's backend; safe to use from several threads."""

    kind = "prometheus"
    pushes_down: frozenset[str] = frozenset()

    def __init__(self, cluster: str, api: PrometheusApi, replicas: Replicas = NO_REPLICAS) -> None:
        self._cluster, self._api, self._replicas = cluster, api, replicas
        self._engine = EngineFinder(api)

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        """Return the exemplars of the selected series; what is above the tenant's limits is cut, and named.

        Raises ClusterError, QueryCanceled.
        """
        selectors = parse(leaf.text).selectors
        asked = tuple(s for selector in selectors if (s := self._replicas.asked(selector)) is not None)
        if not asked:
            return Fetched(Exemplars())
        # Of the replicas of one series there is one.
        reply, said = self._ask(replace(leaf, text=to_text(Wanted(asked))), deadline)
        bare = (Exemplified(row.labels.without(self._replicas.names), row.exemplars) for row in self._rows(reply.data))
        cut, truncated = _cut(unite(bare), scope.limits)
        return Fetched(cut, (*reply.warnings, *said), truncated)

    def inventory(self, deadline: Deadline) -> Inventory:
        """List nothing: the metrics of the same backend do."""
        return Inventory()

    def ping(self, deadline: Deadline) -> None:
        """Return if the backend answers; raise the ClusterError that explains why not otherwise."""
        fields = (("query", '{__name__="up"}'), ("start", "0.000"), ("end", "0.000"))
        self._api.post(_PATH, fields, deadline)

    def about(self, deadline: Deadline) -> About:
        """Return which backend it is, and the time of its newest sample."""
        return prometheus_about.tell(self._api, deadline)

    def _ask(self, leaf: Leaf, deadline: Deadline) -> tuple[Reply, tuple[str, ...]]:
        """Return the answer, and that this backend keeps no exemplars where that is so."""
        when = leaf.time_range
        fields = (("query", leaf.text), ("start", seconds(when.start_ms)), ("end", seconds(when.end_ms)))
        try:
            reply = self._api.post(_PATH, fields, deadline)
        except Malformed:
            if not self._keeps_none(deadline):
                raise
            reply = Reply(None)
        if reply.data or not self._keeps_none(deadline):
            return reply, ()
        return reply, (f"cluster {self._cluster}: its backend holds no exemplars",)

    def _keeps_none(self, deadline: Deadline) -> bool:
        engine = self._engine.find(deadline)
        return engine.engine == "VictoriaMetrics" or (engine.engine == "Prometheus" and engine.version < _SINCE)

    def _rows(self, data: Any) -> Iterator[Exemplified]:
        # Some backends say nothing where there is nothing.
        rows = [] if data is None else data
        if not isinstance(rows, list):
            raise Malformed("the exemplars are no list", cluster=self._cluster)
        try:
            for row in rows:
                found = tuple(map(_exemplar, row["exemplars"]))
                yield Exemplified(_labels(row["seriesLabels"]), found)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as exc:
            raise Malformed(f"not an answer about exemplars: {type(exc).__name__}", cluster=self._cluster) from exc


def _exemplar(row: Any) -> Exemplar:
    timestamp = float(row["timestamp"])
    if not abs(timestamp) < _FARTHEST_S:
        raise ValueError("a time is a number of milliseconds in 64 bits")
    return Exemplar(round(timestamp * 1000), _labels(row["labels"]), format_value(float(row["value"])))


def _labels(pairs: Any) -> Labels:
    if not all(isinstance(value, str) for value in pairs.values()):
        raise TypeError("a label's value is a text")
    return Labels.of(pairs)


def _cut(found: Exemplars, limits: Limits) -> tuple[Exemplars, str]:
    """Return what the limits allow, and in words what they do not."""
    kept: list[Exemplified] = []
    left = limits.max_samples
    for row in found.series[: limits.max_series]:
        # Of too many exemplars the newest of a series are worth more than the oldest.
        kept.append(row._replace(exemplars=row.exemplars[-left:] if left else ()))
        left -= len(kept[-1].exemplars)
    count = sum(len(row.exemplars) for row in found.series)
    said = []
    if len(found.series) > limits.max_series:
        said.append(f"{len(found.series)} series with exemplars, above max_series {limits.max_series}")
    if count > limits.max_samples:
        said.append(f"{count} exemplars, above max_samples {limits.max_samples}")
    return Exemplars(tuple(row for row in kept if row.exemplars)), "; ".join(said)

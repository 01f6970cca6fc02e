"""Traces from Grafana Tempo: one by id, or those in which a span matches, each with all its spans of the cluster.

Rule: Tempo narrows and `span_matches` decides, by the nanosecond. What its search stops before is
the matter of `connectors.trace_search`. Configured as `{kind: tempo, url: URL}` under `traces`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, Fetched
from federation_core.connectors.backends import tempo_about
from federation_core.connectors.backends.tempo_api import TempoApi
from federation_core.connectors.backends.tempo_bounds import Bounds
from federation_core.connectors.backends.tempo_query import to_traceql
from federation_core.connectors.http import open_client
from federation_core.connectors.trace_search import (
    DEFAULT_LIMIT,
    NS_PER_S,
    Allowance,
    SearchAnswer,
    StretchedSearch,
    TraceAnswer,
    at_once,
)
from federation_core.errors import InvalidConfig, Rejected
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.signals.traces.expr import SpanSearch, TraceById
from federation_core.signals.traces.language import parse
from federation_core.signals.traces.payload import FoundTraces, window_ns
from federation_core.tenancy import Scope

#: The seconds that a search may begin and end at: zero is no time for Tempo, and it reads 31 bits.
_FIRST_S: Final = 1
_LAST_S: Final = 2**31 - 1
#: How far back the inventory looks where the deadline has a clock; without times Tempo looks at what is recent.
_INVENTORY_S: Final = 3_600


class Tempo:
    """The traces of one cluster in Tempo; safe to use from several threads."""

    kind = "tempo"
    pushes_down: frozenset[str] = frozenset()

    def __init__(self, cluster: str, api: TempoApi) -> None:
        self._cluster, self._api, self._bounds = cluster, api, Bounds()

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        """Return a TracePart for a trace id, FoundTraces for a search.

        Raises ClusterError, QueryCanceled.
        """
        match parse(leaf.text):
            case TraceById(trace_id):
                found = self._api.trace(trace_id, deadline, Allowance(self._cluster))
                return Fetched(found.part, truncated=found.cut)
            case SpanSearch() as search:
                return self._search(search, leaf, deadline)

    def _search(self, search: SpanSearch, leaf: Leaf, deadline: Deadline) -> Fetched:
        start_ns, end_ns = window_ns(leaf.time_range)
        start_ns, end_ns = max(start_ns, _FIRST_S * NS_PER_S), min(end_ns, _LAST_S * NS_PER_S)
        if start_ns >= end_ns:
            return Fetched(FoundTraces())
        text, allowance = to_traceql(search), Allowance(self._cluster)

        def find(start_s: int, end_s: int, limit: int) -> SearchAnswer:
            return self._api.search(text, start_s, end_s, limit, deadline)

        def fetch(trace_ids: Sequence[str]) -> list[TraceAnswer]:
            return at_once(lambda trace_id: self._api.trace(trace_id, deadline, allowance), trace_ids)

        while True:
            bounds = self._bounds
            stretched = StretchedSearch(
                "Tempo",
                search,
                (start_ns, end_ns),
                leaf.direction,
                leaf.limit or DEFAULT_LIMIT,
                bounds.longest_s,
                bounds.most,
            )
            try:
                found, cut = stretched.run(find, fetch)
            except Rejected as refusal:
                self._bounds = self._bounds.after(refusal.message)
                if self._bounds == bounds:
                    raise
            else:
                return Fetched(found, truncated=cut)

    def inventory(self, deadline: Deadline) -> Inventory:
        """List the services of the last hour; Tempo does not tell which namespaces and pods they have."""
        times_s = None
        if deadline.clock is not None:
            now_s = deadline.clock() // 1000
            times_s = (now_s - _INVENTORY_S, now_s + 1)
        names = self._api.tag_values("resource.service.name", deadline, times_s)
        return Inventory(services={("", name): () for name in names})

    def ping(self, deadline: Deadline) -> None:
        """Return if the backend searches for us; raise the ClusterError that explains why not otherwise."""
        self._api.reach(deadline)

    def about(self, deadline: Deadline) -> About:
        """Return Tempo's release, and when the newest trace of the last hour began, to about two minutes."""
        return tempo_about.tell(self._api, deadline)


def connect(cluster: Cluster, backend: Backend) -> Connector:
    """Open the connector to a backend; nothing is connected before the first query.

    Raises InvalidConfig: the backend has no URL, another signal than traces, or certificates that cannot be used.
    """
    if not backend.url:
        raise InvalidConfig(f"{backend.origin}: a tempo backend needs `url`, the address before /api")
    if backend.signal != "traces":
        raise InvalidConfig(f"{backend.origin}: a tempo backend holds no {backend.signal}")
    return Tempo(cluster.name, TempoApi(open_client(cluster, backend)))

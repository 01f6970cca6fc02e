"""Traces from Jaeger, and from what speaks its API: one by id, or those in which a span matches.

Rule: Jaeger narrows and `span_matches` decides. Its search looks at one service, so that one without a service is one
search for each that may match; a trace that two of them find is one. What a service or a tag that Jaeger does not tell
of would hide is searched otherwise, or said. Times end at the microsecond with version 1 of
the API. Configured as `{kind: jaeger, url: URL}` under `traces`; for VictoriaTraces the URL ends in `/select/jaeger`.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, Fetched
from federation_core.connectors.backends import jaeger_about
from federation_core.connectors.backends.jaeger_api import JaegerApi
from federation_core.connectors.backends.jaeger_query import ERROR, JaegerQuery, to_query
from federation_core.connectors.backends.jaeger_search import ServiceSearch, Traits, services_of
from federation_core.connectors.http import open_client
from federation_core.connectors.trace_search import (
    DEFAULT_LIMIT,
    NS_PER_S,
    Allowance,
    StretchedSearch,
    at_once,
)
from federation_core.errors import InvalidConfig
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.signals.traces.expr import SpanSearch, TraceById
from federation_core.signals.traces.language import parse
from federation_core.signals.traces.payload import FoundTraces, TracePart, window_ns
from federation_core.tenancy import Scope

#: More services than this are not searched one by one.
MOST_SERVICES: Final = 200
#: Services of which a few traces are looked at to learn what the store makes of an error.
_SAMPLED: Final = 4
#: Stores list the services of so many days at least.
_LISTED_MS: Final = 3 * 86_400_000


class Jaeger:
    """The traces of one cluster behind Jaeger's API; safe to use from several threads."""

    kind = "jaeger"
    pushes_down: frozenset[str] = frozenset()

    def __init__(self, cluster: str, api: JaegerApi) -> None:
        self._cluster, self._api, self._traits = cluster, api, Traits()

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        """Return a TracePart for a trace id, FoundTraces for a search.

        Raises ClusterError, QueryCanceled.
        """
        match parse(leaf.text):
            case TraceById(trace_id):
                found = self._api.trace(trace_id, deadline, Allowance(self._cluster))
                return Fetched(TracePart(trace_id, found.traces.get(trace_id, ())), truncated=found.cut)
            case SpanSearch() as search:
                return self._search(search, leaf, deadline)

    def _search(self, search: SpanSearch, leaf: Leaf, deadline: Deadline) -> Fetched:
        start_ns, end_ns = window_ns(leaf.time_range)
        if start_ns >= end_ns:
            return Fetched(FoundTraces())
        services, cut, warnings = self._services(search, leaf, deadline)
        limit = leaf.limit or DEFAULT_LIMIT
        query = to_query(search, by_error=self._traits.finds_errors is not False)
        asking = partial(ServiceSearch, self._api, deadline=deadline, traits=self._traits)

        def search_all(query: JaegerQuery) -> StretchedSearch:
            allowance = Allowance(self._cluster)

            def search_one(service: str) -> StretchedSearch:
                stretched = StretchedSearch("Jaeger", search, (start_ns, end_ns), leaf.direction, limit)
                one = asking(query=query, service=service, allowance=allowance)
                stretched.run(one.find, one.fetch)
                return stretched

            together = StretchedSearch("Jaeger", search, (start_ns, end_ns), leaf.direction, limit)
            together.said.append(cut)
            for one in at_once(search_one, services):
                together.join(one)
            return together

        together = search_all(query)
        if ERROR in query.tags and self._traits.finds_errors is None:
            # It may be that there are no errors, or that the store does not know the tag: a few traces may tell.
            allowance, unsure = Allowance(self._cluster), len(services) > _SAMPLED
            for service in services[:_SAMPLED]:
                sample = asking(query=JaegerQuery(), service=service, allowance=allowance)
                stopped = sample.find(start_ns // NS_PER_S, -(-end_ns // NS_PER_S), limit + 1).stopped
                if sample.holds_errors((start_ns, end_ns)):
                    self._traits.finds_errors = False
                    together, unsure = search_all(to_query(search, by_error=False)), False
                    break
                unsure = unsure or stopped
            if unsure:
                warnings += (
                    f"cluster {self._cluster}: no error is found, but the store may have errors without a tag",
                )
        found, said = together.answer()
        return Fetched(found, warnings, said)

    def _services(self, search: SpanSearch, leaf: Leaf, deadline: Deadline) -> tuple[list[str], str, tuple[str, ...]]:
        """Return the services that may have a matching span, in words that these are not all, and warnings."""
        named, cut = services_of(search), ""
        warnings: tuple[str, ...] = ()
        if named is None:
            listing = self._api.listing(deadline)
            named, cut = services_of(search, listing.names) or [], listing.cut
            if deadline.clock is not None and leaf.time_range.start_ms < deadline.clock() - _LISTED_MS:
                warnings = (
                    f"cluster {self._cluster}: Jaeger may tell only of the services of the last days; name a service"
                    " to search older traces of it",
                )
        if len(named) > MOST_SERVICES:
            left_out = f"{len(named)} services may match and {MOST_SERVICES} are searched; name a service"
            named, cut = named[:MOST_SERVICES], "; ".join(filter(None, (cut, left_out)))
        return named, cut, warnings

    def inventory(self, deadline: Deadline) -> Inventory:
        """List the services; Jaeger does not tell which namespaces and pods they have."""
        return Inventory(services={("", name): () for name in self._api.services(deadline)})

    def ping(self, deadline: Deadline) -> None:
        """Return if the backend answers for us; raise the ClusterError that explains why not otherwise."""
        self._api.services(deadline)

    def about(self, deadline: Deadline) -> About:
        """Return the time of the newest spans, where a few services tell it; a Jaeger does not tell its release."""
        return jaeger_about.tell(self._api, deadline)


def connect(cluster: Cluster, backend: Backend) -> Connector:
    """Open the connector to a backend; nothing is connected before the first query.

    Raises InvalidConfig: the backend has no URL, another signal than traces, or certificates that cannot be used.
    """
    if not backend.url:
        raise InvalidConfig(f"{backend.origin}: a jaeger backend needs `url`, the address before /api")
    if backend.signal != "traces":
        raise InvalidConfig(f"{backend.origin}: a jaeger backend holds no {backend.signal}")
    return Jaeger(cluster.name, JaegerApi(open_client(cluster, backend)))

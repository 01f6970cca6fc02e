"""A backend that speaks Loki's HTTP API: the logs of one cluster.

Rule: an answer holds the first entries that one store would give, or `truncated` says what is missing. Loki narrows;
every filter is then judged again by the signal's own functions, so there is one meaning. Configured as
`{kind: loki, url: URL}`.
Source: Grafana Loki documentation, "Loki HTTP API"; what it does not say is told by tests/contract/test_loki.py.
"""

from __future__ import annotations

from typing import Final

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, Fetched
from federation_core.connectors.backends import loki_about
from federation_core.connectors.backends.loki_api import FIRST_NS, LAST_NS, NS_PER_S, LokiApi, Window
from federation_core.connectors.backends.loki_pages import KnownBounds
from federation_core.connectors.backends.loki_reading import Reading
from federation_core.connectors.http import open_client
from federation_core.errors import ClusterError, InvalidConfig
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.signals.logs.language import parse
from federation_core.signals.logs.payload import NS_PER_MS, first_entries, window_ns
from federation_core.tenancy import Limits, Scope

#: How far back is looked to see whether the backend answers.
_RECENT_NS: Final = 1_800 * NS_PER_S


class Loki:
    """The logs of one cluster behind Loki's API; safe to use from several threads."""

    kind = "loki"
    #: Filters are no engine: whatever a query says is sent, and judged again.
    pushes_down: frozenset[str] = frozenset()

    def __init__(self, cluster: str, api: LokiApi) -> None:
        self._cluster, self._api, self._bounds = cluster, api, KnownBounds()

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        """Return the first entries of the leaf's query in its direction, as Entries; all where it has no limit.

        More than the tenant's `max_entries` are not read: the answer then says that there are more.

        Raises QueryCanceled, ClusterError.
        """
        try:
            return self._fetch(leaf, scope.limits, deadline)
        except ClusterError as error:
            if error.cluster:
                raise
            raise type(error)(error.message, **error.details, cluster=self._cluster) from error

    def _fetch(self, leaf: Leaf, limits: Limits, deadline: Deadline) -> Fetched:
        limit = min(leaf.limit or limits.max_entries, limits.max_entries)
        start_ns, end_ns = window_ns(leaf.time_range)
        window = Window(max(start_ns, FIRST_NS), min(end_ns, LAST_NS))
        reading = Reading(self._api, parse(leaf.text), leaf.direction, deadline, self._bounds)
        found = reading.first(window, limit)
        payload = first_entries(found.entries, limit, leaf.direction, more=bool(found.truncated))
        return Fetched(payload, found.warnings, found.truncated)

    def inventory(self, deadline: Deadline) -> Inventory:
        """List the names of the streams' labels, of the time that Loki looks at where it is told none."""
        return Inventory(label_names=self._api.label_names(None, deadline))

    def ping(self, deadline: Deadline) -> None:
        """Return if the backend answers a question; raise the ClusterError that explains why not otherwise.

        `/ready` is not asked: for a while after a start it refuses, although queries are answered already.
        """
        recent = None
        if deadline.clock is not None:
            now_ns = deadline.clock() * NS_PER_MS
            recent = Window(max(now_ns - _RECENT_NS, FIRST_NS), now_ns)
        self._api.label_names(recent, deadline)

    def about(self, deadline: Deadline) -> About:
        """Return Loki's release, and the time of its newest line of the last hour."""
        return loki_about.tell(self._api, deadline)


def connect(cluster: Cluster, backend: Backend) -> Connector:
    """Open the connector to a backend; nothing is connected before the first query.

    Raises InvalidConfig: the backend has no URL, another signal than logs, an option of metrics, or certificates that
    cannot be used.
    """
    if not backend.url:
        raise InvalidConfig(f"{backend.origin}: a loki backend needs `url`, the address before /loki/api/v1")
    if backend.signal != "logs":
        raise InvalidConfig(f"{backend.origin}: a loki backend holds no {backend.signal}, only logs")
    if backend.pushdown != "exact":
        raise InvalidConfig(f"{backend.origin}: `pushdown` is for metrics; filters are always sent to a loki backend")
    return Loki(cluster.name, LokiApi(open_client(cluster, backend)))

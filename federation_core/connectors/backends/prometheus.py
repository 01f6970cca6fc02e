"""A backend that speaks Prometheus' HTTP API: Prometheus, Thanos, Mimir, and others by their raw samples.

Rule: what its engine is trusted with is decided by what it is (`dialect`) and by the configuration's `pushdown`; the
decision for a leaf is the signal's (`signals.metrics.rungs`). Configured as `{kind: prometheus, url: URL}`.
Source: Prometheus documentation, "HTTP API".
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from typing import Final

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, Fetched
from federation_core.connectors.backends import prometheus_about
from federation_core.connectors.backends.prometheus_api import PrometheusApi, SampleCap
from federation_core.connectors.backends.prometheus_engine import EngineFinder
from federation_core.connectors.backends.prometheus_exemplars import PrometheusExemplars
from federation_core.connectors.backends.prometheus_labels import OwnLabels
from federation_core.connectors.backends.prometheus_payload import is_matrix, read_frame, read_samples
from federation_core.connectors.backends.prometheus_series import PrometheusSeries
from federation_core.connectors.http import open_client
from federation_core.errors import ClusterError, InvalidConfig, Malformed, QueryExecutionError
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.labels import NAME, Selector
from federation_core.plan import Leaf
from federation_core.query import Deadline, TimeRange
from federation_core.signals.metrics.dialect import Dialect
from federation_core.signals.metrics.expr import MatrixSelector
from federation_core.signals.metrics.frame import Grid
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.replicas import Replicas
from federation_core.tenancy import Limits, Scope

#: Requests of one shard that are under way at once.
_AT_ONCE: Final = 8


class Prometheus:
    """The metrics of one cluster behind Prometheus' API; safe to use from several threads."""

    kind = "prometheus"

    def __init__(
        self, cluster: str, api: PrometheusApi, pushdown: str = "exact", replica_labels: tuple[str, ...] = ()
    ) -> None:
        self._cluster, self._api, self._pushdown = cluster, api, pushdown
        self.replica_labels = replica_labels
        self._engine, self._own = EngineFinder(api), OwnLabels(api, replica_labels)
        self.pushes_down: frozenset[str] = frozenset() if pushdown == "off" else frozenset({"promql"})

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        """Answer one leaf: raw samples of a matrix selector, without stale markers; a Frame of anything else.

        Raises QueryExecutionError: the engine refuses to evaluate it. QueryTooLarge. QueryCanceled. ClusterError;
        Malformed also where the backend cannot read the leaf.
        """
        try:
            return self._fetch(leaf, scope.limits, deadline)
        except ClusterError as error:
            if error.cluster:
                raise
            raise type(error)(error.message, **error.details, cluster=self._cluster) from error

    def _fetch(self, leaf: Leaf, limits: Limits, deadline: Deadline) -> Fetched:
        when = leaf.time_range
        cap = ("max_values", limits.max_values) if when.step_ms else ("max_samples", limits.max_samples)
        reply = self._api.query(leaf.text, when, deadline, SampleCap(self._cluster, *cap))
        if when.step_ms or not is_matrix(reply.data):
            return Fetched(read_frame(reply, Grid.of(when)), reply.warnings)
        node = parse(leaf.text)
        if not isinstance(node, MatrixSelector):
            raise Malformed("the backend answers an instant with a range", cluster=self._cluster)
        nan_is_stale = self._engine.find(deadline).nan_is_stale
        return Fetched(read_samples(reply, node, when.end_ms, nan_is_stale=nan_is_stale), reply.warnings)

    def fetch_all(self, leaves: Sequence[Leaf], scope: Scope, deadline: Deadline) -> list[Fetched]:
        """Answer several leaves at once, in their order.

        Raises what `fetch` raises; of several errors the engine's own, which is the query's, before any other.
        """
        if len(leaves) == 1:
            return [self.fetch(leaves[0], scope, deadline)]

        threads = ThreadPoolExecutor(min(len(leaves), _AT_ONCE), thread_name_prefix="leaves")
        try:
            asked = [threads.submit(self.fetch, leaf, scope, deadline) for leaf in leaves]
            for answered in as_completed(asked):
                if isinstance(error := answered.exception(), QueryExecutionError):
                    raise error
            return [answered.result() for answered in asked]
        finally:
            # Of an error of the query nobody waits to see what the other leaves come to: the deadline ends them.
            threads.shutdown(wait=False, cancel_futures=True)

    def dialect(self, deadline: Deadline) -> Dialect:
        """Return what the backend's engine is, as far as the configuration lets it be used.

        Raises Unreachable, TimedOut, QueryCanceled.
        """
        found = self._engine.find(deadline)
        if self._pushdown == "off":
            return replace(found, exact=False)
        return replace(found, approximate=self._pushdown == "approximate" and not found.exact)

    def is_cluster_free(self, asked: Sequence[Selector], start_ms: int, end_ms: int, deadline: Deadline) -> bool:
        """Tell whether no series has a label `cluster`, or every one has it with the cluster's own name."""
        return self._own.is_cluster_free(asked, start_ms, end_ms, deadline)

    def are_replicas_free(self, asked: Sequence[Selector], start_ms: int, end_ms: int, deadline: Deadline) -> bool:
        """Tell whether no series has a label of `replica_labels`."""
        return self._own.are_replicas_free(asked, start_ms, end_ms, deadline)

    def inventory(self, deadline: Deadline) -> Inventory:
        """List the names of metrics and labels, and the newest time where the backend tells it."""
        names, labels = self._names(f"label/{NAME}/values", deadline), self._names("labels", deadline)
        labels = tuple(label for label in labels if label not in self.replica_labels)
        return Inventory(metric_names=names, label_names=labels, newest_ms=self._newest_ms(deadline))

    def ping(self, deadline: Deadline) -> None:
        """Return if the backend evaluates something; raise the ClusterError that explains why not otherwise."""
        reply = self._api.query("vector(1)", TimeRange(0, 0), deadline, SampleCap(self._cluster, "max_values", 100))
        read_frame(reply, Grid(0, 0, 1))

    def about(self, deadline: Deadline) -> About:
        """Return which backend it is, and the time of its newest sample."""
        return prometheus_about.tell(self._api, deadline)

    def _names(self, path: str, deadline: Deadline) -> tuple[str, ...]:
        data = self._api.get(path, (), deadline).data
        if not isinstance(data, list):
            raise Malformed(f"{path} is no list", cluster=self._cluster)
        return tuple(sorted(map(str, data)))

    def _newest_ms(self, deadline: Deadline) -> int | None:
        try:
            return prometheus_about.head_newest_ms(self._api, deadline)
        except Malformed:
            # Only Prometheus itself has this page.
            return None


def connect(cluster: Cluster, backend: Backend) -> Connector:
    """Open the connector to a backend; nothing is connected before the first query.

    Raises InvalidConfig: the backend has no URL, another signal than metrics, or certificates that cannot be used.
    """
    if not backend.url:
        raise InvalidConfig(f"{backend.origin}: a prometheus backend needs `url`, the address before /api/v1")
    if backend.signal not in ("metrics", "series", "exemplars", "inventory"):
        raise InvalidConfig(f"{backend.origin}: a prometheus backend holds no {backend.signal}")
    api = PrometheusApi(open_client(cluster, backend))
    if backend.signal == "series":
        return PrometheusSeries(cluster.name, api, Replicas(backend.replica_labels))
    if backend.signal == "exemplars":
        return PrometheusExemplars(cluster.name, api, Replicas(backend.replica_labels))
    return Prometheus(cluster.name, api, backend.pushdown, backend.replica_labels)

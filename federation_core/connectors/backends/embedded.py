"""The embedded store as a backend: all signals of one cluster from a folder of Parquet segments.

Rule: this is the contract's executable example. It has no engine of its own (`pushes_down` is empty), so the worker
evaluates beside it. Configured as `{kind: embedded, path: DIR}`; DIR may appear later than the worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, Fetched
from federation_core.connectors.backends import (
    embedded_inventory,
    embedded_logs,
    embedded_metrics,
    embedded_series,
    embedded_traces,
)
from federation_core.connectors.stores import segments_duckdb
from federation_core.connectors.stores.segments import wall_clock_ms
from federation_core.connectors.stores.segments_read import SegmentReader, reader_of
from federation_core.errors import ClusterError, InvalidConfig
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.signals.exemplars.payload import Exemplars
from federation_core.tenancy import Limits, Scope

#: What a caller reads in place of a store's folder.
_PLACE = "<store>"
_log = logging.getLogger(__name__)
#: (store, leaf, what the tenant may use, check of the deadline) → answer.
Fetch = Callable[[SegmentReader, Leaf, Limits, Callable[[], None]], Fetched]


def _no_exemplars(reader: SegmentReader, leaf: Leaf, limits: Limits, check: Callable[[], None]) -> Fetched:
    """Samples are stored without their exemplars."""
    return Fetched(Exemplars(), ("its store holds no exemplars",), watermark_ms=reader.manifest().newest_ms)


_FETCH: Mapping[str, Fetch] = {
    "metrics": embedded_metrics.fetch,
    "series": embedded_series.fetch,
    "exemplars": _no_exemplars,
    "traces": embedded_traces.fetch,
    "logs": embedded_logs.fetch,
}


class Embedded:
    """One signal of one cluster from its embedded store; safe to use from several threads."""

    kind = "embedded"
    pushes_down: frozenset[str] = frozenset()

    def __init__(self, cluster: str, signal: str, path: Path, clock_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._cluster, self._signal, self._clock_ms = cluster, signal, clock_ms
        self._reader = reader_of(path)

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        """Answer one leaf of this connector's signal.

        Metrics: raw samples of a matrix selector. Series: what there is. Traces: the part of one trace, or the traces
        found. Logs: entries.

        Raises Unreachable: there is no store. TimedOut: the deadline passed. Malformed: the store is damaged.
        QueryCanceled: the query was, also in the middle of a statement.
        """
        answer = _FETCH[self._signal]

        def check() -> None:
            self._check(deadline)

        check()
        try:
            with deadline.on_cancel(segments_duckdb.interrupt()):
                fetched = answer(self._reader, leaf, scope.limits, check)
        except ClusterError as error:
            # A statement that was interrupted says so in its own words; what matters is why.
            check()
            raise self._named(error) from error
        said = tuple(f"cluster {self._cluster}: {warning}" for warning in fetched.warnings)
        return replace(fetched, warnings=said)

    def inventory(self, deadline: Deadline) -> Inventory:
        """List services with their pods, metric and label names, and the time the store spans."""
        self._check(deadline)
        try:
            return embedded_inventory.take(self._reader)
        except ClusterError as error:
            raise self._named(error) from error

    def ping(self, deadline: Deadline) -> None:
        """Return if the store can be read; raise Unreachable or Malformed otherwise."""
        self._check(deadline)
        try:
            self._reader.manifest()
        except ClusterError as error:
            raise self._named(error) from error

    def about(self, deadline: Deadline) -> About:
        """Return our own release, and the time of the newest telemetry of this connector's signal."""
        self._check(deadline)
        try:
            return embedded_inventory.tell(self._reader, self._signal)
        except ClusterError as error:
            raise self._named(error) from error

    def _check(self, deadline: Deadline) -> None:
        # The running side's clock knows better than ours how far it is from that of the side that set the deadline.
        now_ms = deadline.clock() if deadline.clock is not None else self._clock_ms()
        deadline.check(now_ms, self._cluster)

    def _named(self, error: ClusterError) -> ClusterError:
        """Return the error with the cluster it belongs to. Who asks reads it; where the store lies is for the log."""
        said = error.message.replace(str(self._reader.path), _PLACE)
        if said != error.message:
            _log.warning("an embedded store does not answer", extra={"cluster": self._cluster, "why": error.message})
        return type(error)(said, **{**error.details, "cluster": self._cluster})


def connect(cluster: Cluster, backend: Backend) -> Connector:
    """Open the embedded store of a cluster for one signal.

    Raises InvalidConfig: the backend has no path, or a signal that the store does not hold.
    """
    if not backend.path:
        raise InvalidConfig(f"{backend.origin}: an embedded backend needs `path`, the folder of its store")
    if backend.signal not in {*_FETCH, "inventory"}:
        raise InvalidConfig(f"{backend.origin}: an embedded store holds no {backend.signal}")
    return Embedded(cluster.name, backend.signal, Path(backend.path))

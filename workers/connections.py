"""The connectors of a worker process: one per cluster and signal, and how the backends behind them stand.

Rule: a connector is opened when it is first needed, and once, whoever needs it; one that does not come to an end, as it
reads a file that hangs, keeps nobody from another. Of what a cluster's backends may be asked at once this process takes
its share, as soon as it is told how many there are.
"""

from __future__ import annotations

from threading import Lock

from federation_core import connectors
from federation_core.config import Settings
from federation_core.connectors import Connector
from federation_core.connectors.pace import divide
from federation_core.errors import Unreachable
from workers.standing import Standing


class Connections:
    """The connectors that this process has opened; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        #: What this process has seen of the backends, and was told of them.
        beside = ((c.name, backend.signal) for c in settings.clusters for backend in c.backends if not backend.url)
        self.standing = Standing(frozenset(beside))
        self.standing.listen(lambda cluster, told: divide(cluster, told.processes, told.rank))
        self._settings = settings
        self._open: dict[tuple[str, str], Connector] = {}
        self._opening: dict[tuple[str, str], Lock] = {}

    def connector(self, cluster_name: str, signal: str) -> Connector:
        """Return the connector to a cluster's backend for a signal.

        Raises Unreachable: the cluster has none. InvalidConfig: it cannot be opened.
        """
        key = (cluster_name, signal)
        found = self._open.get(key)
        if found is not None:
            return found
        with self._opening.setdefault(key, Lock()):
            if key not in self._open:
                cluster = self._settings.cluster(cluster_name)
                backend = cluster.backend_for(signal)
                if backend is None:
                    raise Unreachable(f"its worker has no backend for {signal}", cluster=cluster_name)
                self._open[key] = connectors.connect(cluster, backend)
            return self._open[key]

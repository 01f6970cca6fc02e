"""What evaluates in the clusters of a worker, found out on a thread of its own.

Rule: nobody waits for it. The connectors are those that queries use, so what a query finds out is known here at the
next look, and a look asks a backend only when what the connector knows has become old. A backend whose configuration is
wrong is told in the log when the worker starts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from threading import Event, Thread

from federation_core.config import Settings
from federation_core.errors import FederationError, InvalidConfig
from federation_core.query import Deadline
from federation_core.signals import SignalKind, kinds
from workers.connections import Connections

#: How long after the start the first look is: opening connectors takes a processor that serving a queue needs first.
FIRST_LOOK_S = 1.0
#: How often the connectors are asked what they know.
LOOK_EVERY_S = 5.0
#: How long one backend may keep the others waiting.
_ANSWER_MS = 2_000
_log = logging.getLogger(__name__)


class Engines:
    """The engines of some clusters between `start` and `stop`, as far as they have been found out."""

    def __init__(
        self, settings: Settings, clusters: tuple[str, ...], connections: Connections, clock: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._clusters = clusters
        self._connections = connections
        self._clock = clock
        self._known: dict[str, str] = {}
        #: What is wrong with the configuration, said once.
        self._said: set[str] = set()
        self._stopping = Event()

    def known(self) -> Mapping[str, str]:
        """Return cluster → what evaluates there, in a word; without those of which it is not known yet."""
        return self._known

    def start(self) -> None:
        """Begin to find out, unless it was stopped before."""
        Thread(target=self._look, name="engines", daemon=True).start()

    def stop(self) -> None:
        """Find out no more."""
        self._stopping.set()

    def _look(self) -> None:
        asked = [
            (cluster, kind)
            for cluster in self._clusters
            for kind in kinds().values()
            if self._settings.cluster(cluster).backend_for(kind.name) is not None
        ]
        self._stopping.wait(FIRST_LOOK_S)
        while not self._stopping.is_set():
            for cluster, kind in asked:
                self._ask(cluster, kind)
            self._stopping.wait(LOOK_EVERY_S)

    def _ask(self, cluster: str, kind: SignalKind) -> None:
        if self._stopping.is_set():
            return
        try:
            connector = self._connections.connector(cluster, kind.name)
            word = kind.engine_of(connector, Deadline(self._clock() + _ANSWER_MS, self._clock))
        except InvalidConfig as exc:
            if exc.message not in self._said:
                self._said.add(exc.message)
                _log.error("a backend cannot be used", extra={"cluster": cluster, "why": exc.message})
            return
        except FederationError:
            # What was known last is more than nothing; a query says why the backend cannot be asked.
            return
        except Exception:
            _log.exception("what evaluates in a cluster could not be found out", extra={"cluster": cluster})
            return
        if word:
            self._known = {**self._known, cluster: word}

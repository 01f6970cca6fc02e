"""The sign of life of a worker process: a thread that says every second which clusters it serves.

Rule: it beats while the process can take tasks, stops saying so when the process is told to end, and a Redis that
does not answer costs a beat and a log line, never the process.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from threading import Event, Thread

from federation_core.connectors.stores.jobs_beats import Heartbeats
from federation_core.errors import StoreUnavailable

BEAT_EVERY_S = 1.0
_log = logging.getLogger(__name__)


def worker_name(owner: str) -> str:
    """Name this process by its host, its number there and the owner of its leases: `host:pid:owner`.

    A container that is started again often has the host and the number of the one before it, and never its owner.
    """
    return f"{socket.gethostname()}:{os.getpid()}:{owner}"


class Heart:
    """Beats for some clusters between `start` and `stop`; `owner` is who holds the process's leases."""

    def __init__(self, beats: Heartbeats, clusters: tuple[str, ...], owner: str, clock: Callable[[], int]) -> None:
        self._beats = beats
        self._owner = owner
        self._clusters = clusters
        self._clock = clock
        self._stopping = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin to beat; the first beat is sent at once."""
        self._stopping.clear()
        self._thread = Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Say that the worker is leaving, so that no new query is planned for it. Does not block on Redis."""
        self._stopping.set()

    def _beat(self) -> None:
        name = worker_name(self._owner)
        while not self._stopping.is_set():
            self._send(name)
            self._stopping.wait(BEAT_EVERY_S)
        self._send(name, alive_ms=0)

    def _send(self, name: str, **more: int) -> None:
        try:
            self._beats.beat(self._clusters, name, self._clock(), **more)
        except StoreUnavailable as exc:
            _log.warning("no heartbeat could be sent", extra={"why": exc.message})

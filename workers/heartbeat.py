"""The sign of life of a worker process: a thread that says every second which clusters it serves and what it holds.

Rule: it says that a cluster is served while its tasks are fetched, and no longer when the process is told to end; and
that the leases are held until the process has ended. What was seen of the backends and what evaluates there is said
along, once it is known; a beat never waits for that. Its answer tells what all workers of a cluster make of its
backends, and how many they are. A Redis that does not answer costs a beat and one log line, never the process.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from itertools import count
from threading import Event, Thread
from time import monotonic, sleep

from federation_core.connectors.stores.jobs_beats import ALIVE_MS, Heartbeats
from federation_core.errors import StoreUnavailable
from workers.fetchers import Fetchers
from workers.prober import Prober
from workers.standing import Standing

BEAT_EVERY_S = 1.0
#: The next beat while a cluster's tasks are not fetched yet, or after one that Redis did not hear: a worker that beats
#: late after an outage of Redis is taken for dead.
_SOON_S = 0.2
#: However much somebody is in a hurry, two beats are not closer: whatever makes one more of each does not spin.
_APART_S = 0.2
_log = logging.getLogger(__name__)


def worker_name(owner: str) -> str:
    """Name this process by its host, its number there and the owner of its leases: `host:pid:owner`.

    A container that is started again often has the host and the number of the one before it, and never its owner.
    """
    return f"{socket.gethostname()}:{os.getpid()}:{owner}"


class Heart:
    """Beats for some clusters between `start` and `stop`, and holds what is fetched until it is given back.

    `standing` has what is to be said of the backends and takes the answer, `prober` knows what evaluates in them.
    """

    def __init__(
        self,
        beats: Heartbeats,
        clusters: tuple[str, ...],
        fetchers: Fetchers,
        clock: Callable[[], int],
        standing: Standing | None = None,
        prober: Prober | None = None,
    ) -> None:
        self._beats = beats
        self._fetchers = fetchers
        self._clusters = clusters
        self._clock = clock
        self._standing = standing or Standing()
        self._prober = prober
        self._numbers = count(1)
        self._stopping = Event()
        #: Why the last beat was not heard, said once.
        self._said = ""

    def start(self) -> None:
        """Begin to beat; the first beat is sent at once."""
        self._stopping.clear()
        Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Say that the worker is leaving, so that no new query is planned for it. Does not block on Redis."""
        self._stopping.set()
        self._standing.hurried.set()

    def _beat(self) -> None:
        name = worker_name(self._fetchers.owner)
        while not self._stopping.is_set():
            begun_s = monotonic()
            served = [cluster for cluster in self._clusters if not self._fetchers.misses(cluster)]
            settled = self._send(served, name) and len(served) == len(self._clusters)
            self._standing.hurried.wait(BEAT_EVERY_S if settled else _SOON_S)
            self._stopping.wait(begun_s + _APART_S - monotonic())
            self._standing.hurried.clear()
        while not self._send(self._clusters, name, alive_ms=0):
            sleep(BEAT_EVERY_S)
        while not self._fetchers.given_back:
            sleep(BEAT_EVERY_S)
            self._send((), name)

    def _send(self, served: Sequence[str], name: str, alive_ms: int = ALIVE_MS) -> bool:
        """Say what is served and what is held; return whether Redis has heard it."""
        prober = self._prober
        report = self._standing.report(served)
        try:
            told = self._beats.beat(
                served,
                name,
                self._clock(),
                alive_ms,
                prober.engines() if prober else {},
                seen=report.seen,
                number=next(self._numbers),
                probes=prober.able() if prober else {},
            )
            self._standing.heard(report, told)
            self._fetchers.hold()
        except StoreUnavailable as exc:
            if exc.message != self._said:
                _log.warning("no heartbeat could be sent", extra={"why": exc.message})
            self._said = exc.message
        except Exception:
            _log.exception("no heartbeat could be sent")
        else:
            self._said = ""
            return True
        return False

"""The stack on one machine: Redis, the API, one worker for all clusters, and one that merges and schedules.

Rule: it starts as a whole or not at all, says which role has ended and what it said last, and leaves nothing
behind. Starting a role again is not done here yet: `_ended` is where that will be decided.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from federation_core.config import Settings
from federation_core.connectors.stores.jobs_beats import Heartbeats
from federation_core.connectors.stores.redis import EmbeddedRedis
from federation_core.errors import StoreUnavailable
from webapp.cli.stack import commands
from webapp.cli.stack.guard import Guard
from webapp.cli.stack.journal import Journal
from webapp.cli.stack.ports import address
from webapp.cli.stack.process import Process, Role, how_it_ended

START_TIMEOUT_S: Final = 60.0
_END_TIMEOUT_S: Final = 6.0
_LOOK_S: Final = 0.05
_WATCH_S: Final = 0.25

Tell = Callable[[str], None]


class RoleEnded(Exception):
    """A role ended that the stack cannot be without."""


class Stack:
    """The running roles. Use as: `start`, `wait_until_ready`, `watch`, and in any case `stop`."""

    def __init__(
        self, settings: Settings, config: Path, listener: socket.socket, journal: Journal, folder: Path
    ) -> None:
        self._clusters = [cluster.name for cluster in settings.clusters]
        self._config = config.resolve()
        self._listener = listener
        self._journal = journal
        self._folder = folder
        self._redis: EmbeddedRedis | None = None
        self._redis_url = settings.redis_url
        self._beats = Heartbeats(settings.redis_url)
        self._guard = Guard()
        self._running: list[Process] = []
        self.url = address(listener)

    def start(self, environ: Mapping[str, str], companions: Sequence[Role] = ()) -> None:
        """Start every role, the companions first: they have the most to do.

        Raises InvalidConfig, StoreUnavailable: no Redis server can be started, or the given one does not answer.
        """
        self._start(companions)
        if self._redis_url:
            self._beats.latest(self._clusters, 0)
        else:
            self._redis = EmbeddedRedis(self._folder / "redis")
            self._redis_url = self._redis.start()
            self._guard.watch(self._redis.pid)
            self._beats = Heartbeats(self._redis_url)
        environ = commands.environment(environ, APPSENTRY_CONFIG=str(self._config), REDIS_URL=self._redis_url)
        serving, door = {**environ, "APPSENTRY_CLUSTERS": ",".join(self._clusters)}, self._listener.fileno()
        self._start(
            [
                Role("cluster worker", commands.cluster_worker(self._clusters), serving),
                Role("web", commands.web(f"fd://{door}"), environ, inherits=(door,), vital=True),
                Role("merge worker", commands.merge_worker(with_beat=True), environ),
            ]
        )
        # Only the web role listens from here on: should it end, clients are refused instead of kept waiting.
        self._listener.close()

    def wait_until_ready(self, stop: threading.Event, also: Callable[[], bool] = lambda: True) -> bool:
        """Return True once the API answers, a worker serves every cluster and `also` holds; False if `stop` is set.

        Raises RoleEnded: a role has ended meanwhile, or they are not ready after a minute; says which.
        """
        until_s = time.monotonic() + START_TIMEOUT_S
        checks = {"the web role": self._web_answers, "the cluster worker": self._clusters_served, "the data": also}
        while not stop.wait(_LOOK_S):
            for process in self._running:
                if (status := process.status()) is not None:
                    raise RoleEnded(self._obituary(process, status))
            checks = {name: ready for name, ready in checks.items() if not ready()}
            if not checks:
                return True
            if time.monotonic() > until_s:
                raise RoleEnded(f"not ready after {START_TIMEOUT_S:.0f} s: {', '.join(checks)}")
        return False

    def watch(self, stop: threading.Event, tell: Tell) -> None:
        """Return when `stop` is set; tell about each role that ends before.

        Raises RoleEnded: one ended without which the stack is of no use.
        """
        told: set[str] = set()
        while not stop.wait(_WATCH_S):
            if self._redis is not None and not self._redis.running:
                raise RoleEnded("redis ended")
            for process in self._running:
                status = process.status()
                if status is not None and process.role.title not in told:
                    told.add(process.role.title)
                    self._ended(process, status, tell)

    def stop(self) -> None:
        """End every role and whatever it started, Redis last; returns when all are gone."""
        self._listener.close()
        for process in self._running:
            process.ask_to_end()
        by_s = time.monotonic() + _END_TIMEOUT_S
        for process in self._running:
            process.end(by_s)
        if self._redis is not None:
            self._redis.stop()
        self._guard.dismiss()

    def _start(self, roles: Sequence[Role]) -> None:
        for role in roles:
            self._running.append(Process(role, str(self._folder), self._guard, self._journal))

    def _ended(self, process: Process, status: int, tell: Tell) -> None:
        obituary = self._obituary(process, status)
        if process.role.vital:
            raise RoleEnded(obituary)
        tell(obituary)

    def _obituary(self, process: Process, status: int) -> str:
        said = self._journal.last_words(process.role.title)
        words = "".join(f"\n    {line}" for line in said)
        return f"{process.role.title} ended ({how_it_ended(status)})" + (f"; its last words:{words}" if said else "")

    def _web_answers(self) -> bool:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=0.5)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _clusters_served(self) -> bool:
        try:
            beats = self._beats.latest(self._clusters, int(time.time() * 1000))
        except StoreUnavailable:
            return False
        return all(name in beats and beats[name].alive for name in self._clusters)

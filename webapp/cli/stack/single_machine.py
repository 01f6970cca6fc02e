"""The stack on one machine: Redis, the API, one worker for all clusters, and one that merges and schedules.

Rule: it starts as a whole or not at all, and leaves nothing behind. Once it runs, a role that ends is started again,
Redis like the others: on the same folder, port and password. The door of the API stays open meanwhile: it is ours, so
whoever asks while no web role listens waits for the next one and is not refused.
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
from webapp.cli.stack.process import Process, Role
from webapp.cli.stack.supervision import Supervised, Tell

_REDIS: Final = "redis"
START_TIMEOUT_S: Final = 60.0
_END_TIMEOUT_S: Final = 6.0
_LOOK_S: Final = 0.02
_WATCH_S: Final = 0.25
#: A role that ends so many times in a row while the stack starts will not come up.
_PATIENCE: Final = 3
_REDIS_TIMEOUT_S: Final = 20.0


class StartFailed(Exception):
    """The stack does not come up, for want of a role."""


class Stack:
    """The running roles. Use as: `start`, `wait_until_ready`, `watch`, and in any case `stop`."""

    def __init__(
        self,
        settings: Settings,
        config: Path,
        listener: socket.socket,
        journal: Journal,
        folder: Path,
        tell: Tell,
    ) -> None:
        self._clusters = [cluster.name for cluster in settings.clusters]
        self._config = config.resolve()
        self._listener = listener
        self._journal = journal
        self._folder = folder
        self._tell_user = tell
        self._redis_url = settings.redis_url
        self._beats = Heartbeats(settings.redis_url)
        self._guard = Guard()
        self._roles: list[Supervised] = []
        self.url = address(listener)

    def start(self, environ: Mapping[str, str], companions: Sequence[Role], stop: threading.Event) -> None:
        """Start every role, the companions first: they have the most to do; `stop` ends the wait for Redis.

        Raises InvalidConfig: there is no Redis server to start. StoreUnavailable: the given one does not answer.
        StartFailed: the one that was started does not.
        """
        self._start(companions)
        if self._redis_url:
            self._beats.latest(self._clusters, 0)
        else:
            argv, self._redis_url = EmbeddedRedis(self._folder / "redis").prepare()
            self._beats = Heartbeats(self._redis_url)
            self._start([Role(_REDIS, argv, environ)])
            self._until({"redis": self._redis_answers}, stop, _REDIS_TIMEOUT_S)
        environ = commands.environment(environ, APPSENTRY_CONFIG=str(self._config), REDIS_URL=self._redis_url)
        serving, door = {**environ, "APPSENTRY_CLUSTERS": ",".join(self._clusters)}, self._listener.fileno()
        self._start(
            [
                Role("cluster worker", commands.cluster_worker(self._clusters), serving),
                Role("web", commands.web(f"fd://{door}"), environ, inherits=(door,)),
                Role("merge worker", commands.merge_worker(with_beat=True), environ),
            ]
        )

    def wait_until_ready(self, stop: threading.Event, also: Callable[[], bool] = lambda: True) -> bool:
        """Return True once the API answers, a worker serves every cluster and `also` holds; False if `stop` is set.

        Raises StartFailed: a role does not come up, or they are not ready after a minute; says which.
        """
        checks = {"the web role": self._web_answers, "the cluster worker": self._clusters_served, "the data": also}
        return self._until(checks, stop, START_TIMEOUT_S)

    def watch(self, stop: threading.Event) -> None:
        """Keep every role running until `stop` is set."""
        while not stop.wait(_WATCH_S):
            self._look()

    def stop(self) -> None:
        """End every role and whatever it started, Redis last; returns when all are gone."""
        self._listener.close()
        running = [role.process for role in self._roles if role.process is not None]
        for last in (False, True):
            processes = [process for process in running if (process.role.title == _REDIS) is last]
            for process in processes:
                process.ask_to_end()
            by_s = time.monotonic() + _END_TIMEOUT_S
            for process in processes:
                process.end(by_s)
        self._guard.dismiss()

    def _start(self, roles: Sequence[Role]) -> None:
        for role in roles:
            self._roles.append(Supervised(role, self._launch, self._journal.last_words, time.monotonic()))

    def _launch(self, role: Role) -> Process:
        return Process(role, str(self._folder), self._guard, self._journal)

    def _look(self) -> None:
        groups = [role.process.pid for role in self._roles if role.process is not None]
        if self._guard.replace_if_dead(groups):
            self._tell("the guard ended and is started again")
        for role in self._roles:
            role.look(time.monotonic(), self._tell)

    def _until(self, checks: Mapping[str, Callable[[], bool]], stop: threading.Event, timeout_s: float) -> bool:
        until_s = time.monotonic() + timeout_s
        while not stop.is_set():
            self._look()
            for role in self._roles:
                if role.backoff.ends >= _PATIENCE:
                    raise StartFailed(f"{role.role.title} does not come up")
            checks = {name: ready for name, ready in checks.items() if not ready()}
            if not checks:
                return True
            if time.monotonic() > until_s:
                raise StartFailed(f"not ready after {timeout_s:.0f} s: {', '.join(checks)}")
            stop.wait(_LOOK_S)
        return False

    def _tell(self, text: str) -> None:
        self._journal.note(text)
        self._tell_user(text)

    def _redis_answers(self) -> bool:
        try:
            self._beats.latest((), 0)
        except StoreUnavailable:
            return False
        return True

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

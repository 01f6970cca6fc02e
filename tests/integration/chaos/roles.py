"""The processes of a run: started as in production, killed at will, and started again when they end by themselves.

Rule: a process that ends without having been told to is counted and noted as an episode of its cluster, since the
queries it held are honestly lost; whoever broke it is what a run is there to show.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

from tests.integration.chaos.episodes import Episodes
from tests.support.stack import CLUSTERS, Stack, children
from tests.support.web_server import WebServer
from webapp.cli.stack import commands

MERGES = ("merge-1", "merge-2")
WEB = "web"
_LOOK_EVERY_S = 0.02
_UP_WITHIN_S = 60


@dataclass
class Role:
    """One process that should be there; `lock` is held by whoever lets it be away."""

    name: str
    argv: list[str]
    process: subprocess.Popen[bytes]
    seen_ms: int
    lock: Lock = field(default_factory=Lock)


class Roles:
    """A worker process per cluster, two merge workers that run the schedule, and the API."""

    def __init__(self, stack: Stack, episodes: Episodes) -> None:
        self.stack = stack
        self.episodes = episodes
        self.ended_by_themselves: Counter[str] = Counter()
        self._over = Event()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        #: Sends requests to the API.
        self.web = WebServer(stack)
        self.web.url = f"http://127.0.0.1:{port}"
        self._argv = {name: commands.cluster_worker([name]) for name in CLUSTERS}
        self._argv |= {name: commands.merge_worker(with_beat=True) for name in MERGES}
        self._argv[WEB] = commands.web(f"127.0.0.1:{port}")
        self.roles: dict[str, Role] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start everything, wait until it serves, keep it up for the block."""
        for name, argv in self._argv.items():
            self.roles[name] = Role(name, argv, self._started(name), self.episodes.clock())
        self.stack.until(self.complete)
        keeper = Thread(target=self._keep, name="keeper", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            self._over.set()
            keeper.join()

    def complete(self) -> bool:
        """Tell whether every cluster is served by the process that should, and the API answers."""
        return all(self.serves(name) for name in CLUSTERS) and self._answers()

    def serves(self, cluster: str) -> bool:
        """Tell whether the present process of a cluster has said that it is alive."""
        beats = self.stack.dispatch.jobs.beats.latest([cluster], self.episodes.clock())
        beat = beats.get(cluster)
        return beat is not None and beat.alive and f":{self.roles[cluster].process.pid}:" in beat.worker

    def kill(self, name: str) -> None:
        """End a process as the kernel does when memory runs out."""
        self.roles[name].process.send_signal(signal.SIGKILL)
        self.roles[name].process.wait()

    def start(self, name: str) -> None:
        """Start a process again; its `lock` is held by the caller."""
        role = self.roles[name]
        role.process, role.seen_ms = self._started(name), self.episodes.clock()

    def await_up(self, name: str) -> bool:
        """Wait until a role that was started again does its work; return whether it does.

        It does not where it has ended again, which the keeper will see, or where the run is over.
        """
        until_s = time.monotonic() + _UP_WITHIN_S
        while not self._up(name):
            if self._over.wait(0.05) or self.roles[name].process.poll() is not None:
                return False
            if time.monotonic() > until_s:
                raise AssertionError(f"{name} did not come up:\n" + self.stack.log()[-2000:])
        return True

    def _up(self, name: str) -> bool:
        try:
            if name in CLUSTERS:
                return self.serves(name)
            # The pool is the last thing that a merge worker starts before it works.
            return self._answers() if name == WEB else bool(children(self.roles[name].process.pid))
        except Exception:
            # Redis may stand still at this moment; asked again soon.
            return False

    def _answers(self) -> bool:
        try:
            return self.web.get("/health").status_code == 200
        except OSError:
            return False

    def _started(self, name: str) -> subprocess.Popen[bytes]:
        argv = self._argv[name]
        return self.stack.run(argv) if name == WEB else self.stack.start(argv)

    def _keep(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            for role in self.roles.values():
                if not role.lock.acquire(blocking=False):
                    continue
                if role.process.poll() is None:
                    role.seen_ms = self.episodes.clock()
                    role.lock.release()
                else:
                    self.ended_by_themselves[role.name] += 1
                    Thread(target=self._restart, args=(role,), daemon=True).start()

    def _restart(self, role: Role) -> None:
        """Start a process that ended by itself; takes over the lock that the keeper holds."""
        try:
            with self.episodes.episode("ended", role.name) as episode:
                episode.from_ms = role.seen_ms
                self.start(role.name)
                while not self.await_up(role.name) and not self._over.is_set():
                    self.ended_by_themselves[role.name] += 1
                    self.start(role.name)
        finally:
            role.lock.release()

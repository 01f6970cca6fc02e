"""The faults: each is done to one target for a while, written down as an episode, and taken back.

Rule: one fault at a time per target, so that the truth about a cluster stays nameable; different targets fail at the
same time as it comes.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from threading import Event, Lock, Thread

from federation_core.connectors.stores.jobs_beats import ALIVE_MS
from federation_core.connectors.stores.redis import connect
from tests.integration.chaos.episodes import EVERYONE, Episodes
from tests.integration.chaos.roles import MERGES, WEB, Roles
from tests.support.stack import CLUSTERS, Stack
from tests.support.wide_area_stack import WideAreaStack
from workers.app import DISCOVERY_QUEUE, MERGE_QUEUE

#: What a cluster's backend can be told to do; see `tests.support.worker_with_faults`.
SWITCHES = {
    "held": {"hold": True},
    "dripping": {"drip_s": 0.05},
    "raising": {"raise": "a bug"},
    "garbling": {"write_garbage": True},
    "truncating": {"truncate": "cut short by a fault"},
    "slow": {"sleep_s": 0.4},
}
#: Fault → how often, relative to the others.
WEIGHTS = {
    **dict.fromkeys(SWITCHES, 3),
    "killed": 5,
    "dying": 6,
    "stopped": 2,
    "frozen": 2,
    "merge killed": 3,
    "web killed": 1,
    "redis paused": 2,
    "garbage": 4,
    "duplicate": 6,
}
#: What befalls the links of clusters, where there are links; see `tests.support.wan`.
LINK_WEIGHTS = {"link hung": 3, "link stalled": 3, "link cut": 3}
#: How long what a link's fault did goes on: until connections that are dead and do not say so are given up, and until
#: a worker that was turned away tries again.
_LINK_TAILS_S = {"link hung": 15.0, "link stalled": 4.0, "link cut": 8.0}
_LINK_MODES = {"link hung": "hang", "link stalled": "stall", "link cut": "close"}
#: After a fault of a backend is taken back, its worker drops what has piled up.
_TAIL_S = 1.0
#: After Redis goes on, whoever waited for an answer in vain connects again.
_PAUSE_TAIL_S = 2.5
#: Faults of which the targets stand in for each other: with both merge workers gone nobody would end a job.
_ONE_AT_A_TIME = {"redis paused": EVERYONE, "merge killed": MERGES[0]}
#: Every queue that somebody reads.
QUEUES = [*(f"cluster.{name}" for name in CLUSTERS), MERGE_QUEUE, DISCOVERY_QUEUE]


@dataclass(frozen=True, slots=True)
class Planned:
    """One entry of the schedule: after `wait_s`, do `kind` to `target` for `for_s`."""

    wait_s: float
    kind: str
    target: str
    for_s: float


def schedule(seed: int, every_s: float, weights: Mapping[str, int] = WEIGHTS) -> Iterator[Planned]:
    """Yield faults for ever; the same for the same seed."""
    random = Random(f"faults {seed}")
    while True:
        (kind,) = random.choices(list(weights), list(weights.values()))
        longest_s = {"redis paused": 2.0, "killed": 9.0, "stopped": 5.0, "frozen": 8.0}.get(kind, 4.0)
        targets = {"merge killed": MERGES, "web killed": (WEB,), "garbage": QUEUES}.get(kind, CLUSTERS)
        yield Planned(random.expovariate(1 / every_s), kind, random.choice(targets), random.uniform(0.3, longest_s))


def garbage_of_every_kind() -> tuple[bytes, ...]:
    """Return what is no task of ours: no JSON, no message, no task, no body."""
    message = {
        "body": "bm90IGpzb24=",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"id": "x", "task": "no.such.task"},
        "properties": {
            "delivery_tag": "x",
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "x"},
        },
    }
    return (
        b"",
        b"no JSON at all",
        b"\x00\xff\xfe",
        b"[" * 2000,
        b"null",
        b"{}",
        b'{"body": 1, "headers": {}, "properties": {}}',
        json.dumps(message).encode(),
    )


@dataclass
class Injector:
    """Follows a schedule until it is told to end; counts what it did and keeps what went wrong in doing it."""

    roles: Roles
    episodes: Episodes
    seed: int
    every_s: float
    done: Counter[str] = field(default_factory=Counter)
    mistakes: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stack: Stack = self.roles.stack
        self._over = Event()
        self._busy: dict[str, Lock] = defaultdict(Lock)
        self._switched: dict[str, dict[str, object]] = {}
        self._switching = Lock()
        self._random = Random(f"garbage {self.seed}")
        self._redis = connect(self._stack.url, answer_s=5)

    @contextmanager
    def injecting(self) -> Iterator[None]:
        """Inject for the block; afterwards every fault has been taken back."""
        with ThreadPoolExecutor(16) as pool:
            thread = Thread(target=self._follow, args=(pool,), name="injector", daemon=True)
            thread.start()
            try:
                yield
            finally:
                self._over.set()
                thread.join()
        if self.mistakes:
            raise self.mistakes[0]

    def _follow(self, pool: ThreadPoolExecutor) -> None:
        weights = WEIGHTS | LINK_WEIGHTS if isinstance(self._stack, WideAreaStack) else WEIGHTS
        for planned in schedule(self.seed, self.every_s, weights):
            if self._over.wait(planned.wait_s):
                return
            lock = self._busy[_ONE_AT_A_TIME.get(planned.kind, planned.target)]
            if planned.kind in ("garbage", "duplicate"):
                pool.submit(self._once, planned).add_done_callback(self._look)
            elif lock.acquire(blocking=False):
                pool.submit(self._for_a_while, planned, lock).add_done_callback(self._look)

    def _look(self, done: Future[None]) -> None:
        error = done.exception()
        if error is not None:
            self.mistakes.append(error)

    def _once(self, planned: Planned) -> None:
        if planned.kind == "garbage":
            self._redis.lpush(planned.target, self._random.choice(garbage_of_every_kind()))
            self.done["garbage"] += 1
        else:
            self.done["duplicate"] += self._duplicate()

    def _duplicate(self) -> int:
        """Deliver again what some worker is working on at this moment; return how many messages."""
        held = [
            (key.decode().split(":")[1], message)
            for key in self._redis.scan_iter("lease:*")
            for message in self._redis.lrange(key, 0, -1)
        ]
        for queue, message in held[:3]:
            self._redis.lpush(queue, message)
        return len(held[:3])

    def _for_a_while(self, planned: Planned, lock: Lock) -> None:
        try:
            self.done[planned.kind] += 1
            if planned.kind in SWITCHES:
                self._switched_on(planned)
            else:
                doings: dict[str, Callable[[Planned], None]] = {
                    "killed": self._killed,
                    "dying": self._dying,
                    "stopped": self._stopped,
                    "frozen": self._frozen,
                    "merge killed": self._away,
                    "web killed": self._away,
                    "redis paused": self._redis_paused,
                    **dict.fromkeys(LINK_WEIGHTS, self._link),
                }
                doings[planned.kind](planned)
        finally:
            lock.release()

    def _switch(self, cluster: str, fault: dict[str, object]) -> None:
        with self._switching:
            self._switched = {name: f for name, f in self._switched.items() if name != cluster}
            if fault:
                self._switched[cluster] = fault
            self._stack.break_clusters(self._switched)

    def _switched_on(self, planned: Planned) -> None:
        with self.episodes.episode(planned.kind, planned.target) as episode:
            self._switch(planned.target, SWITCHES[planned.kind])
            with self.episodes.certain(episode):
                self._over.wait(planned.for_s)
            self._switch(planned.target, {})
            self._over.wait(_TAIL_S)

    def _killed(self, planned: Planned) -> None:
        role = self.roles.roles[planned.target]
        with role.lock, self.episodes.episode("killed", planned.target) as episode:
            self.roles.kill(planned.target)
            with self.episodes.certain(episode, after_ms=ALIVE_MS + 200):
                self._over.wait(planned.for_s)
            self.roles.start(planned.target)
            self.roles.await_up(planned.target)

    def _dying(self, planned: Planned) -> None:
        """Have the worker die in the middle of the next shard it runs; the keeper starts it again."""
        with self.episodes.episode("dying", planned.target):
            self._switch(planned.target, {"exit": True})
            self._over.wait(planned.for_s / 4)
            self._switch(planned.target, {})
            self._over.wait(_TAIL_S)

    def _stopped(self, planned: Planned) -> None:
        role = self.roles.roles[planned.target]
        with role.lock, self.episodes.episode("stopped", planned.target) as episode:
            role.process.terminate()
            role.process.wait()
            with self.episodes.certain(episode, after_ms=ALIVE_MS + 200):
                self._over.wait(planned.for_s)
            self.roles.start(planned.target)
            self.roles.await_up(planned.target)

    def _frozen(self, planned: Planned) -> None:
        role = self.roles.roles[planned.target]
        with role.lock, self.episodes.episode("frozen", planned.target) as episode:
            role.process.send_signal(signal.SIGSTOP)
            with self.episodes.certain(episode):
                self._over.wait(planned.for_s)
            role.process.send_signal(signal.SIGCONT)
            self._over.wait(_TAIL_S)

    def _away(self, planned: Planned) -> None:
        role = self.roles.roles[planned.target]
        with role.lock, self.episodes.episode(planned.kind, planned.target):
            self.roles.kill(planned.target)
            self._over.wait(planned.for_s)
            self.roles.start(planned.target)
            self.roles.await_up(planned.target)

    def _link(self, planned: Planned) -> None:
        assert isinstance(self._stack, WideAreaStack)
        role = self.roles.roles[planned.target]
        with role.lock, self.episodes.episode(planned.kind, planned.target) as episode:
            self._stack.wan.set_mode(_LINK_MODES[planned.kind], planned.target)
            # A part that was past the link arrives.
            with self.episodes.certain(episode, after_ms=int(self._stack.delay_ms) + 100):
                self._over.wait(planned.for_s)
            self._stack.wan.set_mode("ok", planned.target)
            self._over.wait(_LINK_TAILS_S[planned.kind])

    def _redis_paused(self, planned: Planned) -> None:
        with self.episodes.episode("redis slow", EVERYONE):
            os.kill(self._stack.redis.pid, signal.SIGSTOP)
            try:
                with self.episodes.episode("redis paused", "redis"):
                    self._over.wait(planned.for_s)
            finally:
                os.kill(self._stack.redis.pid, signal.SIGCONT)
            self._over.wait(_PAUSE_TAIL_S)

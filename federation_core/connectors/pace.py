"""How fast one backend of a cluster is asked by this process: requests a second, and requests at once.

Rule: the cluster's `rateLimit` holds for all connectors to one backend together, whatever they ask, and is shared among
the processes that serve the cluster. Who waits for a turn waits in line, no longer than the deadline, nor once nobody
wants the answer any more; nothing is locked meanwhile. A turn is that of one request and ends with it, so that requests
of one shard, of which none waits for another, cannot block each other.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from weakref import WeakValueDictionary

from federation_core.config import Cluster, RateLimit
from federation_core.errors import Rejected
from federation_core.query import Deadline

#: Nobody waits longer for a turn, and no lock knows how to.
_LONGEST_S: Final = 3_600.0
#: When to try again is not known where nothing ended in all the time there was.
_AGAIN_S: Final = 1.0


class _Asking(threading.local):
    at_once = False


_asking = _Asking()


@contextmanager
def at_once() -> Iterator[None]:
    """Let what this thread asks inside the block wait for no turn, nor take one: whether a backend answers is asked."""
    _asking.at_once = True
    try:
        yield
    finally:
        _asking.at_once = False


class Pace:
    """The turns of one backend; safe to use from several threads."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._running, self._most = 0, 1
        self._line: deque[threading.Event] = deque()
        #: When the bucket of tokens will be full, on the monotonic clock; a request makes it later by one interval.
        self._full_at_s, self._interval_s, self._burst = 0.0, 0.0, 1

    def hold(self, limit: RateLimit, processes: int, rank: int) -> None:
        """Keep this process's share of a limit from now on; what is under way goes on."""
        with self._lock:
            self._most = share(limit.max_concurrent, processes, rank)
            self._interval_s = processes / limit.requests_per_second
            self._burst = share(limit.burst, processes, rank)
            self._call_next()

    @contextmanager
    def turn(self, longest_s: float, deadline: Deadline) -> Iterator[None]:
        """Wait for a turn of so many seconds at most, and have it inside the block.

        Raises Rejected, with `retry_after_s`: it would not come in time. QueryCanceled.
        """
        if _asking.at_once:
            yield
            return
        until_s = time.monotonic() + min(longest_s, _LONGEST_S)
        self._enter(until_s, deadline)
        try:
            self._await_token(until_s, deadline)
            yield
        finally:
            self._leave()

    def _enter(self, until_s: float, deadline: Deadline) -> None:
        called = threading.Event()
        with self._lock:
            # While somebody waits all places are taken: one that is given back is given on.
            if self._running < self._most:
                self._running += 1
                return
            self._line.append(called)
        with deadline.on_cancel(called.set):
            if not deadline.cancelled():
                called.wait(max(until_s - time.monotonic(), 0))
        with self._lock:
            mine = called not in self._line
            if not mine:
                self._line.remove(called)
        if deadline.cancelled():
            if mine:
                self._leave()
            deadline.check(0, self._cluster)
        if not mine:
            raise Rejected(
                f"the backend may be asked {self._most} things at once, and none of them ended in time",
                cluster=self._cluster,
                retry_after_s=_AGAIN_S,
            )

    def _leave(self) -> None:
        with self._lock:
            self._running -= 1
            self._call_next()

    def _call_next(self) -> None:
        while self._line and self._running < self._most:
            # The place is given to whom is called, so that nobody who comes meanwhile takes it.
            self._running += 1
            self._line.popleft().set()

    def _await_token(self, until_s: float, deadline: Deadline) -> None:
        with self._lock:
            now_s = time.monotonic()
            full_at_s = max(self._full_at_s, now_s) + self._interval_s
            wait_s = full_at_s - self._burst * self._interval_s - now_s
            rate = 1 / self._interval_s
            in_time = wait_s <= 0 or now_s + wait_s <= until_s
            if in_time:
                self._full_at_s = full_at_s
        if not in_time:
            raise Rejected(
                f"the backend may be asked {rate:.3g} times a second, and its turns are taken for {wait_s:.1f} s",
                cluster=self._cluster,
                retry_after_s=round(wait_s, 3),
            )
        cancelled = threading.Event()
        if wait_s > 0:
            with deadline.on_cancel(cancelled.set):
                if deadline.cancelled() or cancelled.wait(wait_s):
                    deadline.check(0, self._cluster)


_paces: WeakValueDictionary[tuple[str, str], Pace] = WeakValueDictionary()
_limits: dict[str, RateLimit] = {}
_shares: dict[str, tuple[int, int]] = {}
_lock = threading.Lock()


def pace_of(cluster: Cluster, url: str) -> Pace:
    """Return the pace at which this process asks the backend of a cluster at a URL: one, for all who ask it."""
    with _lock:
        key = (cluster.name, url)
        pace = _paces.get(key) or Pace(cluster.name)
        _paces[key], _limits[cluster.name] = pace, cluster.rate_limit
        pace.hold(cluster.rate_limit, *_shares.get(cluster.name, (1, 0)))
        return pace


def divide(cluster: str, processes: int, rank: int) -> None:
    """Say that so many processes serve a cluster, of which this is number `rank`, counted from 0.

    Together they keep to its limit; more processes than it has places have one each.
    """
    with _lock:
        _shares[cluster] = (processes, rank)
        for (name, _), pace in list(_paces.items()):
            if name == cluster:
                pace.hold(_limits[cluster], processes, rank)


def share(places: int, processes: int, rank: int) -> int:
    """Return how many of the places are those of one process; at least one.

    >>> [share(16, 3, rank) for rank in range(3)], share(2, 5, 4)
    ([6, 5, 5], 1)
    """
    return max(places // processes + (rank < places % processes), 1)

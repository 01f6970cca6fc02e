"""What a worker process knows of cancelled queries: a thread hears of them, running shards are stopped, queued dropped.

Rule: no task waits for Redis to learn whether it is wanted. While shards run the thread asks a few times a second, so a
cancelled query's work ends within a second; a Redis that does not answer costs only that. While none runs nothing is
sent, and of a shard that has ended before the thread's next question neither.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from time import sleep

from federation_core.connectors.stores.jobs_cancelled import CancelledQueries
from federation_core.connectors.stores.jobs_keys import CANCELLED_MS
from federation_core.errors import StoreUnavailable

#: How often the thread asks, and how long after a first shard has started: one whose query was cancelled while it was
#: queued is stopped within 0.3 s, also by a Redis that is 80 ms away.
LISTEN_EVERY_S = 0.2
_log = logging.getLogger(__name__)


class ShardCancellation:
    """Whether one running shard is cancelled, and what aborts the call it is in; a `Cancellation`."""

    def __init__(self) -> None:
        self._cancelled = False
        self._aborts: list[Callable[[], None]] = []
        self._lock = Lock()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` has been called."""
        return self._cancelled

    def cancel(self) -> None:
        """Cancel the work, and abort the calls that are under way.

        Said again it aborts again: a call that began just after the first abort is reached by the next one.
        """
        self._cancelled = True
        with self._lock:
            for abort in self._aborts:
                abort()

    @contextmanager
    def aborting(self, abort: Callable[[], None]) -> Iterator[None]:
        """Have `abort` called by any `cancel` inside the block, and never after it, when the thread does other work."""
        with self._lock:
            self._aborts.append(abort)
        try:
            yield
        finally:
            with self._lock:
                self._aborts.remove(abort)


class Cancelling:
    """Stops the shards of cancelled queries in one process; safe to use from several threads."""

    def __init__(self, cancelled: CancelledQueries, clusters: frozenset[str]) -> None:
        self._cancelled = cancelled
        self._clusters = clusters
        self._known: dict[tuple[str, str], float] = {}
        self._running: dict[tuple[str, str], list[ShardCancellation]] = {}
        self._heard_ms = 0
        self._lock = Lock()
        #: Set while there may be shards that run, and at the end.
        self._awake = Event()
        self._stopping = False
        self._listening_in = 0

    @contextmanager
    def running(self, tenant_id: str, query_id: str) -> Iterator[ShardCancellation]:
        """Yield the cancellation of a shard that runs inside the block; it may be cancelled already.

        The first block of a process starts the thread that listens.
        """
        query, cancellation = (tenant_id, query_id), ShardCancellation()
        with self._lock:
            self._running.setdefault(query, []).append(cancellation)
            known = query in self._known
        try:
            self._listen()
            if known:
                cancellation.cancel()
            yield cancellation
        finally:
            with self._lock:
                self._running[query].remove(cancellation)
                if not self._running[query]:
                    del self._running[query]

    def hear(self) -> None:
        """Ask once what was cancelled, and stop what of it is running here.

        Raises StoreUnavailable.
        """
        self._heard_ms, queries = self._cancelled.since(self._clusters, self._heard_ms)
        now_s = time.monotonic()
        with self._lock:
            new = queries - self._known.keys()
            self._known.update(dict.fromkeys(new, now_s))
            for query in [query for query, at_s in self._known.items() if now_s - at_s > CANCELLED_MS / 1000]:
                del self._known[query]
            # All that is known, not only what is new: an abort that came a moment too early is said again.
            stopped = [c for query in self._running.keys() & self._known.keys() for c in self._running[query]]
        for cancellation in stopped:
            cancellation.cancel()
        for _, query_id in new:
            _log.debug("heard that a query is cancelled", extra={"query_id": query_id})

    def stop(self) -> None:
        """End the thread that listens."""
        with self._lock:
            self._stopping = True
            self._awake.set()

    def _listen(self) -> None:
        if not self._awake.is_set():
            self._awake.set()
        if self._listening_in == os.getpid():
            return
        with self._lock:
            if self._listening_in == os.getpid():
                return
            try:
                Thread(target=self._keep_hearing, name="cancelling", daemon=True).start()
            except RuntimeError as exc:
                # The machine has no thread left. The shard runs all the same, and the next one tries again.
                _log.warning("not listening for what is cancelled", extra={"why": str(exc)})
                return
            self._listening_in = os.getpid()

    def _keep_hearing(self) -> None:
        answers = True
        while self._awake.wait() and not self._stopping:
            # By far the most shards end within this time, and nothing is asked for them.
            sleep(LISTEN_EVERY_S)
            if not self._anything_runs():
                continue
            try:
                self.hear()
                answers = True
            except StoreUnavailable as exc:
                if answers:
                    _log.warning("not heard what is cancelled", extra={"why": exc.message})
                answers = False
            except Exception:
                _log.exception("not heard what is cancelled")

    def _anything_runs(self) -> bool:
        with self._lock:
            if self._running:
                return True
            # Under the lock, where every shard is noted before it wakes the thread, so that none is overlooked.
            if not self._stopping:
                self._awake.clear()
            return False

"""What is said of shards that run for long: that they have begun, and when, by a thread and not on their path.

Rule: nothing rests on it but the progress that is shown, so no shard waits for it, and of one that has ended before
anything was said its part says it all.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock, Thread

from federation_core.connectors.stores.jobs import Jobs
from federation_core.errors import StoreUnavailable

#: A shard that has run for so long is said to have begun; most have ended by then.
SAID_AFTER_S = 0.25
_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Shard:
    tenant_id: str
    query_id: str
    cluster: str
    started_ms: int
    due_s: float


class Started:
    """The shards that run in one process and of which nothing was said yet; safe to use from several threads."""

    def __init__(self, jobs: Jobs, clock: Callable[[], int]) -> None:
        self._jobs = jobs
        self._clock = clock
        #: In the order in which they have started, which is that in which they are due.
        self._unsaid: dict[_Shard, None] = {}
        self._lock = Lock()
        #: Set while there may be something to say.
        self._awake = Event()
        self._saying_in = 0

    @contextmanager
    def running(self, tenant_id: str, query_id: str, cluster: str) -> Iterator[None]:
        """Have it said that a shard has begun, unless it ends soon; the first block of a process starts the thread."""
        shard = _Shard(tenant_id, query_id, cluster, self._clock(), time.monotonic() + SAID_AFTER_S)
        with self._lock:
            self._unsaid[shard] = None
        try:
            self._wake()
            yield
        finally:
            with self._lock:
                self._unsaid.pop(shard, None)

    def _wake(self) -> None:
        if not self._awake.is_set():
            self._awake.set()
        if self._saying_in == os.getpid():
            return
        with self._lock:
            if self._saying_in == os.getpid():
                return
            try:
                Thread(target=self._keep_saying, name="started", daemon=True).start()
            except RuntimeError as exc:
                # The machine has no thread left. The shard runs all the same, and the next one tries again.
                _log.warning("not said that shards have begun", extra={"why": str(exc)})
                return
            self._saying_in = os.getpid()

    def _keep_saying(self) -> None:
        while self._awake.wait():
            # A shard that starts meanwhile is due later than the one that is waited for.
            time.sleep(self._due_in_s())
            for shard in self._take_due():
                try:
                    self._jobs.parts.start(shard.tenant_id, shard.query_id, shard.cluster, shard.started_ms)
                except StoreUnavailable as exc:
                    _log.debug("not said that a shard has begun", extra={"why": exc.message})
                except Exception:
                    _log.exception("not said that a shard has begun")

    def _due_in_s(self) -> float:
        with self._lock:
            first = next(iter(self._unsaid), None)
        return SAID_AFTER_S if first is None else max(0.0, first.due_s - time.monotonic())

    def _take_due(self) -> list[_Shard]:
        now_s = time.monotonic()
        with self._lock:
            due = [shard for shard in self._unsaid if shard.due_s <= now_s]
            for shard in due:
                del self._unsaid[shard]
            if not self._unsaid:
                # Under the lock, where every shard is noted before it wakes the thread, so that none is overlooked.
                self._awake.clear()
        return due

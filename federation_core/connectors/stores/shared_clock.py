"""The one clock of a federation: Redis', as each process knows it without asking every time.

Rule: a deadline is set by one machine and kept by others, whose clocks may be minutes apart, so whoever sets or keeps
one reads this clock. Between two looks at Redis it goes on by the process's monotonic clock, which nobody sets. Once
it has been told the time nobody waits for Redis again: later looks are a thread's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock, Thread

from federation_core.connectors.stores.redis import answering
from federation_core.connectors.stores.redis_store import RedisStore
from federation_core.errors import StoreUnavailable

#: How long a look at Redis' clock is good for, and how long none is tried after one that failed.
_LOOK_EVERY_S = 60.0
_RETRY_AFTER_S = 5.0
_log = logging.getLogger(__name__)


def _own_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class SharedClock(RedisStore):
    """Redis' time in ms since the epoch; this machine's until Redis has answered once. Thread-safe."""

    def __init__(
        self,
        url: str,
        own_clock: Callable[[], int] = _own_clock_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(url)
        self._own_clock = own_clock
        self._monotonic = monotonic
        #: Redis' time in ms when the monotonic clock stood at 0.
        self._zero_ms: float | None = None
        self._look_at_s = float("-inf")
        #: Held for the first look, and while the thread of a later one is started.
        self._lock = Lock()
        self._looker: Thread | None = None

    def __call__(self) -> int:
        """Return the time in ms; never raises, and waits for Redis only while that has never answered."""
        now_s = self._monotonic()
        if now_s >= self._look_at_s:
            if self._zero_ms is None:
                self._look_first()
                now_s = self._monotonic()
            else:
                self._look_aside()
        if self._zero_ms is None:
            return self._own_clock()
        return int(self._zero_ms + now_s * 1000)

    def _look_first(self) -> None:
        with self._lock:
            # Whoever waited for another's look has its answer.
            if self._monotonic() >= self._look_at_s:
                self._look()

    def _look_aside(self) -> None:
        # Not waited for: who finds the lock taken finds the thread at its next call. A fork that copies it taken
        # leaves a child that looks no more, and goes on by the monotonic clock alone.
        if not self._lock.acquire(blocking=False):
            return
        try:
            # Of a thread that a fork has left behind, Python says that it does not live.
            if self._looker is None or not self._looker.is_alive():
                self._looker = Thread(target=self._look, name="clock", daemon=True)
                try:
                    self._looker.start()
                except RuntimeError:
                    # A process at its end starts no thread, and needs no look; a machine without room has some later.
                    self._look_at_s = self._monotonic() + _RETRY_AFTER_S
        finally:
            self._lock.release()

    def _look(self) -> None:
        sent_s = self._monotonic()
        try:
            with answering():
                seconds, micros = self._redis.time()
        except Exception as exc:
            # Whatever it was: a look that stays due would be tried at every call.
            self._look_at_s = self._monotonic() + _RETRY_AFTER_S
            if not isinstance(exc, StoreUnavailable):
                _log.exception("Redis' clock could not be read")
            return
        received_s = self._monotonic()
        # Redis looked at its clock somewhere between; in the middle, as far as anyone can tell.
        self._zero_ms = seconds * 1000 + micros / 1000 - (sent_s + received_s) / 2 * 1000
        self._look_at_s = received_s + _LOOK_EVERY_S

"""Feeds the simulated shop's telemetry into the six embedded stores: history first, then live.

Everything goes through `federation_core.connectors.otlp.Ingest`, as a file or a collector would. A slot of the
shop is written once its requests have had time to end; a slot is written once or not at all. Work and memory
per round are bounded, also after a sleep of the machine: what is missing is made up in bounded stretches, and
what lies further back than the stores reach is skipped and said.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Final, Self

from federation_core.connectors.otlp import Ingest
from federation_core.connectors.stores.segments import SegmentStore
from federation_core.times import format_duration, format_time
from webapp.cli.demo.configuration import RETENTION_MS
from webapp.cli.demo.shop import SLOT_MS, Shop

_LOG = logging.getLogger(__name__)
_HOUR_MS: Final = 3_600_000
# A request ends at the latest this long after its slot, but for very few.
SETTLE_MS: Final = 5_000
# One stretch is what is held in memory at a time: about 3,000 spans.
_STRETCH_MS: Final = 600_000


class Feed:
    """The one writer of the demo's stores; a context manager that lets go of them.

    Args:
        shop: what is written; nothing from before its origin.
        stores: the folder of each cluster's store, made where it is missing.
        clock_ms: the wall clock, Unix time in ms.
        retention_ms: what the stores keep.

    Raises:
        StoreUnavailable: another process writes one of the stores, or it belongs to another cluster.
    """

    def __init__(
        self,
        shop: Shop,
        stores: Mapping[str, Path],
        *,
        clock_ms: Callable[[], int],
        retention_ms: int = RETENTION_MS,
    ) -> None:
        self._shop = shop
        self._clock_ms = clock_ms
        self._retention_ms = retention_ms
        self._ingests: dict[str, Ingest] = {}
        newest_ms = 0
        with ExitStack() as opened:
            for cluster, path in stores.items():
                path.mkdir(parents=True, exist_ok=True)
                store = opened.enter_context(
                    SegmentStore(path, cluster=cluster, retention_ms=retention_ms, clock_ms=clock_ms)
                )
                newest_ms = max(newest_ms, store.manifest.newest_ms or 0)
                self._ingests[cluster] = Ingest(store, cluster=cluster, clock_ms=clock_ms)
            self._opened = opened.pop_all()
        # Stores of an earlier run are continued behind their newest telemetry, so that nothing is written twice.
        self._next_ms = _slot_at_or_after(max(newest_ms, shop.origin_ms))

    @property
    def next_ms(self) -> int:
        """Return the start of the first slot that is not written yet (Unix time)."""
        return self._next_ms

    def history(self, until_ms: int, hours: float) -> None:
        """Write the last `hours` before `until_ms` (Unix time), or what is missing of them.

        Raises:
            StoreUnavailable: a store cannot be written; what was written before stays.
        """
        self._next_ms = max(self._next_ms, _slot_at_or_after(until_ms - round(hours * _HOUR_MS)))
        self._write_until(_settled(until_ms), Event())

    def catch_up(self, stop: Event | None = None) -> int:
        """Write every slot that has settled by now and return how many; `stop` ends it between stretches.

        Raises:
            StoreUnavailable: a store cannot be written; what was written before stays.
        """
        until_ms = _settled(self._clock_ms())
        reach_ms = until_ms - self._retention_ms
        if self._next_ms < reach_ms:
            _LOG.warning(
                "telemetry of the demo has a gap: the machine stood still for longer than its stores keep",
                extra={
                    "from": format_time(self._next_ms),
                    "to": format_time(reach_ms),
                    "retention": format_duration(self._retention_ms),
                },
            )
            self._next_ms = _slot_at_or_after(reach_ms)
        return self._write_until(until_ms, stop or Event())

    def run(self, stop: Event) -> None:
        """Write what happens, a slot at a time, until `stop` is set.

        A clock that is set back makes the feed wait until it has come to where the feed is.

        Raises:
            StoreUnavailable: a store cannot be written.
        """
        while not stop.is_set():
            self.catch_up(stop)
            due_ms = self._next_ms + SLOT_MS + SETTLE_MS
            # The wait is bounded: a clock that jumps forward meanwhile is noticed within a slot.
            stop.wait(min(max(due_ms - self._clock_ms(), 50), SLOT_MS) / 1000)

    def close(self) -> None:
        """Let go of the stores."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _write_until(self, until_ms: int, stop: Event) -> int:
        first_ms = self._next_ms
        while self._next_ms < until_ms and not stop.is_set():
            end_ms = min(self._next_ms + _STRETCH_MS, until_ms)
            self._write(self._next_ms, end_ms)
        return (self._next_ms - first_ms) // SLOT_MS

    def _write(self, from_ms: int, to_ms: int) -> None:
        emitted = self._shop.emit(from_ms, to_ms)
        # A stretch that failed half-way is not repeated: a gap in some clusters is better than a double.
        self._next_ms = to_ms
        for cluster, ingest in self._ingests.items():
            requests = emitted.get(cluster, ())
            for request in requests:
                ingest.add(request)
            # A cluster that is silent sends nothing, and nothing is written for it.
            if requests:
                ingest.flush(to_ms)


def _settled(now_ms: int) -> int:
    """Return the end of the last slot whose requests have ended by `now_ms`."""
    settled_ms = now_ms - SETTLE_MS
    return settled_ms - settled_ms % SLOT_MS


def _slot_at_or_after(at_ms: int) -> int:
    return -(-at_ms // SLOT_MS) * SLOT_MS

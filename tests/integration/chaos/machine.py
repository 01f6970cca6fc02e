"""How much slower than alone the machine runs us, so that a promise of seconds is judged by seconds it really had.

Rule: measured all through a run by a thread that needs a few milliseconds of processor time and looks how long it took
to get them. 1 is a machine with a core to spare; ten busy processes per core make it about 10.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from tests.integration.chaos.episodes import Episodes

_EVERY_S = 0.1
_WORK_S = 0.004


@contextmanager
def pulse(episodes: Episodes) -> Iterator[None]:
    """Measure for the block; the samples go to `episodes`."""
    over = Event()

    def beat() -> None:
        while not over.wait(_EVERY_S):
            episodes.stretches.append((episodes.clock(), _stretch()))

    thread = Thread(target=beat, name="pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _stretch() -> float:
    started_s, started_work_s = time.perf_counter(), time.thread_time()
    while (worked_s := time.thread_time() - started_work_s) < _WORK_S:
        pass
    return (time.perf_counter() - started_s) / worked_s

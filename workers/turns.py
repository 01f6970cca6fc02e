"""How many shards of a cluster are answered at once in one process: as many as its brief allows.

Rule: a cluster's backend is never asked for more at once than its `rateLimit.maxConcurrent`, however many shards have
been fetched. Who waits for a turn waits no longer than his deadline, nor once nobody wants his answer any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Condition

from federation_core.cancellation import Cancellation


class Turns:
    """The turns of each cluster; safe to use from several threads."""

    def __init__(self, most: Mapping[str, int]) -> None:
        self._free = dict(most)
        self._changed = {cluster: Condition() for cluster in most}

    @contextmanager
    def taken(self, cluster: str, longest_s: float, cancellation: Cancellation) -> Iterator[bool]:
        """Wait for one of a cluster's turns; yield whether it was got before the time was over or the work unwanted."""
        got = self._take(cluster) or self._await(cluster, longest_s, cancellation)
        try:
            yield got
        finally:
            if got:
                self._give_back(cluster)

    def _take(self, cluster: str) -> bool:
        with self._changed[cluster]:
            if self._free[cluster] < 1:
                return False
            self._free[cluster] -= 1
            return True

    def _await(self, cluster: str, longest_s: float, cancellation: Cancellation) -> bool:
        changed = self._changed[cluster]

        def wake() -> None:
            with changed:
                changed.notify_all()

        with cancellation.aborting(wake), changed:
            changed.wait_for(lambda: self._free[cluster] > 0 or cancellation.cancelled, longest_s)
            if self._free[cluster] < 1 or cancellation.cancelled:
                return False
            self._free[cluster] -= 1
            return True

    def _give_back(self, cluster: str) -> None:
        with self._changed[cluster]:
            self._free[cluster] += 1
            self._changed[cluster].notify()

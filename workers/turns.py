"""How many shards of a cluster are answered at once in one process: its share of what its brief allows.

Rule: a cluster's backend is never asked for more at once than its `rateLimit.maxConcurrent`, however many shards have
been fetched. Of several processes each has a share, so the number changes while they come and go: who has a turn then
keeps it. Who waits for one waits no longer than his deadline, nor once nobody wants his answer any more or he is
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Condition

from federation_core.cancellation import Cancellation


def _welcome() -> bool:
    return False


class Turns:
    """The turns of each cluster; safe to use from several threads."""

    def __init__(self, most: Mapping[str, int]) -> None:
        self._most = dict(most)
        self._taken = dict.fromkeys(most, 0)
        self._changed = {cluster: Condition() for cluster in most}

    def resize(self, cluster: str, most: int) -> None:
        """Let a cluster have so many turns at once from now on, and have all who wait look again."""
        with self._changed[cluster]:
            self._most[cluster] = most
            self._changed[cluster].notify_all()

    @contextmanager
    def taken(
        self,
        cluster: str,
        longest_s: float,
        cancellation: Cancellation,
        refused: Callable[[], bool] = _welcome,
    ) -> Iterator[bool]:
        """Wait for one of a cluster's turns; yield whether it was got before the time was over or the work unwanted.

        `refused` is asked by who waits, each time something has changed.
        """
        got = self._take(cluster) or self._await(cluster, longest_s, cancellation, refused)
        try:
            yield got
        finally:
            if got:
                self._give_back(cluster)

    def _free(self, cluster: str) -> bool:
        return self._taken[cluster] < self._most[cluster]

    def _take(self, cluster: str) -> bool:
        with self._changed[cluster]:
            free = self._free(cluster)
            self._taken[cluster] += free
            return free

    def _await(self, cluster: str, longest_s: float, cancellation: Cancellation, refused: Callable[[], bool]) -> bool:
        changed = self._changed[cluster]

        def wake() -> None:
            with changed:
                changed.notify_all()

        def unwanted() -> bool:
            return cancellation.cancelled or refused()

        with cancellation.aborting(wake), changed:
            changed.wait_for(lambda: self._free(cluster) or unwanted(), longest_s)
            if unwanted() or not self._free(cluster):
                # The turn that woke this one is another's.
                changed.notify()
                return False
            self._taken[cluster] += 1
            return True

    def _give_back(self, cluster: str) -> None:
        with self._changed[cluster]:
            self._taken[cluster] -= 1
            self._changed[cluster].notify()

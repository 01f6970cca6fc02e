"""All queues that a worker process fetches from, under one owner.

Rule: the process holds what it has taken for as long as it says so, compares the leases in Redis with what it has, and
gives back the rest when it ends.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from threading import Event, Thread
from types import MappingProxyType

from federation_core.connectors.stores.leases import Leases
from federation_core.errors import StoreUnavailable
from workers.fetching import Fetcher

#: How often the leases in Redis are compared with what this process has.
LOOK_EVERY_S = 5.0
_log = logging.getLogger(__name__)


class Fetchers:
    """All queues that this process fetches from, under one owner, and the thread that looks at their leases."""

    def __init__(self, leases: Leases | None = None, room: Mapping[str, int] = MappingProxyType({})) -> None:
        """Make the fetchers of some clusters' queues; `room` says how many messages of each may be here at once."""
        self._leases = leases
        self._fetchers: dict[str, Fetcher] = {}
        if leases is not None:
            fetchers = (Fetcher(leases.queue(cluster), many) for cluster, many in room.items())
            self._fetchers = {fetcher.queue: fetcher for fetcher in fetchers}
        self._stopping = Event()
        self._looking = False

    @classmethod
    def for_clusters(cls, url: str, room: Mapping[str, int]) -> Fetchers:
        """Make the fetchers of this process, under an owner that nobody before it or beside it is."""
        return cls(Leases(url, secrets.token_hex(4)), room)

    @property
    def owner(self) -> str:
        """Who holds the leases of this process; empty where it has none."""
        return self._leases.owner if self._leases is not None else ""

    @property
    def given_back(self) -> bool:
        """Whether everything has been given back, or is about to be."""
        return self._stopping.is_set()

    def leave_to_celery(self) -> None:
        """Fetch nothing, for a pool whose waiting tasks Celery forgets when it loses its connection."""
        self._fetchers.clear()

    def misses(self, cluster: str) -> bool:
        """Tell whether a cluster's tasks are ours to fetch and are not being fetched now."""
        return any(fetcher.cluster == cluster and not fetcher.fetching for fetcher in self._fetchers.values())

    def hold(self) -> None:
        """Say that this process is there and holds what it has taken.

        Raises StoreUnavailable.
        """
        if self._leases is not None:
            self._leases.hold([fetcher.cluster for fetcher in self._fetchers.values()])

    def of_queue(self, queue: str) -> Fetcher | None:
        """Return the fetcher of a queue, if it is one of ours."""
        return self._fetchers.get(queue)

    def holding(self, tag: str) -> Fetcher | None:
        """Return the fetcher that holds a message, if one does."""
        return next((fetcher for fetcher in self._fetchers.values() if fetcher.holds(tag)), None)

    def keep_looking(self) -> None:
        """Start the thread that looks at the leases, unless it runs."""
        if not self._looking:
            self._looking = True
            Thread(target=self._keep_looking, name="leases", daemon=True).start()

    def give_back(self) -> None:
        """Give back what is not dealt with, when this process ends; what cannot be is put back by the reaper."""
        self._stopping.set()
        # At once, since the way to Redis may be long and there is little time.
        threads = [Thread(target=_give_back, args=(fetcher,), daemon=True) for fetcher in self._fetchers.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _keep_looking(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_S):
            for fetcher in self._fetchers.values():
                try:
                    fetcher.look()
                except StoreUnavailable:
                    # The fetching thread has said so, or will.
                    continue
                except Exception:
                    _log.exception("the leases could not be looked at")


def _give_back(fetcher: Fetcher) -> None:
    try:
        fetcher.give_back()
    except StoreUnavailable as exc:
        _log.warning("tasks stay leased", extra={"queue": fetcher.queue, "why": exc.message})

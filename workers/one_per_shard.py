"""One run per shard in a process: whoever comes while it runs waits for it.

Rule: nobody waits longer than he says, so a run that never ends holds up nothing for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock

#: Tenant, query, cluster.
Key = tuple[str, str, str]


class OnePerShard:
    """The shards that run in this process; safe to use from several threads."""

    def __init__(self) -> None:
        self._ends: dict[Key, Event] = {}
        self._lock = Lock()

    @contextmanager
    def running(self, key: Key, longest_s: float) -> Iterator[bool]:
        """Yield whether the shard is the caller's to run; where it runs already, yield False once that has ended."""
        with self._lock:
            running = self._ends.get(key)
            if running is None:
                ended = self._ends[key] = Event()
        if running is not None:
            running.wait(longest_s)
            yield False
            return
        try:
            yield True
        finally:
            with self._lock:
                del self._ends[key]
            ended.set()

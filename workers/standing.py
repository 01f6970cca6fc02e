"""How the backends of a process's clusters stand: what this process has seen, and what all of them make of it together.

Rule: only what says something about the backend counts. A probe does; of the queries one that has been answered, and
one that has reached nobody, of which between two probes one counts. What else goes wrong with a query (its time is
over, its answer is nonsense) may be the query's own doing, and only brings the next probe forward, so that no tenant
can close a backend to the others, nor are they told what was answered to it. A store beside the worker that is not
there yet does not count either: to ask it costs nothing. What fails for another process is probed from here too, before
it is closed to all; but once, and not at once where it was well just now, or a worker that alone has no way to it would
have all others probe it for ever. Nobody is refused on old news: not once no beat is answered any more, and no shard on
what was told before it came, since who sent it may have known better; the next beat is then sent at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from threading import Condition, Event, Lock

from federation_core.config import SERVED_BY
from federation_core.connectors.stores.backend_health import row_of
from federation_core.connectors.stores.breakers import Sighting
from federation_core.connectors.stores.jobs_beats import ALIVE_MS, Seen, Told
from federation_core.errors import (
    FederationError,
    Malformed,
    QueryExecutionError,
    Rejected,
    TimedOut,
    TooLarge,
    Unreachable,
)
from federation_core.health import About, BackendBreaker, BackendHealth, Breaker

#: A row that says nothing new is not sent more often.
ROW_EVERY_S = 5.0
#: What was well so short a time ago is not probed at once when it fails for another process. It must be before it is
#: closed to all: that leaves the way of two beats, and time for a probe (`EVERYBODY_MS`).
WELL_FOR_S = 2.0
#: How long a shard that is about to be refused may wait for the answer to a beat: its query may be cancelled meanwhile.
NEWS_WITHIN_S = 1.0
#: A cluster, and the entry of one of its backends in the configuration.
Key = tuple[str, str]
_AMBIGUOUS = TimedOut | Malformed | TooLarge | Rejected


@dataclass(slots=True)
class _Row:
    """The last probe of a backend, and when one was last sent that says the same."""

    health: BackendHealth
    at_s: float
    sent: bool = False
    sent_s: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Report:
    """What one beat carries: cluster → what was seen there; `rows` are those it holds, as they were at `at_s`."""

    at_s: float
    seen: Mapping[str, Seen] = field(default_factory=dict)
    rows: Mapping[Key, BackendHealth] = field(default_factory=dict)


class Standing:
    """What is known of the backends in one process; safe to use from several threads.

    `beside` are those that are no more than a folder of this machine.
    """

    def __init__(self, beside: frozenset[Key] = frozenset(), monotonic: Callable[[], float] = time.monotonic) -> None:
        self.beside = beside
        #: Set when there may be something to probe before its time.
        self.awakened = Event()
        #: Set when the next beat is not to wait for its time.
        self.hurried = Event()
        self._monotonic = monotonic
        self._lock = Lock()
        self._news = Condition()
        self._sightings: dict[Key, Sighting] = {}
        #: Where the failure of a query has been counted since the last probe.
        self._counted: set[Key] = set()
        self._suspects: set[Key] = set()
        #: Since when a backend failed when that last brought its probe forward, in Redis' time.
        self._failing_ms: dict[Key, int] = {}
        self._to_probe: set[Key] = set()
        self._rows: dict[Key, _Row] = {}
        self._told: Mapping[str, Told] = {}
        #: When the beat was sent whose answer that is.
        self._told_s = float("-inf")
        self._listeners: list[Callable[[str, Told], None]] = []

    def listen(self, listener: Callable[[str, Told], None]) -> None:
        """Have `listener` called with each cluster and what the answer to a beat tells of it."""
        self._listeners.append(listener)

    def query_ended(self, cluster: str, signal: str, error: FederationError | None) -> None:
        """Note how a query that was asked of a backend has ended; None: with an answer."""
        key = (cluster, SERVED_BY.get(signal, signal))
        with self._lock:
            if error is None or isinstance(error, QueryExecutionError):
                self._see(key, Sighting(answered=True))
                return
            if isinstance(error, Unreachable) and key not in self.beside:
                if key not in self._counted:
                    self._counted.add(key)
                    self._see(key, Sighting(failed=1))
            elif not isinstance(error, Unreachable | _AMBIGUOUS):
                return
            if key in self._suspects or self._fails_here(key):
                return
            self._suspects.add(key)
        self.awakened.set()

    def probed(self, health: BackendHealth, cluster: str, *, counts: bool = True) -> None:
        """Note how a probe has ended; one that does not count as a failure is shown and opens nothing."""
        key = (cluster, health.signal)
        with self._lock:
            awaited = key in self._to_probe
            for noted in (self._counted, self._suspects, self._to_probe):
                noted.discard(key)
            # This process was told to find out whether it hangs, and it does not.
            if health.up or (awaited and not counts):
                self._see(key, Sighting(answered=True))
            elif counts:
                self._see(key, Sighting(failed=1, words=health.error))
            self._show(key, health, self._monotonic())
        if awaited:
            self.hurried.set()

    def describe(self, cluster: str, entry: str, about: About) -> None:
        """Show what a backend tells of itself beside how it was when it was probed."""
        with self._lock:
            row = self._rows.get((cluster, entry))
            if row is not None and row.health.about != about:
                self._show((cluster, entry), replace(row.health, about=about), row.at_s)

    def wanted(self) -> tuple[frozenset[Key], frozenset[Key]]:
        """Return the backends that this process was told to probe, and those with which queries have had trouble."""
        with self._lock:
            return frozenset(self._to_probe), frozenset(self._suspects)

    def shut(self, cluster: str, signal: str) -> BackendBreaker | None:
        """Return the breaker of a signal's backend where it keeps queries from it, in Redis' time."""
        told = self._told.get(cluster)
        if told is None or not told.breakers or self._monotonic() - self._told_s > ALIVE_MS / 1000:
            return None
        breaker = told.breakers.get(SERVED_BY.get(signal, signal))
        return None if breaker is None or breaker.state is Breaker.CLOSED else breaker

    def refuses(self, cluster: str, signal: str, since_s: float, longest_s: float) -> BackendBreaker | None:
        """Return the breaker that keeps a query from its backend by news that is not older than `since_s`.

        That is on the monotonic clock. Where what is known is older and would keep the query from its backend, news is
        waited for; without any the query is not kept from it.
        """
        breaker = self.shut(cluster, signal)
        if breaker is None or self._told_s >= since_s:
            return breaker
        with self._news:
            self.hurried.set()
            fresh = self._news.wait_for(lambda: self._told_s >= since_s, longest_s)
        return self.shut(cluster, signal) if fresh else None

    def report(self, clusters: Collection[str]) -> Report:
        """Return what is to be said of some clusters. What no beat carries is dropped: there will be another probe."""
        with self._lock:
            now_s = self._monotonic()
            sightings = {key: said for key, said in self._sightings.items() if key[0] in clusters}
            for key in sightings:
                del self._sightings[key]
            rows = {k: row for k, row in self._rows.items() if k[0] in clusters and self._is_due(row, now_s)}
        seen = {}
        for cluster in {cluster for cluster, _ in (*sightings, *rows)}:
            seen[cluster] = Seen(
                {entry: said for (name, entry), said in sightings.items() if name == cluster},
                {
                    entry: (max(0, int((now_s - row.at_s) * 1000)), row_of(row.health))
                    for (name, entry), row in rows.items()
                    if name == cluster
                },
            )
        return Report(now_s, seen, {key: row.health for key, row in rows.items()})

    def heard(self, report: Report, told: Mapping[str, Told]) -> None:
        """Take the answer to the beat that carried a report."""
        with self._lock:
            now_s = self._monotonic()
            for key, health in report.rows.items():
                row = self._rows[key]
                row.sent = row.health is health
                if _says(row.health) == _says(health):
                    row.sent_s = now_s
            to_probe = {(cluster, entry) for cluster, answer in told.items() for entry in answer.to_probe}
            self._to_probe |= to_probe
            # What fails for another process may be well from here; that must be known before it is closed to all.
            failing = {
                (cluster, entry): breaker.since_ms
                for cluster, answer in told.items()
                for entry, breaker in answer.breakers.items()
                if breaker.state is Breaker.CLOSED and self._is_news((cluster, entry), breaker.since_ms, now_s)
            }
            self._failing_ms.update(failing)
            self._suspects.update(failing)
        with self._news:
            self._told, self._told_s = dict(told), report.at_s
            self._news.notify_all()
        if to_probe or failing:
            self.awakened.set()
        for cluster, answer in told.items():
            for listener in self._listeners:
                listener(cluster, answer)

    def _fails_here(self, key: Key) -> bool:
        """Tell whether the last probe failed: then there is another one soon, and nothing more to find out."""
        row = self._rows.get(key)
        return row is not None and not row.health.up

    def _is_news(self, key: Key, since_ms: int, now_s: float) -> bool:
        row = self._rows.get(key)
        known = row is not None and (not row.health.up or now_s - row.at_s < WELL_FOR_S)
        return not known and self._failing_ms.get(key) != since_ms

    def _see(self, key: Key, new: Sighting) -> None:
        old = self._sightings.get(key)
        if old is not None and not new.answered:
            new = Sighting(old.answered, old.failed + new.failed, new.words or old.words)
        self._sightings[key] = new

    def _show(self, key: Key, health: BackendHealth, at_s: float) -> None:
        old = self._rows.get(key)
        row = self._rows[key] = _Row(health, at_s)
        if old is not None and _says(old.health) == _says(health):
            row.sent_s = old.sent_s

    def _is_due(self, row: _Row, now_s: float) -> bool:
        return not row.sent and now_s - row.sent_s >= ROW_EVERY_S


def _says(health: BackendHealth) -> tuple[object, ...]:
    return health.up, health.error, health.about.version

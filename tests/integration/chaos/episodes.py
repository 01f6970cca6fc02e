"""The injected truth: what was wrong with which cluster, and when.

Rule: a fault takes hold and lets go at moments nobody can name exactly. So every episode has an outer span, outside of
which it had no effect, and an inner one, in which it certainly had; in between nothing is claimed about a cluster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

#: The cluster of an episode that may touch every cluster, such as a Redis that stands still.
EVERYONE = "*"
#: What the ledger must say of a cluster that was in one of these throughout; of others it may say anything true.
VERDICTS = {
    "held": frozenset({"timed_out"}),
    "dripping": frozenset({"timed_out"}),
    "raising": frozenset({"failed"}),
    "garbling": frozenset({"failed"}),
    "truncating": frozenset({"partial"}),
    "frozen": frozenset({"timed_out", "no_worker"}),
    "killed": frozenset({"no_worker"}),
    "stopped": frozenset({"no_worker"}),
    "link hung": frozenset({"timed_out", "no_worker"}),
    "link stalled": frozenset({"timed_out", "no_worker"}),
    "link cut": frozenset({"timed_out", "no_worker"}),
}
#: A cluster without a worker is not asked, so what happens after planning does not matter.
DECIDED_WHEN_PLANNED = frozenset({"killed", "stopped"})
#: A plan is made from heartbeats read this long before its `created_ms` at most.
PLANNING_MS = 300
#: By how much the clock that a job's times are from may differ from ours: each process measures Redis' clock by itself.
CLOCK_MS = 250


@dataclass(slots=True)
class Episode:
    """One fault. All times in ms since the epoch."""

    kind: str
    cluster: str
    from_ms: float
    sure_from_ms: float = math.inf
    sure_until_ms: float = -math.inf
    until_ms: float = math.inf

    def touches(self, cluster: str, from_ms: float, until_ms: float) -> bool:
        """Tell whether it may have had an effect on a cluster within a span."""
        return self.cluster in (cluster, EVERYONE) and self.from_ms <= until_ms and from_ms <= self.until_ms

    def covers(self, created_ms: float, ended_ms: float) -> bool:
        """Tell whether it certainly decided about its cluster in a query of this span."""
        last_ms = created_ms if self.kind in DECIDED_WHEN_PLANNED else ended_ms
        return self.sure_from_ms <= created_ms - PLANNING_MS and last_ms + CLOCK_MS <= self.sure_until_ms


@dataclass
class Episodes:
    """All episodes of a run, added to by many threads."""

    clock: Callable[[], int]
    all: list[Episode] = field(default_factory=list)
    #: When and how much slower than alone the machine ran us; see `machine`.
    stretches: list[tuple[int, float]] = field(default_factory=list)

    @contextmanager
    def episode(self, kind: str, cluster: str) -> Iterator[Episode]:
        """Note a fault for the block; outside of it there was no effect."""
        found = Episode(kind, cluster, self.clock())
        self.all.append(found)
        try:
            yield found
        finally:
            found.until_ms = self.clock()

    @contextmanager
    def certain(self, episode: Episode, after_ms: int = 0) -> Iterator[None]:
        """Note that within the block, from `after_ms` on, the episode has certainly taken hold."""
        sure_from_ms = self.clock() + after_ms
        # Until the block has ended, a judge must take it for certain that it goes on.
        episode.sure_from_ms, episode.sure_until_ms = sure_from_ms, math.inf
        try:
            yield
        finally:
            episode.sure_until_ms = self.clock()

    def expected(self, cluster: str, created_ms: float, ended_ms: float) -> frozenset[str] | None:
        """Return the verdicts the ledger may have for a cluster that was asked; None where any may be true."""
        from_ms, until_ms = created_ms - PLANNING_MS, ended_ms + CLOCK_MS
        touching = [e for e in list(self.all) if e.touches(cluster, from_ms, until_ms)]
        if not touching:
            return frozenset({"ok"})
        if len(touching) == 1 and touching[0].covers(created_ms, ended_ms):
            return VERDICTS.get(touching[0].kind)
        return None

    def overlap_ms(self, kind: str, from_ms: float, until_ms: float) -> float:
        """Return for how long episodes of a kind overlapped a span."""
        return sum(
            max(0.0, min(until_ms, e.until_ms) - max(from_ms, e.from_ms)) for e in list(self.all) if e.kind == kind
        )

    def stretch(self, from_ms: float, until_ms: float) -> float:
        """Return how many times slower than alone the machine was within a span, never less than 1."""
        within = [stretch for at_ms, stretch in list(self.stretches) if from_ms <= at_ms <= until_ms]
        return max(1.0, sum(within) / len(within)) if within else 1.0

    def told(self, created_ms: float, span_ms: float = 5_000) -> str:
        """Say for a reader what went on around a query: each episode with its span relative to the query's begin."""
        near = [e for e in self.all if e.from_ms <= created_ms + span_ms and created_ms - span_ms <= e.until_ms]
        spans = (f"{e.kind} {e.cluster} {e.from_ms - created_ms:+.0f}…{e.until_ms - created_ms:+.0f} ms" for e in near)
        return "around it: " + ", ".join(spans)

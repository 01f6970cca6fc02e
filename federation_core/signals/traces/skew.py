"""How far the clocks of clusters are apart, read off a trace that crosses them.

Rule: a clock is adjusted only where the trace itself proves it wrong. A call that waits for its answer encloses
the work it caused, so every call between two clusters bounds the distance of their clocks from both sides; what
satisfies all bounds is taken, and zero whenever zero does. Between the bounds the middle is the best guess, as
the way there and the way back take alike (RFC 5905, "Network Time Protocol", on-wire protocol).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

from federation_core.signals.traces.payload import Span, SpanKey, SpanKind


@dataclass(frozen=True, slots=True)
class Bound:
    """What must be added to the times of one cluster, to read them on another's clock, lies in [low_ns, high_ns]."""

    low_ns: int
    high_ns: int

    @property
    def middle_ns(self) -> int:
        """The best guess from this bound alone."""
        return (self.low_ns + self.high_ns) // 2

    def mirrored(self) -> Bound:
        """Return the same bound seen from the other cluster."""
        return Bound(-self.high_ns, -self.low_ns)


def estimate_offset_ns(bounds: Sequence[Bound]) -> int:
    """Return the one offset that the bounds speak for.

    Where no offset satisfies all of them, some call did not wait: zero if it satisfies most, else the median.

    >>> estimate_offset_ns([Bound(-5, 7)]), estimate_offset_ns([Bound(10, 30), Bound(14, 40)])
    (0, 20)
    """
    low_ns, high_ns = max(b.low_ns for b in bounds), min(b.high_ns for b in bounds)
    satisfied = sum(b.low_ns <= 0 <= b.high_ns for b in bounds)
    if satisfied == len(bounds) or (low_ns > high_ns and satisfied * 2 > len(bounds)):
        return 0
    guess_ns = median_low(b.middle_ns for b in bounds)
    return min(max(guess_ns, low_ns), high_ns) if low_ns <= high_ns else guess_ns


def offsets_ns(reference: str, calls: Iterable[tuple[Span, Span]]) -> dict[str, int]:
    """Return for each cluster what to add to its times to read them on the clock of `reference`.

    `calls` are pairs of a span and its parent. Clusters that no waiting call connects with `reference` are absent.
    """
    pairs = _bounds(calls)
    offsets = {reference: 0}
    waiting = deque([reference])
    while waiting:
        known = waiting.popleft()
        near = [(-len(bounds), other, bounds) for (base, other), bounds in pairs.items() if base == known]
        for _, cluster, bounds in sorted(near, key=lambda item: item[:2]):
            if cluster not in offsets:
                offsets[cluster] = offsets[known] + estimate_offset_ns(bounds)
                waiting.append(cluster)
    return offsets


def calls_between_clusters(
    spans: Mapping[SpanKey, Span], parents: Mapping[SpanKey, SpanKey]
) -> list[tuple[Span, Span]]:
    """Return (span, parent) for every parent that lies in another cluster."""
    pairs = ((spans[child], spans[parent]) for child, parent in parents.items())
    return [(child, parent) for child, parent in pairs if child.cluster != parent.cluster]


def _bounds(calls: Iterable[tuple[Span, Span]]) -> dict[tuple[str, str], list[Bound]]:
    """Return (base cluster, other cluster) → bounds of the other's offset; every pair in both directions."""
    found: dict[tuple[str, str], list[Bound]] = {}
    for child, parent in calls:
        if not _waits(child, parent):
            continue
        bound = Bound(parent.start_ns - child.start_ns, parent.end_ns - child.end_ns)
        found.setdefault((parent.cluster, child.cluster), []).append(bound)
        found.setdefault((child.cluster, parent.cluster), []).append(bound.mirrored())
    return found


def _waits(child: Span, parent: Span) -> bool:
    """Tell whether the parent can have waited for the child: no queue between them, and time enough."""
    queued = SpanKind.PRODUCER in (parent.kind, child.kind) or SpanKind.CONSUMER in (parent.kind, child.kind)
    return not queued and child.duration_ns <= parent.duration_ns

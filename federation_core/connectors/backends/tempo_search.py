"""A search in a store that stops at a limit and does not say which traces it left out: any, not the oldest.

Rule: only a stretch of time whose traces are all known counts. From the end that is asked for first, stretches are cut
shorter until the store does not stop, and follow each other until enough traces match; what is left out then lies
beyond all of them. Where even a second holds too many, or too many searches would be needed, the answer says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from federation_core.connectors.backends.tempo_api import SearchAnswer, TraceAnswer
from federation_core.query import Direction
from federation_core.signals.traces.expr import SpanSearch
from federation_core.signals.traces.language import span_matches
from federation_core.signals.traces.payload import FoundTraces, TracePart

NS_PER_S: Final = 1_000_000_000
#: Searches that one answer may take.
MOST_SEARCHES: Final = 16
#: How much shorter the next stretch is where one holds too many traces.
_SHORTER: Final = 4

#: Finds the traces of [start_s, end_s], at most so many.
Search = Callable[[int, int, int], SearchAnswer]
#: Fetches traces, in their order.
Fetch = Callable[[Sequence[str]], Sequence[TraceAnswer]]


@dataclass(slots=True)
class StretchedSearch:
    """One search that is under way; `window_ns` is [start, end)."""

    search: SpanSearch
    window_ns: tuple[int, int]
    direction: Direction
    limit: int
    parts: dict[str, tuple[int, TracePart]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def run(self, find: Search, fetch: Fetch) -> tuple[FoundTraces, str]:
        """Return the first `limit` traces, and in words what may be missing among them; empty where nothing is."""
        start_ns, end_ns = self.window_ns
        # The store knows whole seconds.
        start_s, end_s = start_ns // NS_PER_S, -(-end_ns // NS_PER_S)
        backward, size = self.direction == "backward", self.limit + 1
        length = end_s - start_s
        edge = end_s if backward else start_s
        # The far end of a stretch that is known to hold too many, while it lies ahead.
        crowded: int | None = None
        for left in reversed(range(MOST_SEARCHES)):
            low, high = (max(edge - length, start_s), edge) if backward else (edge, min(edge + length, end_s))
            found = find(low, high, size)
            if found.stopped and high - low > 1 and left:
                length, size = (high - low) // _SHORTER or 1, 2 * (self.limit + 1)
                crowded = low if backward else high
                continue
            self.said.append(found.cut)
            self._take(fetch([trace_id for trace_id in found.trace_ids if trace_id not in self._seen]))
            if found.stopped:
                self.said.append(
                    f"Tempo stopped at {size} traces within {high - low} s and does not say which it left out"
                )
                return self._answer(more=True)
            edge = low if backward else high
            if edge == (start_s if backward else end_s) or self._certain(low, high) > self.limit:
                return self._answer(more=False)
            # As much longer as so many traces would take where they are no denser, and into a crowd half way.
            length = (high - low) * max(size // (len(found.trace_ids) + 1), 1)
            if crowded == edge:
                crowded = None
            if crowded is not None:
                length = min(length, abs(edge - crowded) // 2 or 1)
        rest_s = edge - start_s if backward else end_s - edge
        self.said.append(f"{rest_s} s were not looked at: that needs more than {MOST_SEARCHES} searches")
        return self._answer(more=True)

    def _take(self, answers: Sequence[TraceAnswer]) -> None:
        start_ns, end_ns = self.window_ns
        first = max if self.direction == "backward" else min
        for answer in answers:
            part = answer.part
            self._seen.add(part.trace_id)
            self.said.append(answer.cut)
            starts = [
                s.start_ns for s in part.spans if start_ns <= s.start_ns < end_ns and span_matches(self.search, s)
            ]
            if starts:
                self.parts[part.trace_id] = (first(starts), part)

    def _certain(self, low: int, high: int) -> int:
        """Count the traces that no unknown one can stand before."""
        if self.direction == "backward":
            return sum(at_ns >= low * NS_PER_S for at_ns, _ in self.parts.values())
        return sum(at_ns < high * NS_PER_S for at_ns, _ in self.parts.values())

    def _answer(self, more: bool) -> tuple[FoundTraces, str]:
        backward = self.direction == "backward"
        ordered = sorted(self.parts.values(), key=lambda pair: (pair[0], pair[1].trace_id), reverse=backward)
        parts = tuple(part for _, part in ordered)
        cut = "; ".join(dict.fromkeys(text for text in self.said if text))
        return FoundTraces(parts[: self.limit], more or len(parts) > self.limit), cut

"""A search in a store that stops at a limit and does not say which traces it left out: any, not the oldest.

Rule: only a stretch of time whose traces are all known counts. From the end that is asked for first, stretches are cut
shorter until the store does not stop, and follow each other until enough traces match; what is left out then lies
beyond all of them. Where a second, which is the shortest, holds too many, more are asked for. Where that is not enough
either, or too many searches would be needed, the answer says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from federation_core.errors import TooLarge
from federation_core.query import Direction
from federation_core.signals.traces.expr import SpanSearch
from federation_core.signals.traces.language import span_matches
from federation_core.signals.traces.payload import FoundTraces, TracePart

A = TypeVar("A")
R = TypeVar("R")

#: What the answers to one query may have together; read, they take twice as much memory, and five times for a moment.
_ANSWER_BYTES: Final = 128 * 1024 * 1024
#: Traces of a search where the leaf names no limit.
DEFAULT_LIMIT: Final = 20
#: Requests of one search that are under way at once.
_AT_ONCE: Final = 8
NS_PER_S: Final = 1_000_000_000
#: Searches that one answer may take.
MOST_SEARCHES: Final = 16
#: How much shorter the next stretch is where one holds too many traces.
_SHORTER: Final = 4
#: Traces that are asked for at once where a single second holds more than the answer needs.
MOST_IN_A_SECOND: Final = 400
#: What one search may ask for; some stores refuse more.
_MOST: Final = 10_000


class Allowance:
    """What the answers to several requests may hold together; counts them as they come."""

    def __init__(self, cluster: str, allowed_bytes: int = _ANSWER_BYTES) -> None:
        self._cluster, self._allowed, self._seen = cluster, allowed_bytes, 0
        self._lock = threading.Lock()

    def __call__(self, chunk: bytes) -> None:
        """Count one chunk.

        Raises TooLarge.
        """
        with self._lock:
            self._seen += len(chunk)
            seen = self._seen
        if seen > self._allowed:
            raise TooLarge(
                f"the traces found are more than {self._allowed} bytes",
                cluster=self._cluster,
                limit="answer_bytes",
                asked=seen,
                allowed=self._allowed,
            )


@dataclass(frozen=True, slots=True)
class TraceAnswer:
    """One trace's spans here, none where it is unknown; `cut` says why some are missing, empty where none are."""

    part: TracePart
    cut: str = ""


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The ids that a search found, in its own order.

    `stopped` says that there are as many as were asked for, and that others may be left out; `cut` as in `TraceAnswer`.
    """

    trace_ids: tuple[str, ...]
    stopped: bool = False
    cut: str = ""


#: Finds the traces of [start_s, end_s], at most so many.
Search = Callable[[int, int, int], SearchAnswer]
#: Fetches traces, in their order.
Fetch = Callable[[Sequence[str]], Sequence[TraceAnswer]]


@dataclass(slots=True)
class StretchedSearch:
    """One search that is under way in a store, which is called so in words; `window_ns` is [start, end)."""

    store: str
    search: SpanSearch
    window_ns: tuple[int, int]
    direction: Direction
    limit: int
    #: The longest stretch that the store searches at once, and the most traces that it tells of.
    longest_s: int = 2**40
    most: int = _MOST
    parts: dict[str, tuple[int, TracePart]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    more: bool = False
    _seen: set[str] = field(default_factory=set)

    def run(self, find: Search, fetch: Fetch) -> tuple[FoundTraces, str]:
        """Return the first `limit` traces, and in words what may be missing among them; empty where nothing is."""
        start_ns, end_ns = self.window_ns
        # The store knows whole seconds.
        start_s, end_s = start_ns // NS_PER_S, -(-end_ns // NS_PER_S)
        backward, size = self.direction == "backward", min(self.limit + 1, self.most)
        crowd = min(max(MOST_IN_A_SECOND, 2 * (self.limit + 1)), self.most)
        length = min(end_s - start_s, self.longest_s)
        edge = end_s if backward else start_s
        # The far end of a stretch that is known to hold too many, while it lies ahead.
        crowded: int | None = None
        for left in reversed(range(MOST_SEARCHES)):
            low, high = (max(edge - length, start_s), edge) if backward else (edge, min(edge + length, end_s))
            found = find(low, high, size)
            if found.stopped and left and (high - low > 1 or size < crowd):
                shortest = high - low == 1
                length = (high - low) // _SHORTER or 1
                size = min(size * _SHORTER, crowd) if shortest else min(2 * (self.limit + 1), self.most)
                crowded = low if backward else high
                continue
            self.said.append(found.cut)
            unseen = [trace_id for trace_id in found.trace_ids if trace_id not in self._seen]
            if found.stopped:
                self.said.append(
                    f"{self.store} stopped at {size} traces within {high - low} s and does not say which it left out"
                )
                self.more = True
                # Whichever they are, the answer is a part: no more are looked at than it takes to fill it.
                for first in range(0, len(unseen), 2 * (self.limit + 1)):
                    if len(self.parts) <= self.limit:
                        self._take(fetch(unseen[first : first + 2 * (self.limit + 1)]))
                return self.answer()
            self._take(fetch(unseen))
            edge = low if backward else high
            if edge == (start_s if backward else end_s) or self._certain(low, high) > self.limit:
                return self.answer()
            # As much longer as so many traces would take where they are no denser, and into a crowd half way.
            length = min((high - low) * max(size // (len(found.trace_ids) + 1), 1), self.longest_s)
            if crowded == edge:
                crowded = None
            if crowded is not None:
                length = min(length, abs(edge - crowded) // 2 or 1)
        rest_s = edge - start_s if backward else end_s - edge
        self.said.append(f"{rest_s} s were not looked at: that needs more than {MOST_SEARCHES} searches")
        self.more = True
        return self.answer()

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
        # One more than the answer has tells that there are more; the others need not be kept.
        self.parts = {part.trace_id: (at_ns, part) for at_ns, part in self._ordered()[: self.limit + 1]}

    def _ordered(self) -> list[tuple[int, TracePart]]:
        backward = self.direction == "backward"
        return sorted(self.parts.values(), key=lambda pair: (pair[0], pair[1].trace_id), reverse=backward)

    def _certain(self, low: int, high: int) -> int:
        """Count the traces that no unknown one can stand before."""
        if self.direction == "backward":
            return sum(at_ns >= low * NS_PER_S for at_ns, _ in self.parts.values())
        return sum(at_ns < high * NS_PER_S for at_ns, _ in self.parts.values())

    def join(self, other: StretchedSearch) -> None:
        """Take over what another search of the same store and window has found.

        Each has its first traces for certain; the first of all are therefore among them.
        """
        self.parts |= other.parts
        self.said += other.said
        self.more |= other.more

    def answer(self) -> tuple[FoundTraces, str]:
        """Return the first `limit` traces of those found, and in words what may be missing among them."""
        parts = tuple(part for _, part in self._ordered())
        cut = "; ".join(dict.fromkeys(text for text in self.said if text))
        return FoundTraces(parts[: self.limit], self.more or len(parts) > self.limit), cut


def at_once(ask: Callable[[A], R], asked: Sequence[A]) -> list[R]:
    """Call `ask` for each, some at once; the first error ends what has not begun."""
    if len(asked) < 2:
        return [ask(one) for one in asked]
    with ThreadPoolExecutor(min(len(asked), _AT_ONCE), thread_name_prefix="traces") as threads:
        try:
            return list(threads.map(ask, asked))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise

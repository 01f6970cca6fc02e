"""Reading the first lines of a window from Loki, page by page.

Rule: Loki gives the first lines by time over all streams, and of those at the edge of a page whichever it likes. So a
page that is full proves all but its last nanosecond, which is asked again with the next page. What shares one
nanosecond and does not fit into the largest page cannot be told whole: reading stops there and says so.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from federation_core.connectors.backends.loki_api import Window
from federation_core.connectors.backends.loki_entries import Page
from federation_core.errors import InvalidRequest, Malformed
from federation_core.query import Direction
from federation_core.signals.logs.payload import NS_PER_MS, Entries, concat
from federation_core.times import format_time, parse_duration_ms

_FEWER_LINES: Final = re.compile(r"max_entries_limit_per_query \(\d+ > (?P<lines>\d{1,9})\)", re.ASCII)
_SHORTER: Final = re.compile(r"time range exceeds the limit \(query length: [^,]*, limit: (?P<limit>[0-9a-z.]+)\)")
_ELSEWHERE: Final = "the backend answers with lines of another time than was asked"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may ask: so many lines, so long a window. Loki's own settings until it says less."""

    lines: int = 5_000
    #: Nanoseconds; 0 is any.
    span_ns: int = 0

    def lowered(self, refusal: str) -> Bounds:
        """Return the bounds with those that are smaller in the words of a refusal."""
        fewer, shorter = _FEWER_LINES.search(refusal), _SHORTER.search(refusal)
        if fewer and 0 < int(fewer["lines"]) < self.lines:
            return replace(self, lines=int(fewer["lines"]))
        try:
            span_ns = parse_duration_ms(shorter["limit"]) * NS_PER_MS if shorter else 0
        except InvalidRequest:
            return self
        return self.at_most(span_ns) if span_ns >= NS_PER_MS else self

    def at_most(self, span_ns: int) -> Bounds:
        """Return the bounds with windows no longer than this; 0 is any."""
        return replace(self, span_ns=span_ns) if span_ns and not 0 < self.span_ns <= span_ns else self

    def first_part(self, window: Window, direction: Direction) -> tuple[Window, Window]:
        """Return the part of a window that may be asked at once and comes first in the direction, and the rest."""
        start, end = window.start_ns, window.end_ns
        if not self.span_ns or end - start <= self.span_ns:
            return window, Window(end, end)
        if direction == "backward":
            return Window(end - self.span_ns, end), Window(start, end - self.span_ns)
        return Window(start, start + self.span_ns), Window(start + self.span_ns, end)


class KnownBounds:
    """The bounds of one backend as far as its refusals tell them; safe to use from several threads."""

    def __init__(self) -> None:
        self.in_force = Bounds()
        self._lock = threading.Lock()

    def learn(self, refusal: str) -> None:
        """Take smaller bounds from the words of a refusal.

        Who was refused asks again if other bounds are in force now than when it asked, whoever has learned them.
        """
        with self._lock:
            self.in_force = self.in_force.lowered(refusal)


@dataclass(slots=True)
class Found:
    """What was read so far: at least the first entries that were needed, unless it was stopped.

    `stopped_ns` is the nanosecond at which reading stopped although there is more, and `truncated` says why. `apart`
    tells whether the metadata of all entries stand apart from their labels.
    """

    parts: list[Entries] = field(default_factory=list)
    truncated: str = ""
    stopped_ns: int | None = None
    warnings: tuple[str, ...] = ()
    apart: bool = True

    @property
    def count(self) -> int:
        """The number of entries."""
        return sum(map(len, self.parts))

    @property
    def entries(self) -> Entries:
        """What was read, in no order."""
        return concat(self.parts)


def read_first(
    ask: Callable[[Window, int], Page],
    window: Window,
    need: int,
    direction: Direction,
    accepted: Callable[[Entries], Entries],
    bounds: Bounds,
) -> Found:
    """Read the first `need` entries that are accepted, and what shows whether there are more; fewer are all.

    `ask` returns the page of so many lines; `accepted` keeps of entries those that are wanted.

    Raises Malformed: pages that lead nowhere; and what `ask` raises.
    """
    found, backward, size = Found(), direction == "backward", need + 1
    while window.start_ns < window.end_ns:
        most = bounds.lines
        size = max(1, min(size, most))
        page = ask(window, size)
        found.warnings = tuple(dict.fromkeys((*found.warnings, *page.warnings)))
        found.apart = found.apart and (page.apart or not len(page.entries))
        # Whatever a backend makes of the edges, what lies beyond them is not part of the answer.
        t_ns = page.entries.t_ns
        inside = (t_ns >= window.start_ns) & (t_ns < window.end_ns)
        within = page.entries if inside.all() else page.entries.take(inside)
        if len(page.entries) < size:
            found.parts.append(accepted(within))
            return found
        if not len(within):
            raise Malformed(_ELSEWHERE)
        edge_ns = int(within.t_ns.min() if backward else within.t_ns.max())
        is_edge = within.t_ns == edge_ns
        whole = within.take(~is_edge)
        if not len(whole) and size >= most > len(within):
            raise Malformed(_ELSEWHERE)
        wanted, at_edge = accepted(whole), accepted(within.take(is_edge))
        found.parts.append(wanted)
        if found.count >= need and found.count + len(at_edge) > need:
            found.parts.append(at_edge)
            return found
        if not len(whole) and size >= most:
            found.parts.append(at_edge)
            when = format_time(edge_ns // NS_PER_MS)
            found.truncated = f"{most} lines or more at one nanosecond ({when}), and Loki gives no more at once"
            found.stopped_ns = edge_ns
            return found
        window = Window(window.start_ns, edge_ns + 1) if backward else Window(edge_ns, window.end_ns)
        # The edge again, what is still needed, and one more to see whether there is more.
        lines = len(within) - len(whole) + max(0, need - found.count) + 1
        size = most if not len(whole) else lines if len(wanted) == len(whole) else max(lines, 2 * size)
    return found

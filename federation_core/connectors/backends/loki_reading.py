"""The first entries of one leaf, over all streams, windows and pages that it takes.

Rule: streams are asked in parts that do not overlap (`loki_streams`), long times in windows that Loki allows, windows
in pages (`loki_pages`); the first entries of all parts together hold the first of the answer. Where a part had to stop,
the answer ends there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from federation_core.connectors.backends.loki_api import NS_PER_S, LokiApi, Window
from federation_core.connectors.backends.loki_entries import Page, told_apart
from federation_core.connectors.backends.loki_pages import Bounds, Found, KnownBounds, read_first
from federation_core.connectors.backends.loki_streams import parts_of
from federation_core.errors import Rejected, TooLarge
from federation_core.labels import Labels, Selector
from federation_core.query import Deadline, Direction
from federation_core.signals.logs.expr import LineFilter, LineOp, LogQuery, Stage, passing, print_query
from federation_core.signals.logs.payload import Entries

#: The most that the pages of one leaf may hold together.
PAGES_BYTES: Final = 128 * 1024 * 1024
#: Windows that one leaf may take.
MOST_WINDOWS: Final = 64
#: Where Loki would have to read too much for a query it is asked about shorter times, down to this.
_SHORTEST_NS: Final = 60 * NS_PER_S
_TOO_MUCH: Final = re.compile("would read too many bytes|too large to execute on a single querier")


class Reading:
    """One leaf on its way: what is asked, and how many bytes its pages may still have."""

    def __init__(
        self, api: LokiApi, query: LogQuery, direction: Direction, deadline: Deadline, bounds: KnownBounds
    ) -> None:
        """Prepare to read; `bounds` are what is known of the backend's limits, and learn of smaller ones."""
        self._api, self._query, self._direction, self._deadline = api, query, direction, deadline
        self._bounds, self._left_bytes = bounds, PAGES_BYTES
        # Every line holds the empty text. Loki is not asked about that, which it need not take as we do.
        self._sent = replace(query, stages=tuple(s for s in query.stages if not _is_of_empty_text(s)))
        self._nothing = any(_is_of_empty_text(s) and s.op is LineOp.LACKS for s in query.line_filters)

    def first(self, window: Window, need: int) -> Found:
        """Return the first `need` entries of a window, and what shows whether there are more.

        Raises QueryCanceled, ClusterError.
        """
        found, windows = Found(), 0
        # How much is too much depends on the query: the shorter times are its own.
        stretch_ns = 0
        while window.start_ns < window.end_ns and found.count <= need and not self._nothing:
            if windows == MOST_WINDOWS:
                rest_s = (window.end_ns - window.start_ns) // NS_PER_S
                found.truncated = (
                    f"{rest_s} s were not looked at: Loki takes only short times, and {windows} were asked"
                )
                break
            bounds = self._bounds.in_force
            part, rest = bounds.at_most(stretch_ns).first_part(window, self._direction)
            try:
                more = self._of_all_streams(part, need - found.count, bounds)
            except Rejected as refusal:
                self._bounds.learn(refusal.message)
                if _TOO_MUCH.search(refusal.message) and part.end_ns - part.start_ns >= 2 * _SHORTEST_NS:
                    stretch_ns = (part.end_ns - part.start_ns) // 2
                elif self._bounds.in_force == bounds:
                    raise
                continue
            windows += 1
            warnings = dict.fromkeys((*found.warnings, *more.warnings))
            found = replace(more, parts=found.parts + more.parts, warnings=tuple(warnings))
            if found.truncated:
                break
            window = rest
        return found

    def _of_all_streams(self, window: Window, need: int, bounds: Bounds) -> Found:
        def label_names() -> tuple[str, ...]:
            return self._api.label_names(window, self._deadline)

        def streams(selectors: Sequence[Selector]) -> list[Labels]:
            return self._api.streams(selectors, window, self._deadline)

        parts = parts_of(self._query.selector, label_names, streams)
        found = self._united([self._of_streams(part, window, need, bounds) for part in parts], need)
        if not found.apart:
            found.parts = [told_apart(found.entries, label_names())]
        return found

    def _united(self, parts: list[Found], need: int) -> Found:
        warnings = dict.fromkeys(warning for part in parts for warning in part.warnings)
        entries = [some for part in parts for some in part.parts]
        united = Found(entries, warnings=tuple(warnings), apart=all(part.apart for part in parts))
        backward = self._direction == "backward"
        stops = [(part.stopped_ns, part.truncated) for part in parts if part.stopped_ns is not None]
        if stops:
            # Beyond the first stop some entries are missing. Before it, all are there.
            stop_ns, truncated = max(stops) if backward else min(stops)
            found = united.entries
            found = found.take(found.t_ns >= stop_ns if backward else found.t_ns <= stop_ns)
            united.parts = [found]
            if np.count_nonzero(found.t_ns != stop_ns) < need or len(found) <= need:
                united.truncated = truncated
        return united

    def _of_streams(self, selector: Selector, window: Window, need: int, bounds: Bounds) -> Found:
        text = print_query(replace(self._sent, selector=selector))

        def ask(asked: Window, lines: int) -> Page:
            if self._left_bytes <= 0:
                raise TooLarge(
                    f"the lines take more than {PAGES_BYTES} bytes; ask for fewer",
                    **{"limit": "answer_bytes", "asked": PAGES_BYTES - self._left_bytes, "allowed": PAGES_BYTES},
                )
            page = self._api.page(text, asked, lines, self._direction, self._deadline, self._left_bytes)
            self._left_bytes -= page.size_bytes
            return page

        def accepted(entries: Entries) -> Entries:
            return passing(self._query, entries)

        return read_first(ask, window, need, self._direction, accepted, bounds)


def _is_of_empty_text(stage: Stage) -> bool:
    return isinstance(stage, LineFilter) and stage.op in (LineOp.CONTAINS, LineOp.LACKS) and not stage.text

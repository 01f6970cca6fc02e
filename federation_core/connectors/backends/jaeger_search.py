"""One search of Jaeger: of one service, and of which services there are any.

Rule: an answer is whole only where the store cannot have stopped. Cassandra reads three rows of an index for each trace
that is asked for, the newest first, and several rows may be of one trace: fewer traces than were asked for are all that
there are only if they do not fill so many rows. A store that finds a trace beyond these rows does not count them.
Source: Jaeger's Cassandra reader, of which the documentation says "Deployment / Storage backends".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from federation_core.connectors.backends.jaeger_api import JaegerApi, window_us
from federation_core.connectors.backends.jaeger_query import ERROR, JaegerQuery
from federation_core.connectors.backends.jaeger_spans import NS_PER_US
from federation_core.connectors.trace_search import Allowance, SearchAnswer, TraceAnswer
from federation_core.labels import MatchOp
from federation_core.query import Deadline
from federation_core.signals.traces.expr import SpanSearch
from federation_core.signals.traces.payload import Span, SpanStatus, TracePart

_ROWS_PER_TRACE: Final = 3
#: So many times as many traces are asked for where rows may have been all that was read.
_MORE: Final = 4
#: No more traces are asked for at once than stores allow.
_MOST: Final = 10_000
#: A pattern that is nothing but names; a dot stands for itself among others.
_NAMES: Final = re.compile(r"[A-Za-z0-9_./:-]+(\|[A-Za-z0-9_./:-]+)*")


@dataclass(slots=True)
class Traits:
    """What is known of the store behind a Jaeger, as its answers show it."""

    #: Whether it finds a span by the tag `error`, which some do not make of a status; None while that is not known.
    finds_errors: bool | None = None
    #: Whether it may count rows of an index where it is to count traces.
    may_count_rows: bool = True


@dataclass(slots=True)
class ServiceSearch:
    """The searches of one service; what the last one has found is at hand, since it comes with all its spans."""

    api: JaegerApi
    query: JaegerQuery
    service: str
    deadline: Deadline
    allowance: Allowance
    traits: Traits
    _held: dict[str, tuple[Span, ...]] = field(default_factory=dict)

    def find(self, start_s: int, end_s: int, size: int) -> SearchAnswer:
        """Find the traces of [start_s, end_s].

        Raises ClusterError, QueryCanceled.
        """
        asked = size
        while True:
            found = self.api.search(self.query, self.service, start_s, end_s, asked, self.deadline, self.allowance)
            self._held = dict(found.traces)
            if found.traces and ERROR in self.query.tags:
                self.traits.finds_errors = True
            if found.count >= asked:
                return SearchAnswer(tuple(found.traces), True, found.cut)
            rows = self._rows(start_s, end_s) if self.traits.may_count_rows else []
            if len(rows) < _ROWS_PER_TRACE * asked or self._lies_beyond(rows, _ROWS_PER_TRACE * asked):
                return SearchAnswer(tuple(found.traces), False, found.cut)
            if asked == _MOST:
                return SearchAnswer(tuple(found.traces), True, found.cut)
            asked = min(max(len(rows) // _ROWS_PER_TRACE + 1, _MORE * asked), _MOST)

    def fetch(self, trace_ids: Sequence[str]) -> list[TraceAnswer]:
        """Return traces of those that were found last."""
        return [TraceAnswer(TracePart(trace_id, self._held[trace_id])) for trace_id in trace_ids]

    def holds_errors(self, window_ns: tuple[int, int]) -> bool:
        """Tell whether what was found last has a failed span that a search by the tag `error` ought to have found."""
        start_ns, end_ns = window_ns
        spans = (span for spans in self._held.values() for span in spans if span.service == self.service)
        return any(span.status is SpanStatus.ERROR and start_ns <= span.start_ns < end_ns for span in spans)

    def _rows(self, start_s: int, end_s: int) -> list[tuple[int, str]]:
        """Return the rows that an index has of what was found, one for each span: its time in us, and its trace."""
        operation = self.query.operation
        rows = [
            (span.start_ns // NS_PER_US, span.trace_id)
            for spans in self._held.values()
            for span in spans
            if span.service == self.service and operation in ("", span.operation)
        ]
        if self._by_duration:
            # That index has whole hours.
            return rows
        low_us, high_us = window_us(start_s, end_s)
        return [row for row in rows if low_us < row[0] < high_us]

    @property
    def _by_duration(self) -> bool:
        return self.query.min_us is not None or self.query.max_us is not None

    def _lies_beyond(self, rows: list[tuple[int, str]], read: int) -> bool:
        """Tell whether a trace was found none of whose rows is among so many newest ones, and remember it."""
        if self.query.tags or self._by_duration:
            # Which rows there are of these is not known as surely.
            return False
        newest: dict[str, int] = {}
        for at_us, trace_id in rows:
            newest[trace_id] = max(at_us, newest.get(trace_id, 0))
        edge_us = sorted((at_us for at_us, _ in rows), reverse=True)[read - 1]
        if any(at_us < edge_us for at_us in newest.values()):
            self.traits.may_count_rows = False
        return not self.traits.may_count_rows


def services_of(search: SpanSearch, listed: Iterable[str] | None = None) -> list[str] | None:
    """Return the services that may have a span which matches, by the search's own words or among those listed.

    None: the search names none, and none are listed.
    """
    conditions = [matcher for matcher in search.selector.matchers if matcher.label == "service"]
    if listed is None:
        named = next((m.value for m in conditions if m.op is MatchOp.EQ), "")
        if not named:
            named = next((m.value for m in conditions if m.op is MatchOp.RE and _NAMES.fullmatch(m.value)), "")
            # A dot is any character: what else it may stand for is in the list alone.
            if not named or "." in named:
                return None
            listed = named.split("|")
        else:
            listed = [named]
    return sorted({name for name in listed if name and all(condition.matches(name) for condition in conditions)})

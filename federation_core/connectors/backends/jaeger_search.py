"""One search of Jaeger: of one service, and of which services there are any.

Rule: an answer is whole only where the store cannot have stopped. Cassandra reads three rows of an index for each trace
that is asked for, and several rows may be of one trace: fewer traces than were asked for are all there are only if they
do not fill so many rows.
Source: Jaeger's Cassandra reader, of which the documentation says "Deployment / Storage backends".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from federation_core.connectors.backends.jaeger_api import JaegerApi
from federation_core.connectors.backends.jaeger_query import JaegerQuery
from federation_core.connectors.trace_search import Allowance, SearchAnswer, TraceAnswer
from federation_core.labels import MatchOp
from federation_core.query import Deadline
from federation_core.signals.traces.expr import SpanSearch
from federation_core.signals.traces.payload import Span, TracePart

_ROWS_PER_TRACE: Final = 3
#: No more traces are asked for at once than stores allow.
_MOST: Final = 10_000
#: A pattern that is nothing but names; a dot stands for itself among others.
_NAMES: Final = re.compile(r"[A-Za-z0-9_./:-]+(\|[A-Za-z0-9_./:-]+)*")


@dataclass(slots=True)
class ServiceSearch:
    """The searches of one service; what the last one has found is at hand, since it comes with all its spans."""

    api: JaegerApi
    query: JaegerQuery
    service: str
    deadline: Deadline
    allowance: Allowance
    found_any: bool = False
    _held: dict[str, tuple[Span, ...]] = field(default_factory=dict)

    def find(self, start_s: int, end_s: int, size: int) -> SearchAnswer:
        """Find the traces of [start_s, end_s].

        Raises ClusterError, QueryCanceled.
        """
        asked = size
        while True:
            found = self.api.search(self.query, self.service, start_s, end_s, asked, self.deadline, self.allowance)
            self._held = dict(found.traces)
            self.found_any = self.found_any or bool(found.traces)
            rows = self._rows()
            stopped = found.count >= asked
            if stopped or rows < _ROWS_PER_TRACE * asked or asked >= _MOST:
                whole = not stopped and rows < _ROWS_PER_TRACE * asked
                return SearchAnswer(tuple(found.traces), not whole, found.cut)
            asked = min(rows // _ROWS_PER_TRACE + 1, _MOST)

    def fetch(self, trace_ids: Sequence[str]) -> list[TraceAnswer]:
        """Return traces of those that were found last."""
        return [TraceAnswer(TracePart(trace_id, self._held[trace_id])) for trace_id in trace_ids]

    def _rows(self) -> int:
        """Count the rows that an index may have of what was found: one for each span."""
        operation = self.query.operation
        return sum(
            span.service == self.service and operation in ("", span.operation)
            for spans in self._held.values()
            for span in spans
        )


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

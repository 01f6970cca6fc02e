"""Tempo's HTTP API as a client sees it: a trace by id, a search, tag values; what is no answer is told apart.

Rule: `nothing found` is only what Tempo says in its own way; a 404 of anybody else, and an object that says nothing,
are errors.
Source: Grafana Tempo documentation, "Tempo HTTP API". Recorded from Tempo 3.0.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from federation_core.connectors.http import Answer, HttpClient
from federation_core.connectors.otlp.answers import read_id, read_resource_spans
from federation_core.connectors.refusals import refusal, without_addresses, words_of
from federation_core.connectors.trace_search import SearchAnswer, TraceAnswer
from federation_core.errors import ClusterError, Malformed
from federation_core.query import Deadline
from federation_core.signals.traces.payload import Span, TracePart

API: Final = "Tempo's API"
_TRACE_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class TempoApi:
    """The API of one backend; safe to use from several threads."""

    http: HttpClient

    def trace(self, trace_id: str, deadline: Deadline, watch: Callable[[bytes], None]) -> TraceAnswer:
        """Return the spans of one trace, asked without times, which would leave out spans.

        Raises ClusterError, QueryCanceled.
        """
        answer = self.http.ask("GET", f"/api/v2/traces/{trace_id}", (), deadline, watch=watch)
        if answer.status == 404:
            # Before Tempo 2.6 there is no v2; in some releases it answers so for an unknown id, and v1 confirms it.
            answer = self.http.ask("GET", f"/api/traces/{trace_id}", (), deadline, watch=watch)
            if answer.status == 404 and _is_unknown_trace(answer):
                if not answer.body.strip():
                    # A gateway that knows no such path may say as little; it does not search, then.
                    self.reach(deadline)
                return TraceAnswer(TracePart(trace_id))
            # Where blocks fail that it may do without, v1 sends what it has with a status of its own.
            partial = answer.status == 206
            read = self._read(replace(answer, status=200) if partial else answer)
            resource_spans = self._said(read, "batches", "resourceSpans")
            cut = "Tempo sends a part: some of its blocks could not be read" if partial else ""
        else:
            read = self._read(answer)
            self._said(read, "trace", "metrics")
            trace = read.get("trace")
            if trace is not None and not isinstance(trace, dict):
                raise self._malformed("`trace` is no object")
            resource_spans, cut = (trace or {}).get("resourceSpans"), _cut(read)
        spans = self._spans(resource_spans)
        if strange := next((span.trace_id for span in spans if span.trace_id != trace_id), None):
            raise self._malformed(f"spans of trace {strange} where {trace_id} was asked for")
        return TraceAnswer(TracePart(trace_id, spans), cut)

    def reach(self, deadline: Deadline) -> None:
        """Return if a Tempo searches for us.

        Raises ClusterError, QueryCanceled.
        """
        # Some second of 1970: no data is read, but credentials and tenant are looked at.
        self.search("{}", 1, 2, 1, deadline)

    def search(self, text: str, start_s: int, end_s: int, limit: int, deadline: Deadline) -> SearchAnswer:
        """Return the traces with a span that satisfies a TraceQL query and that lie, in part, in [start_s, end_s].

        Raises ClusterError, QueryCanceled.
        """
        fields = (("q", text), ("start", str(start_s)), ("end", str(end_s)), ("limit", str(limit)))
        read = self._read(self.http.ask("GET", "/api/search", fields, deadline), text)
        self._said(read, "traces", "metrics")
        try:
            # Leading zeros are left out here, and only here.
            rows = read.get("traces") or ()
            found = (read_id(row["traceID"], _TRACE_DIGITS) for row in rows)
            trace_ids = tuple(dict.fromkeys(trace_id for trace_id in found if trace_id))
        except (ValueError, TypeError, LookupError, AttributeError) as exc:
            raise self._malformed(f"a trace of a search cannot be read: {exc!r}") from exc
        stopped = len(rows) >= limit
        return SearchAnswer(trace_ids, stopped, _cut(read) or ("" if stopped else _unsearched(read)))

    def tag_values(self, tag: str, deadline: Deadline, times_s: tuple[int, int] | None) -> tuple[str, ...]:
        """Return the text values of a tag such as `resource.service.name`.

        Raises ClusterError, QueryCanceled.
        """
        fields = tuple(zip(("start", "end"), map(str, times_s), strict=True)) if times_s else ()
        read = self._read(self.http.ask("GET", f"/api/v2/search/tag/{tag}/values", fields, deadline))
        try:
            values = {row["value"] for row in read.get("tagValues") or () if row.get("type") == "string"}
            return tuple(sorted(values))
        except (TypeError, LookupError, AttributeError) as exc:
            raise self._malformed(f"the values of {tag} cannot be read: {exc!r}") from exc

    def _read(self, answer: Answer, asked: str = "") -> Mapping[str, Any]:
        if answer.status != 200:
            raise refusal(answer, self.http.cluster, API, asked)
        try:
            read = orjson.loads(answer.body)
        except ValueError:
            read = None
        if not isinstance(read, dict):
            raise refusal(answer, self.http.cluster, API, asked)
        return read

    def _said(self, read: Mapping[str, Any], *names: str) -> Any:
        """Return the first of several fields that an answer has, null where that is its value."""
        there = next((name for name in names if name in read), None)
        if there is None:
            raise self._malformed(f"neither {' nor '.join(f'`{name}`' for name in names)} is in it")
        return read[there]

    def _spans(self, resource_spans: Any) -> tuple[Span, ...]:
        try:
            return tuple(read_resource_spans(resource_spans))
        except ValueError as exc:
            raise self._malformed(f"the trace cannot be read: {str(exc)[:300]}") from exc

    def _malformed(self, words: str) -> ClusterError:
        return Malformed(f"the answer is not one of {API}: {words}", cluster=self.http.cluster)


def _is_unknown_trace(answer: Answer) -> bool:
    """Tell Tempo's own 404 for an id (no words, or about the trace) from that of a path that is not there."""
    words = words_of(answer).lower()
    return not answer.body.strip() or words.startswith("trace") or "trace not found" in words


def _cut(read: Mapping[str, Any]) -> str:
    """Return why Tempo says that an answer is a part, in its words."""
    if read.get("status") not in ("PARTIAL", 1):
        return ""
    said = str(read.get("message") or "it does not say why")[:300]
    return f"Tempo sends a part: {without_addresses(said)}"


def _unsearched(read: Mapping[str, Any]) -> str:
    """Return what was left out of a search that did not end at its limit; counts of zero are not sent."""
    metrics = read.get("metrics")
    if not isinstance(metrics, dict):
        return ""
    total, completed = metrics.get("totalJobs", 0), metrics.get("completedJobs", 0)
    if isinstance(total, int) and isinstance(completed, int) and completed < total:
        return f"Tempo searched {completed} of {total} parts of its store"
    return ""

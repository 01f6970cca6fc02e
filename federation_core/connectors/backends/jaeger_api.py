"""Jaeger's HTTP APIs as a client sees them: version 3 where it is there, version 1 where it is not.

Rule: which one a server speaks is found out by asking for its services, and forgotten when an answer is none. Nothing
found is only what a Jaeger says in its own way. Traces are asked for raw: otherwise Jaeger moves clocks by itself.
Times are asked for a little wider than they are meant: some stores leave out what lies on a bound.
Source: Jaeger documentation, "APIs", and `query_service.proto` of jaeger-idl (version 3, of which nothing is recorded;
before Jaeger 2.20 its parameters had other names, so both are sent). Version 1 as VictoriaTraces speaks it is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import orjson

from federation_core.connectors.backends.jaeger_query import JaegerQuery
from federation_core.connectors.backends.jaeger_spans import read_trace
from federation_core.connectors.http import Answer, Fields, HttpClient
from federation_core.connectors.otlp.answers import read_resource_spans
from federation_core.connectors.refusals import refusal, without_addresses, words_of
from federation_core.errors import ClusterError, Malformed
from federation_core.query import Deadline
from federation_core.signals.traces.payload import Span
from federation_core.times import format_time

API: Final = "Jaeger's API"
#: Statuses of a server that does not have a path: the last is VictoriaTraces'.
_NO_SUCH_PATH: Final = (404, 405, 501, 400)
#: What VictoriaTraces says of a path, which it then repeats.
_NO_PATH_WORDS: Final = "unsupported path"
#: By so much a search begins early.
_EARLY_MS: Final = 1
_US_PER_MS: Final = 1_000

Version = Literal[1, 3]
Watch = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Found:
    """Traces by id, each with all its spans here, in the order in which they came; `cut` says what is missing.

    `count` are the traces that were sent, empty ones included.
    """

    traces: Mapping[str, tuple[Span, ...]]
    cut: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """Names in order; `cut` says why some are missing, empty where that is not known."""

    names: tuple[str, ...]
    cut: str = ""


@dataclass(slots=True)
class JaegerApi:
    """The API of one backend; safe to use from several threads."""

    http: HttpClient
    _version: Version | None = None

    def services(self, deadline: Deadline) -> tuple[str, ...]:
        """Return the names of all services, in order.

        Raises ClusterError, QueryCanceled.
        """
        return self.listing(deadline).names

    def listing(self, deadline: Deadline) -> Listing:
        """Return the services that are told of.

        Raises ClusterError, QueryCanceled.
        """
        held: dict[str, Any] | None = None
        if self._version != 1:
            answer = self.http.ask("GET", "/api/v3/services", (), deadline)
            held = _object(answer) if answer.status == 200 else None
            if held is not None and "services" in held:
                names, self._version = self._names(held["services"]), 3
                return Listing(names)
            if answer.status not in (200, *_NO_SUCH_PATH):
                raise self._refusal(answer)
        # The pages of an old Jaeger's user interface are at every path that it does not know.
        answer = self.http.ask("GET", "/api/services", (), deadline)
        if held == {} and "data" not in (_object(answer) or {}):
            # Some releases of version 3 leave out a list that is empty.
            self._version = 3
            return Listing(())
        read = self._envelope(answer)
        names, self._version = self._names(read["data"]), 1
        return Listing(names, _part_of(read))

    def trace(self, trace_id: str, deadline: Deadline, watch: Watch) -> Found:
        """Return the spans of one trace; none where it is unknown.

        Raises ClusterError, QueryCanceled.
        """
        if self._is_v3(deadline):
            raw: Fields = (("rawTraces", "true"), ("raw_traces", "true"))
            found = self._v3(self.http.ask("GET", f"/api/v3/traces/{trace_id}", raw, deadline, watch=watch))
        else:
            raw = (("raw", "true"),)
            found = self._v1(self.http.ask("GET", f"/api/traces/{trace_id}", raw, deadline, watch=watch))
        if strange := next((other for other in found.traces if other != trace_id), None):
            raise self._malformed(f"spans of trace {strange} where {trace_id} was asked for")
        return found

    def search(
        self, query: JaegerQuery, service: str, start_s: int, end_s: int, limit: int, deadline: Deadline, watch: Watch
    ) -> Found:
        """Return traces in which a span of the service satisfies the query and starts in [start_s, end_s].

        Raises ClusterError, QueryCanceled.
        """
        if self._is_v3(deadline):
            fields = _fields_v3(query, service, start_s, end_s, limit)
            return self._v3(self.http.ask("GET", "/api/v3/traces", fields, deadline, watch=watch))
        fields = _fields_v1(query, service, start_s, end_s, limit)
        return self._v1(self.http.ask("GET", "/api/traces", fields, deadline, watch=watch))

    def _is_v3(self, deadline: Deadline) -> bool:
        if self._version is None:
            self.services(deadline)
        return self._version == 3

    def _v3(self, answer: Answer) -> Found:
        if answer.status == 404 and isinstance((_object(answer) or {}).get("error"), dict):
            return Found({})
        if answer.status != 200:
            raise self._refusal(answer)
        whole = _object(answer)
        # One object, or one a line where the answer is sent in pieces.
        lines = answer.body.splitlines() if whole is None else ()
        pieces = (
            [whole] if whole is not None else [_object(replace(answer, body=line)) for line in lines if line.strip()]
        )
        spans, said = list[Span](), list[str]()
        for piece in pieces or [None]:
            if piece is None or not ("result" in piece or "error" in piece or "resourceSpans" in piece):
                raise self._refusal(answer)
            said.append(_words(piece.get("error")))
            # For some releases what is asked for is the whole answer.
            result = piece if "resourceSpans" in piece else piece.get("result")
            if result is not None and not isinstance(result, dict):
                raise self._malformed("`result` is no object")
            spans += self._spans(read_resource_spans, (result or {}).get("resourceSpans"))
        words = "; ".join(text for text in said if text)
        traces = _by_trace(spans)
        part = f"Jaeger sends a part: {without_addresses(words)}" if words else ""
        return Found(traces, part, len(traces))

    def _v1(self, answer: Answer) -> Found:
        if answer.status == 404 and isinstance((_object(answer) or {}).get("errors"), list):
            return Found({})
        read = self._envelope(answer)
        traces = read["data"] or []
        if not isinstance(traces, list):
            raise self._malformed("`data` is no list")
        spans = [span for trace in traces for span in self._spans(read_trace, trace)]
        found = _by_trace(spans)
        return Found(found, _part_of(read), max(len(traces), len(found)))

    def _envelope(self, answer: Answer) -> Mapping[str, Any]:
        read = _object(answer)
        if answer.status != 200 or read is None or "data" not in read:
            raise self._refusal(answer)
        if not isinstance(read.get("errors") or [], list):
            raise self._malformed("`errors` is no list")
        return read

    def _spans(self, read: Callable[[Any], Iterable[Span]], raw: Any) -> list[Span]:
        try:
            return list(read(raw))
        except ValueError as exc:
            raise self._malformed(f"a trace cannot be read: {str(exc)[:300]}") from exc

    def _names(self, data: Any) -> tuple[str, ...]:
        names = data or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise self._malformed("services are no list of names")
        return tuple(sorted(set(names)))

    def _refusal(self, answer: Answer) -> ClusterError:
        # A server that was another when it was asked last is asked again what it is.
        self._version = None
        if answer.status == 400 and words_of(answer).startswith(_NO_PATH_WORDS):
            words = f"the backend has no such path of {API}; for VictoriaTraces the URL ends in /select/jaeger"
            return Malformed(words, cluster=self.http.cluster)
        read = _object(answer) or {}
        errors = read.get("errors")
        said = _words(read.get("error")) or (_words(errors[0]) if isinstance(errors, list) and errors else "")
        return refusal(replace(answer, body=said.encode(errors="replace")) if said else answer, self.http.cluster, API)

    def _malformed(self, words: str) -> ClusterError:
        self._version = None
        return Malformed(f"the answer is not one of {API}: {words}", cluster=self.http.cluster)


def window_us(start_s: int, end_s: int) -> tuple[int, int]:
    """Return the times between which is searched for what starts in [start_s, end_s)."""
    return max(start_s * 1000 - _EARLY_MS, 0) * _US_PER_MS, end_s * 1000 * _US_PER_MS


def _fields_v1(query: JaegerQuery, service: str, start_s: int, end_s: int, limit: int) -> Fields:
    start_us, end_us = window_us(start_s, end_s)
    fields = [("service", service), ("start", str(start_us)), ("end", str(end_us))]
    fields += [("limit", str(limit)), ("raw", "true")]
    if query.operation:
        fields.append(("operation", query.operation))
    if query.tags:
        fields.append(("tags", _json(query.tags)))
    bounds = (("minDuration", query.min_us), ("maxDuration", query.max_us))
    return (*fields, *((name, _duration(us)) for name, us in bounds if us is not None))


def _fields_v3(query: JaegerQuery, service: str, start_s: int, end_s: int, limit: int) -> Fields:
    start_us, end_us = window_us(start_s, end_s)
    said = {
        ("serviceName", "service_name"): service,
        ("startTimeMin", "start_time_min"): format_time(start_us // _US_PER_MS),
        ("startTimeMax", "start_time_max"): format_time(end_us // _US_PER_MS),
        ("searchDepth", "search_depth"): str(limit),
        ("rawTraces", "raw_traces"): "true",
        ("operationName", "operation_name"): query.operation,
        ("attributes",): _json(query.tags) if query.tags else "",
        ("durationMin", "duration_min"): "" if query.min_us is None else _duration(query.min_us),
        ("durationMax", "duration_max"): "" if query.max_us is None else _duration(query.max_us),
    }
    # The oldest name of the limit; without it an old one takes its own.
    depth = ("query.num_traces", str(limit))
    return (*((f"query.{name}", value) for names, value in said.items() if value for name in names), depth)


def _duration(us: int) -> str:
    """Print microseconds as Go reads a duration, in the largest unit that keeps it whole."""
    return f"{us // 1000}ms" if us % 1000 == 0 else f"{us}us"


def _json(tags: Mapping[str, str]) -> str:
    return orjson.dumps(dict(tags)).decode()


def _by_trace(spans: Iterable[Span]) -> dict[str, tuple[Span, ...]]:
    found: dict[str, list[Span]] = {}
    for span in spans:
        found.setdefault(span.trace_id, []).append(span)
    return {trace_id: tuple(held) for trace_id, held in found.items()}


def _object(answer: Answer) -> dict[str, Any] | None:
    try:
        read = orjson.loads(answer.body)
    except ValueError:
        return None
    return read if isinstance(read, dict) else None


def _part_of(read: Mapping[str, Any]) -> str:
    """Return what an answer of version 1 says beside its data."""
    said = "; ".join(_words(error) for error in read.get("errors") or ())
    return f"Jaeger sends a part: {without_addresses(said)}" if said else ""


def _words(error: Any) -> str:
    """Return what one error of either version says."""
    if not isinstance(error, dict):
        return str(error)[:300] if error else ""
    return str(error.get("message") or error.get("msg") or error)[:300]

"""Prometheus' HTTP API as a client sees it: requests out, the envelope read, refusals told apart.

Rule: what the engine says of the query (an execution error) is the query's error; limits, missing rights and a backend
that is not ready are the cluster's. Instants keep their milliseconds, and the backend is told how long anybody waits.
Source: Prometheus documentation, "HTTP API".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from federation_core.connectors.backends.prometheus_points import NO_POINTS, Points, take_points
from federation_core.connectors.http import Answer, Fields, HttpClient
from federation_core.connectors.refusals import retry_after, without_addresses
from federation_core.errors import (
    FederationError,
    Malformed,
    QueryExecutionError,
    QueryTooLarge,
    Rejected,
    TimedOut,
    Unreachable,
)
from federation_core.query import Deadline, TimeRange
from federation_core.signals.metrics.windows import LOOKBACK_MS

#: An execution error that is none of the query's: limits of Prometheus and of Mimir, trouble in the stores of Thanos.
#: Those of the engine itself name labels and values of series, so that single words tell nothing.
_TROUBLE: Final = re.compile(
    r"query processing would load too many samples|expanding series: |rpc error: |.*\(err-mimir-[a-z-]+\)", re.DOTALL
)
#: Thanos and VictoriaMetrics leave out what does not answer, and Thanos takes averages over time for samples, unless
#: they are told not to; others do not know the words.
NOTHING_LESS: Final[Fields] = (
    ("partial_response", "0"),
    ("deny_partial_response", "1"),
    ("max_source_resolution", "0s"),
)
#: The longest that a backend is told it may take; a number of any size is not understood everywhere.
_LONGEST_MS: Final = 3_600_000
#: `[1,"1"]`
_SHORTEST_SAMPLE_BYTES: Final = 7
#: Metadata is small: an answer above this is none that anybody can use.
_METADATA_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """The `data` of an answer, the points that were taken out of it, and what the backend had to say with it.

    `headers` are those of HTTP, their names in lower case.
    """

    data: Any
    warnings: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    points: Points = NO_POINTS


@dataclass(frozen=True, slots=True)
class PrometheusApi:
    """The API of one backend; safe to use from several threads."""

    http: HttpClient

    def query(self, text: str, asked: TimeRange, deadline: Deadline, watch: Callable[[bytes], None]) -> Reply:
        """Evaluate an expression at an instant, or on the steps of a range.

        Raises QueryExecutionError, QueryTooLarge (by `watch`), QueryCanceled, ClusterError; Malformed also where the
        backend cannot read the query.
        """
        fields: list[tuple[str, str]] = [("query", text), ("lookback_delta", seconds(LOOKBACK_MS)), *NOTHING_LESS]
        if deadline.clock is not None:
            left_ms = deadline.at_ms - deadline.clock()
            fields.append(("timeout", seconds(min(max(left_ms, 1), _LONGEST_MS))))
        if asked.step_ms:
            times = (("start", asked.start_ms), ("end", asked.end_ms), ("step", asked.step_ms))
            fields += [(name, seconds(ms)) for name, ms in times]
            path = "/api/v1/query_range"
        else:
            fields.append(("time", seconds(asked.end_ms)))
            path = "/api/v1/query"
        answer = self.http.ask("POST", path, tuple(fields), deadline, watch=watch)
        try:
            body, points = take_points(answer.body)
        except ValueError:
            # Whatever it is, it is no answer of this API; the envelope's reader says so.
            return self._reply(answer)
        return replace(self._reply(replace(answer, body=body)), points=points)

    def get(self, path: str, fields: Sequence[tuple[str, str]], deadline: Deadline) -> Reply:
        """Return what a path of the API answers to a GET.

        Raises ClusterError, QueryCanceled.
        """
        asked = (*fields, *NOTHING_LESS)
        return self._reply(self.http.ask("GET", f"/api/v1/{path}", asked, deadline, max_bytes=_METADATA_BYTES))

    def post(self, path: str, fields: Sequence[tuple[str, str]], deadline: Deadline) -> Reply:
        """Return what a path of the API answers to a form, whose fields may be longer than a URL.

        Raises ClusterError, QueryCanceled.
        """
        asked = (*fields, *NOTHING_LESS)
        return self._reply(self.http.ask("POST", f"/api/v1/{path}", asked, deadline, max_bytes=_METADATA_BYTES))

    def _reply(self, answer: Answer) -> Reply:
        envelope = _envelope(answer.body)
        if answer.status != 200 or envelope.get("status") != "success":
            raise self._refusal(answer, envelope)
        said = [text for name in ("warnings", "infos") for text in self._list(envelope, name)]
        return Reply(envelope.get("data"), tuple(self._named(str(text)) for text in said), answer.headers)

    def _list(self, envelope: Mapping[str, Any], name: str) -> list[Any]:
        found = envelope.get(name) or []
        if not isinstance(found, list):
            raise Malformed(f"{name} of the answer are no list", cluster=self.http.cluster)
        return found

    def _named(self, text: str) -> str:
        # The engine's annotations are about the query; anything else is about this cluster's answer.
        return text if text.startswith("PromQL ") else f"cluster {self.http.cluster}: {without_addresses(text)}"

    def _refusal(self, answer: Answer, envelope: Mapping[str, Any]) -> FederationError:
        cluster, status = self.http.cluster, answer.status
        kind, words = str(envelope.get("errorType", "")), str(envelope.get("error", ""))[:500]
        # What is wrong with a query quotes the query; anything else may tell where the backend's own backends are.
        shown = words if kind == "bad_data" and status in (400, 422) else without_addresses(words)
        said = f": {shown}" if shown else ""
        if kind == "timeout" or status == 504:
            return TimedOut(f"the backend gave up in its own time{said}", cluster=cluster)
        if status in (401, 403):
            return Rejected(f"the backend refuses our credentials ({status})", cluster=cluster)
        if status == 429:
            return Rejected(f"the backend takes no more requests now{said}", cluster=cluster, **retry_after(answer))
        if status == 422:
            if kind != "execution" or _TROUBLE.match(words):
                return Rejected(f"the backend refuses the query{said}", cluster=cluster)
            return QueryExecutionError(words, cluster=cluster)
        if status == 413:
            return Rejected(f"the query is too large for the backend{said}", cluster=cluster)
        if status >= 500:
            return Unreachable(f"the backend answers {status}{said}", cluster=cluster)
        if status == 200:
            return Malformed("the answer is not one of Prometheus' API", cluster=cluster)
        said = said or ", which is none of Prometheus' API"
        return Malformed(f"the backend answers {status}{said}", cluster=cluster)


def _envelope(body: bytes) -> Mapping[str, Any]:
    try:
        read = orjson.loads(body)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def seconds(time_ms: int) -> str:
    """Print a time or a duration in ms as seconds, exactly.

    >>> seconds(1790006400125), seconds(-5), seconds(60000)
    ('1790006400.125', '-0.005', '60.000')
    """
    whole, rest = divmod(abs(time_ms), 1000)
    return f"{'-' if time_ms < 0 else ''}{whole}.{rest:03d}"


class SampleCap:
    """Counts the samples of an answer while it comes, and ends it above the limit.

    A sample is `[time,"value"]`. Within a string a quote before a bracket is escaped, so that what is counted is
    samples, and the few other lists of strings in an envelope. An answer too short to have too many is not counted.
    """

    def __init__(self, cluster: str, limit: str, allowed: int) -> None:
        self._cluster, self._limit, self._allowed = cluster, limit, allowed
        self._seen, self._tail = 0, b""
        #: What has come and is not counted yet: the client holds it anyway.
        self._kept: list[bytes] = []
        self._size = 0

    def __call__(self, chunk: bytes) -> None:
        """Count one chunk.

        Raises QueryTooLarge.
        """
        self._kept.append(chunk)
        self._size += len(chunk)
        if self._size <= self._allowed * _SHORTEST_SAMPLE_BYTES:
            return
        for kept in self._kept:
            self._count(kept)
        self._kept.clear()
        if self._seen > self._allowed:
            raise QueryTooLarge(
                f"the query needs more than {self._allowed} values of cluster {self._cluster}",
                limit=self._limit,
                asked=self._seen,
                allowed=self._allowed,
            )

    def _count(self, chunk: bytes) -> None:
        text = self._tail + chunk
        self._seen += text.count(b'"]') - text.count(b'\\"]')
        # The beginning of what may stand across two chunks is looked at again; it is too short to count by itself.
        begun = (tail for tail in (b'\\"', b'"', b"\\") if text.endswith(tail))
        self._tail = next(begun, b"")

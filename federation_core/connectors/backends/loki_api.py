"""Loki's HTTP API as a client sees it: requests out, answers told from refusals.

Rule: refusals are plain text and are passed on in Loki's words. A query that Loki's limits forbid is the cluster's
error (`Rejected`), and so are missing rights; one that Loki cannot read is `Malformed`. Times are sent as nanoseconds.
Source: Grafana Loki documentation, "Loki HTTP API"; and recorded answers of Loki 3.7 (tests/fixtures/backends/loki).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from federation_core.connectors.backends.loki_entries import Page, read_page
from federation_core.connectors.http import MAX_ANSWER_BYTES, Answer, Fields, HttpClient
from federation_core.connectors.refusals import refusal, without_addresses, words_of
from federation_core.errors import FederationError, Malformed
from federation_core.labels import Labels, Selector
from federation_core.query import Deadline, Direction

#: The first and the last instant that Loki can be asked about, which has nanoseconds in 64 bits.
FIRST_NS, LAST_NS = 0, 2**63 - 1
NS_PER_S: Final = 1_000_000_000
#: By it the values of a line stand apart from the labels of its stream; Loki before 3.0 does not know it.
_APART: Final = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
#: Every server and proxy takes a URL of this length; what is longer goes as a form, which fewer let through.
_URL_CHARS: Final = 4_000
#: Names of labels and label sets are small: an answer above this is none that anybody can use.
_METADATA_BYTES: Final = 64 * 1024 * 1024
#: What is kept of a warning.
_WORDS_CHARS: Final = 500


@dataclass(frozen=True, slots=True)
class Window:
    """The instants [start, end), in nanoseconds since the epoch."""

    start_ns: int
    end_ns: int

    @property
    def fields(self) -> Fields:
        """The window as parameters of a request."""
        return (("start", _instant(self.start_ns)), ("end", _instant(self.end_ns)))


@dataclass(frozen=True, slots=True)
class LokiApi:
    """The API of one backend; safe to use from several threads."""

    http: HttpClient

    def page(
        self,
        text: str,
        window: Window,
        limit: int,
        direction: Direction,
        deadline: Deadline,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Page:
        """Return the first `limit` lines of a window, over all streams; which of those at its edge is Loki's choice.

        Raises QueryCanceled, ClusterError.
        """
        fields = (("query", text), *window.fields, ("limit", str(limit)), ("direction", direction))
        answer = self._send("query_range", fields, deadline, max_bytes)
        envelope = self._envelope(answer, text)
        warnings = envelope.get("warnings") or ()
        if not isinstance(warnings, list | tuple):
            raise Malformed("the warnings of the answer are no list", cluster=self.http.cluster)
        said = tuple(
            f"cluster {self.http.cluster}: {without_addresses(str(one)[:_WORDS_CHARS], text)}" for one in warnings
        )
        try:
            return read_page(envelope.get("data"), direction, said, len(answer.body))
        except ValueError as exc:
            raise Malformed(f"the answer is not one of log lines: {exc}", cluster=self.http.cluster) from None

    def label_names(self, window: Window | None, deadline: Deadline) -> tuple[str, ...]:
        """Return the names of the labels of all streams in a window (Loki's own recent one without), sorted.

        Raises QueryCanceled, ClusterError.
        """
        fields = window.fields if window is not None else ()
        names = self._envelope(self._send("labels", fields, deadline, _METADATA_BYTES)).get("data") or []
        # Where there are none Loki leaves the key out, and some gateways write null.
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise Malformed("the label names are no list of texts", cluster=self.http.cluster)
        return tuple(sorted(names))

    def streams(self, selectors: Sequence[Selector], window: Window, deadline: Deadline) -> list[Labels]:
        """Return the label sets of the streams in a window that any of the selectors accepts.

        Raises QueryCanceled, ClusterError.
        """
        matching = tuple(("match[]", "{" + ", ".join(map(str, one.matchers)) + "}") for one in selectors)
        answer = self._send("series", (*matching, *window.fields), deadline, _METADATA_BYTES)
        found = self._envelope(answer).get("data") or []
        try:
            return [Labels.of(_texts(labels)) for labels in found]
        except (ValueError, TypeError):
            raise Malformed("the streams are no list of label sets", cluster=self.http.cluster) from None

    def _send(self, path: str, fields: Fields, deadline: Deadline, max_bytes: int) -> Answer:
        method: Any = "GET" if len(urlencode(fields)) <= _URL_CHARS else "POST"
        path = f"/loki/api/v1/{path}"
        return self.http.ask(method, path, fields, deadline, max_bytes=max_bytes, headers=_APART)

    def _envelope(self, answer: Answer, asked: str = "") -> Mapping[str, Any]:
        envelope = _mapping(answer.body)
        if answer.status != 200 or envelope.get("status") != "success":
            raise self._refusal(answer, asked)
        return envelope

    def _refusal(self, answer: Answer, asked: str) -> FederationError:
        words = without_addresses(words_of(answer), asked)
        if answer.status == 400 and words.startswith("parse error"):
            # What is refused otherwise is readable, and too much of something.
            return Malformed(f"the backend cannot read the query: {words}", cluster=self.http.cluster)
        return refusal(answer, self.http.cluster, "Loki's API", asked)


def _texts(labels: Any) -> dict[str, str]:
    if not isinstance(labels, dict) or not all(isinstance(text, str) for pair in labels.items() for text in pair):
        raise ValueError("no label set")
    return labels


def _mapping(body: bytes) -> Mapping[str, Any]:
    try:
        read = orjson.loads(body)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _instant(t_ns: int) -> str:
    """Print an instant as nanoseconds, which Loki takes for seconds where they have ten digits or less.

    >>> _instant(1795470000000000001), _instant(5)
    ('1795470000000000001', '1970-01-01T00:00:00.000000005Z')
    """
    if t_ns >= 10 * NS_PER_S:
        return str(t_ns)
    whole_s, rest_ns = divmod(t_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(whole_s, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z"

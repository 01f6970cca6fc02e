"""A small model of Loki over recorded lines, for what was never asked of the recorded servers: other limits and pages.

Rule: what it does is what the recordings in tests/fixtures/backends/loki show, and `test_loki_model.py` holds it
against every one of them. The exchange that shows a behaviour is named beside it. Filters are read and judged by the
product's own parser, which is not what this model is there to test.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from federation_core.labels import Labels
from federation_core.signals.logs.language import matches, parse
from federation_core.signals.logs.payload import Entry
from tests.support.prometheus_replies import RepliesServer, Reply, Request, answering
from tests.support.recorded_server import read_exchanges

RECORDED = Path(__file__).parents[1] / "fixtures" / "backends" / "loki"
#: The time that was recorded, in milliseconds.
START_MS, END_MS = 1_795_470_000_000, 1_795_471_800_000
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}
#: query-range-empty-matcher-400
_NO_MATCHER = (
    "parse error : queries require at least one regexp or equality matcher that does not have an empty-compatible"
    ' value. For instance, app=~".*" does not meet this requirement, but app=~".+" will'
)


@dataclass(frozen=True)
class LokiModel:
    """One server: its lines in the order they were written, exact copies left out, as Loki leaves them out.

    `max_lines` and `max_span_s` are its limits; `knows_flag` is whether it tells metadata from labels when asked to.
    """

    lines: tuple[Entry, ...]
    tenant: str = "team-a"
    max_lines: int = 5_000
    max_span_s: int = 0
    knows_flag: bool = True

    @classmethod
    def of(cls, lines: Iterable[Entry], **limits: Any) -> LokiModel:
        """Hold lines; of the same stream, time and text the first one (equal-timestamps-and-duplicates)."""
        kept: dict[tuple[Labels, int, str], Entry] = {}
        for line in lines:
            kept.setdefault((line.labels, line.t_ns, line.line), line)
        return cls(tuple(kept.values()), **limits)

    def reply(self, request: Request) -> Reply:
        """Answer one request."""
        asked = defaultdict(str, request.fields)
        headers = {name.lower(): value for name, value in request.headers.items()}
        tenant = headers.get("x-scope-orgid", "")
        if not tenant:
            return Reply(b"no org id", 401, _TEXT)  # query-range-no-tenant-401
        mine = self if tenant == self.tenant else LokiModel((), tenant)  # query-range-unknown-tenant-empty
        flagged = headers.get("x-loki-response-encoding-flags") == "categorize-labels" and self.knows_flag
        try:
            match request.path.removeprefix("/loki/api/v1/"):
                case "query_range":
                    return mine._query_range(asked, flagged)
                case "labels":
                    return mine._labels(asked)
                case "series":
                    return mine._series(asked, [value for name, value in request.fields if name == "match[]"])
        except Refused as refused:
            return Reply(str(refused).encode(), 400, _TEXT)
        return Reply(b"404 page not found\n", 404, _TEXT)  # unknown-path-404

    def _query_range(self, asked: Mapping[str, str], flagged: bool) -> Reply:
        self._selector(asked["query"])
        start_ns, end_ns = self._window(asked)
        # query-range-streams-default-limit-and-direction
        limit, backward = int(asked["limit"] or 100), (asked["direction"] or "backward") == "backward"
        if limit < 1:  # query-range-limit-0
            raise Refused("limit must be a positive value")
        if limit > self.max_lines:  # query-range-limit-above-server-maximum-400
            allowed = self.max_lines
            raise Refused(
                "max entries limit per query exceeded,"
                f" limit > max_entries_limit_per_query ({limit} > {allowed})"
            )  # fmt: skip
        query = parse(asked["query"])
        # query-range-start-equals-…-inclusive, query-range-end-equals-…-exclusive
        found = [line for line in self.lines if start_ns <= line.t_ns < end_ns and matches(query, line)]
        # Within a stream and nanosecond backward is the reverse (query-range-json-parser-error-label). Between streams
        # it is not: the same stream, not the first one by its labels, begins in both directions, as is shown by
        # query-range-equal-timestamps-limit-2-page-1 and query-range-times-as-rfc3339.
        if backward:
            found.reverse()
        found.sort(key=lambda line: line.labels, reverse=True)
        found.sort(key=lambda line: line.t_ns, reverse=backward)
        page = found[:limit]
        streams: dict[Labels, list[Any]] = defaultdict(list)
        for line in page:
            if flagged:  # query-range-structured-metadata-categorized
                apart = {"structuredMetadata": line.metadata.as_dict()} if line.metadata else {}
                streams[line.labels].append([str(line.t_ns), line.line, apart])
            else:  # query-range-structured-metadata-flat
                streams[Labels.of([*line.labels, *line.metadata])].append([str(line.t_ns), line.line])
        result = [{"stream": labels.as_dict(), "values": values} for labels, values in sorted(streams.items())]
        flags = {"encodingFlags": ["categorize-labels"]} if flagged else {}
        return Reply({"status": "success", "data": {"resultType": "streams", **flags, "result": result, "stats": {}}})

    def _labels(self, asked: Mapping[str, str]) -> Reply:
        start_ns, end_ns = self._window(asked)
        names = {name for line in self.lines if start_ns <= line.t_ns < end_ns for name in line.labels.names()}
        if not names:  # labels-outside-data-window
            return Reply({"status": "success"})
        return Reply({"status": "success", "data": sorted(names)})

    def _series(self, asked: Mapping[str, str], selectors: list[str]) -> Reply:
        start_ns, end_ns = self._window(asked)
        wanted = [self._selector(text) for text in selectors]
        streams = {
            line.labels
            for line in self.lines
            # series-no-match: without a selector all of them; series-empty: an empty list
            if start_ns <= line.t_ns < end_ns and (not wanted or any(one.matches(line.labels) for one in wanted))
        }
        return Reply({"status": "success", "data": [labels.as_dict() for labels in streams]})

    def _selector(self, text: str) -> Any:
        selector = parse(text).selector
        if all(matcher.matches("") or matcher.op == "!=" for matcher in selector.matchers):
            raise Refused(_NO_MATCHER)
        return selector

    def _window(self, asked: Mapping[str, str]) -> tuple[int, int]:
        start_ns, end_ns = _instant(asked["start"], 0), _instant(asked["end"], 2**63 - 1)
        if end_ns < start_ns:  # query-range-end-before-start-400
            raise Refused("end timestamp must not be before or equal to start time")
        if self.max_span_s and end_ns - start_ns > self.max_span_s * 10**9:  # query-range-range-too-long-400
            length = f"{(end_ns - start_ns) // 10**9 // 60}m0s"
            raise Refused(
                f"the query time range exceeds the limit (query length: {length}, limit: {self.max_span_s}s)"
            )  # fmt: skip
        return start_ns, end_ns


class Refused(Exception):
    """A refusal, in Loki's words."""


def _instant(text: str, otherwise: int) -> int:
    """Read a time: RFC 3339, seconds with ten digits or a point, else nanoseconds (query-range-times-…)."""
    if not text:
        return otherwise
    if re.fullmatch(r"[0-9]{11,}", text):
        return int(text)
    if re.fullmatch(r"[0-9.]+", text):
        return int(Fraction(text) * 10**9)
    whole, _, rest = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(whole + "+00:00").timestamp()) * 10**9 + int((rest or "0").ljust(9, "0"))


@lru_cache
def recorded_lines(cluster: str) -> tuple[Entry, ...]:
    """Return all lines of a cluster that any recorded answer holds, in the order Loki holds them.

    For prod and shared-services these are all lines that its server stored; for app-prod those of its recorded queries.
    """
    names = {name for stream in _recorded_streams(cluster) for name in stream}
    known: dict[tuple[Labels, int, str], Entry] = {}
    # The longest answers first: those to narrow questions tell less of the order.
    exchanges = read_exchanges(RECORDED, cluster=cluster, names=["query-range-*"])
    for exchange in sorted(exchanges, key=lambda exchange: -len(exchange.reply.body)):
        asked = dict(exchange.fields)
        if exchange.reply.status != 200 or "| json" in asked["query"]:
            continue
        data = json.loads(exchange.reply.body)["data"]
        for stream in data["result"]:
            values = stream["values"] if asked.get("direction") == "forward" else stream["values"][::-1]
            labels = {name: text for name, text in stream["stream"].items() if name in names}
            mixed = {name: text for name, text in stream["stream"].items() if name not in names}
            for t_ns, line, *apart in values:
                metadata = Labels.of(apart[0].get("structuredMetadata", {}) if apart else mixed)
                entry = Entry(int(t_ns), line, Labels.of(labels), metadata)
                known.setdefault((entry.labels, entry.t_ns, line), entry)
    return tuple(known.values())


def _recorded_streams(cluster: str) -> list[list[str]]:
    return [
        json.loads(exchange.reply.body)["data"]
        for exchange in read_exchanges(RECORDED, cluster=cluster, names=["labels-*"])
        if "data" in json.loads(exchange.reply.body)
    ]


@contextmanager
def loki_serving(model: LokiModel) -> Iterator[RepliesServer]:
    """Serve a model over HTTP inside the block."""
    with answering(model.reply) as server:
        yield server

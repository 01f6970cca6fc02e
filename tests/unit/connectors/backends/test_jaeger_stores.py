"""Jaeger's stores each stop, compare and index in their own way: over all of them an answer without words is exact.

The stores are models of what their code does, as far as it decides which traces a search finds.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation_core.connectors.backends.jaeger import Jaeger
from federation_core.connectors.backends.jaeger_api import JaegerApi
from federation_core.connectors.http import Answer
from federation_core.plan import Leaf
from federation_core.query import Direction, TimeRange
from federation_core.signals.traces.expr import SpanSearch
from federation_core.signals.traces.language import parse, span_matches
from federation_core.signals.traces.payload import FoundTraces, Span, SpanStatus
from tests.support.sample_store import FAR_DEADLINE, scope_of

S_US = 1_000_000
HOUR_US = 3_600 * S_US


@dataclass(frozen=True)
class Held:
    """One span of a store."""

    trace_id: str
    span_id: str
    service: str
    operation: str
    start_us: int
    duration_us: int
    tags: Mapping[str, str]
    error: bool

    def as_json(self, error_tag: bool) -> dict[str, Any]:
        tags = [{"key": key, "type": "string", "value": value} for key, value in self.tags.items()]
        if self.error:
            tags.append({"key": "otel.status_code", "type": "string", "value": "ERROR"})
        if self.error and error_tag:
            tags.append({"key": "error", "type": "bool", "value": True})
        return {
            "traceID": self.trace_id,
            "spanID": self.span_id,
            "operationName": self.operation,
            "startTime": self.start_us,
            "duration": self.duration_us,
            "tags": tags,
            "process": {"serviceName": self.service},
        }

    def as_span(self) -> Span:
        status = SpanStatus.ERROR if self.error else SpanStatus.UNSET
        start_ns, duration_ns = self.start_us * 1000, self.duration_us * 1000
        return Span(
            self.trace_id,
            self.span_id,
            "",
            self.operation,
            self.service,
            start_ns,
            duration_ns,
            status=status,
            attributes=self.tags,
        )


@dataclass
class Store:
    """Version 1 of the API over some spans; stands for the HTTP client too."""

    spans: Sequence[Held]
    listed: frozenset[str] | None = None
    cluster: str = "prod"
    searches: list[dict[str, str]] = field(default_factory=list)
    error_tag = True

    def ask(self, method: str, path: str, fields: Sequence[tuple[str, str]], *rest: Any, **named: Any) -> Answer:
        if path == "/api/services":
            services = {span.service for span in self.spans}
            return self._answer(sorted(services if self.listed is None else services & self.listed))
        if path != "/api/traces":
            return Answer(404, {}, b"404 page not found")
        asked = dict(fields)
        self.searches.append(asked)
        found = self.find(asked)
        return self._answer(
            [{"spans": [s.as_json(self.error_tag) for s in self.spans if s.trace_id == i]} for i in found]
        )

    def _answer(self, data: Any) -> Answer:
        return Answer(200, {}, orjson.dumps({"data": data}))

    def matching(self, asked: Mapping[str, str]) -> list[Held]:
        """Return the spans that satisfy all that is asked, newest first."""
        tags = orjson.loads(asked.get("tags", "{}"))
        found = [
            span
            for span in self.spans
            if span.service == asked["service"]
            and int(asked["start"]) <= span.start_us <= int(asked["end"])
            and asked.get("operation", span.operation) == span.operation
            and span.duration_us >= as_us(asked.get("minDuration", "0us"))
            and span.duration_us <= as_us(asked.get("maxDuration", f"{2**60}us"))
            and all(self.has(span, name, value) for name, value in tags.items())
        ]
        return sorted(found, key=lambda span: span.start_us, reverse=True)

    def has(self, span: Held, name: str, value: str) -> bool:
        held = span.tags | ({"error": "true"} if span.error and self.error_tag else {})
        return held.get(name) == value

    def find(self, asked: Mapping[str, str]) -> list[str]:
        return list(dict.fromkeys(span.trace_id for span in self.matching(asked)))[: int(asked["limit"])]


class Elasticsearch(Store):
    """A tag's value is a pattern."""

    def has(self, span: Held, name: str, value: str) -> bool:
        held = span.tags | ({"error": "true"} if span.error else {})
        return name in held and re.fullmatch(value, held[name]) is not None


class ClickHouse(Store):
    """A status makes no tag."""

    error_tag = False


class VictoriaTraces(Store):
    """Bounds of durations are exclusive."""

    def matching(self, asked: Mapping[str, str]) -> list[Held]:
        low, high = as_us(asked.get("minDuration", "0us")), as_us(asked.get("maxDuration", f"{2**60}us"))
        return [
            s
            for s in super().matching(asked)
            if s.duration_us > low * ("minDuration" in asked) and s.duration_us < high
        ]


class Cassandra(Store):
    """Three rows of an index for each trace asked for; bounds are exclusive; several indexes are intersected."""

    def find(self, asked: Mapping[str, str]) -> list[str]:
        rows = 3 * int(asked["limit"])
        mine = sorted((s for s in self.spans if s.service == asked["service"]), key=lambda s: s.start_us, reverse=True)
        inside = [s for s in mine if int(asked["start"]) < s.start_us < int(asked["end"])]
        operation, tags = asked.get("operation"), orjson.loads(asked.get("tags", "{}"))
        if "minDuration" in asked or "maxDuration" in asked:
            assert not tags
            return self._by_duration(asked, [s for s in mine if operation in (None, s.operation)], rows)
        indexes = [[s for s in inside if self.has(s, name, value)] for name, value in tags.items()]
        if operation is not None:
            indexes.append([s for s in inside if s.operation == operation])
        sets = [{s.trace_id for s in index[:rows]} for index in indexes or [inside]]
        found = sorted(set.intersection(*sets))
        random.Random(len(found)).shuffle(found)
        return found[: int(asked["limit"])]

    def _by_duration(self, asked: Mapping[str, str], spans: list[Held], rows: int) -> list[str]:
        low, high = as_us(asked.get("minDuration", "0us")), as_us(asked.get("maxDuration", f"{24 * HOUR_US}us"))
        first, last = ((int(asked[name]) + HOUR_US // 2) // HOUR_US for name in ("start", "end"))
        found: dict[str, None] = {}
        for hour in range(last, first - 1, -1):
            bucket = [s for s in spans if (s.start_us + HOUR_US // 2) // HOUR_US == hour and low < s.duration_us < high]
            found |= dict.fromkeys(s.trace_id for s in sorted(bucket, key=lambda s: s.duration_us)[:rows])
        return list(found)[: int(asked["limit"])]


def as_us(duration: str) -> int:
    number, unit = re.fullmatch(r"([0-9]+)(us|ms)", duration).groups()  # type: ignore[union-attr]
    return int(number) * {"us": 1, "ms": 1000}[unit]


STORES = [Store, Elasticsearch, ClickHouse, VictoriaTraces, Cassandra]
START_S = 1_795_470_000


def search(
    store: Store, text: str, limit: int, seconds: int, direction: Direction = "backward"
) -> tuple[list[str], bool, str]:
    connector = Jaeger("prod", JaegerApi(store))  # type: ignore[arg-type]
    window = TimeRange(START_S * 1000, (START_S + seconds) * 1000)
    fetched = connector.fetch(Leaf("t", text, window, limit, direction), scope_of(["prod"]), FAR_DEADLINE)
    assert isinstance(fetched.payload, FoundTraces)
    said = "; ".join(filter(None, (fetched.truncated, *fetched.warnings)))
    return [part.trace_id for part in fetched.payload.parts], fetched.payload.more, said


def truth(store: Store, text: str, seconds: int, direction: Direction) -> list[str]:
    wanted, first = parse(text), max if direction == "backward" else min
    assert isinstance(wanted, SpanSearch)
    starts: dict[str, list[int]] = {}
    for span in store.spans:
        if 0 <= span.start_us - START_S * S_US < seconds * S_US and span_matches(wanted, span.as_span()):
            starts.setdefault(span.trace_id, []).append(span.start_us)
    return sorted(starts, key=lambda i: (first(starts[i]), i), reverse=direction == "backward")


def span(trace: int, at_us: int, number: int = 1, **more: Any) -> Held:
    named: dict[str, Any] = {"service": "web", "operation": "op", "duration_us": 5, "tags": {}, "error": False} | more
    return Held(f"{trace:032x}", f"{number:016x}", start_us=START_S * S_US + at_us, **named)


@pytest.mark.parametrize("kind", STORES)
def test_traces_of_many_spans_do_not_hide_others(kind: type[Store]) -> None:
    """Three traces of fifty spans each fill all the rows that Cassandra reads for 21 traces."""
    spans = [span(trace, trace * S_US + number, number) for trace in range(1, 11) for number in range(1, 51)]
    store = kind(spans)
    assert search(store, '{ service = "web" }', 20, 60) == (truth(store, "{ }", 60, "backward"), False, "")


def test_a_store_that_finds_what_lies_beyond_so_many_rows_is_not_asked_twice() -> None:
    spans = [span(trace, trace * S_US + number, number) for trace in range(1, 11) for number in range(1, 51)]
    for kind, searches in ((Store, 1), (Cassandra, 3)):
        store = kind(spans)
        search(store, '{ service = "web" }', 20, 60)
        assert len(store.searches) == searches


@pytest.mark.parametrize("kind", STORES)
def test_two_conditions_that_are_common_each_find_what_has_both(kind: type[Store]) -> None:
    common = [
        span(trace, 100 * S_US + trace, operation="GET /" if trace % 2 else "POST /", error=trace % 2 == 0)
        for trace in range(1, 201)
    ]
    store = kind([*common, span(500, 5 * S_US, operation="GET /", error=True)])
    text = '{ service = "web" && name = "GET /" && status = error }'
    assert search(store, text, 20, 200) == ([f"{500:032x}"], False, "")


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize(
    "condition", ["duration >= 200ms", "duration <= 200ms", "duration = 200ms", "duration > 199999us"]
)
def test_what_is_just_as_long_is_found(kind: type[Store], condition: str) -> None:
    store = kind([span(1, S_US, duration_us=200_000)])
    assert search(store, f'{{ service = "web" && {condition} }}', 20, 60)[0] == [f"{1:032x}"]


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("at_us", [0, S_US - 1, 60 * S_US - 1])
def test_what_begins_at_a_bound_is_found(kind: type[Store], at_us: int) -> None:
    assert search(kind([span(1, at_us)]), '{ service = "web" }', 20, 60)[0] == [f"{1:032x}"]


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("value", ["/cart?id=5", "a|b", "x.y", "(a)", "a+b", "GET", "500", "{a}"])
def test_values_that_are_patterns_elsewhere_are_found(kind: type[Store], value: str) -> None:
    store = kind([span(1, S_US, tags={"x": value})])
    assert search(store, f'{{ service = "web" && span.x = "{value}" }}', 20, 60)[0] == [f"{1:032x}"]


@pytest.mark.parametrize("kind", STORES)
def test_errors_are_found_whether_or_not_they_make_a_tag(kind: type[Store]) -> None:
    store = kind([span(1, S_US, error=True), span(2, S_US)])
    assert search(store, "{ status = error }", 20, 60) == ([f"{1:032x}"], False, "")


def test_a_store_that_may_hide_errors_is_not_searched_through_but_that_is_said() -> None:
    store = Store([span(n, n * S_US // 100) for n in range(1, 2000)])
    found, more, said = search(store, "{ status = error }", 20, 60)
    assert (found, more) == ([], False)
    assert said == "cluster prod: no error is found, but the store may have errors without a tag"
    assert len(store.searches) == 2


def test_a_store_that_makes_no_tag_of_an_error_is_asked_for_none_again() -> None:
    store = ClickHouse([span(1, S_US, error=True), span(2, S_US)])
    connector = Jaeger("prod", JaegerApi(store))  # type: ignore[arg-type]
    leaf = Leaf("t", '{ service = "web" && status = error }', TimeRange(START_S * 1000, (START_S + 60) * 1000), 5)
    for asked in ([True, False, False], [False]):
        store.searches.clear()
        assert len(connector.fetch(leaf, scope_of(["prod"]), FAR_DEADLINE).payload.parts) == 1
        assert ["tags" in request for request in store.searches] == asked


def test_a_store_that_has_found_an_error_by_its_tag_is_believed_when_it_finds_none() -> None:
    store = Store([span(1, S_US, error=True), *(span(n, 90 * S_US) for n in range(2, 9))])
    connector = Jaeger("prod", JaegerApi(store))  # type: ignore[arg-type]
    for start_s, searches in ((START_S, 1), (START_S + 60, 1)):
        window = TimeRange(start_s * 1000, (start_s + 60) * 1000)
        leaf = Leaf("t", '{ service = "web" && status = error }', window, 5)
        store.searches.clear()
        assert connector.fetch(leaf, scope_of(["prod"]), FAR_DEADLINE).truncated == ""
        assert len(store.searches) == searches


spans_drawn = st.builds(
    span,
    st.integers(1, 12),
    st.integers(0, 40).map(lambda third: third * S_US // 3),
    st.integers(1, 9),
    service=st.sampled_from(["web", "web", "cart"]),
    operation=st.sampled_from(["GET /", "op"]),
    duration_us=st.sampled_from([1, 5, 200_000]),
    tags=st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["a", "a.b", "a|b", "500"]), max_size=2),
    error=st.booleans(),
)
CONDITIONS = [
    'service = "web"',
    'service =~ "web|cart"',
    'name = "GET /"',
    'span.x = "a"',
    'span.x = "a.b"',
    'span.y = "a|b"',
    'span.y = "500"',
    "status = error",
    "duration >= 5us",
    "duration < 200ms",
    "duration = 5us",
]


@pytest.mark.parametrize("kind", STORES)
@settings(max_examples=150, deadline=None)
@given(
    spans=st.lists(spans_drawn, max_size=60, unique_by=lambda s: (s.trace_id, s.span_id)),
    conditions=st.lists(st.sampled_from(CONDITIONS), max_size=3),
    limit=st.integers(1, 4),
    seconds=st.integers(1, 15),
    direction=st.sampled_from(["backward", "forward"]),
)
def test_an_answer_without_words_is_exact(
    kind: type[Store], spans: list[Held], conditions: list[str], limit: int, seconds: int, direction: Direction
) -> None:
    store, text = kind(spans), "{ " + " && ".join(conditions) + " }"
    found, more, cut = search(store, text, limit, seconds, direction)
    expected = truth(store, text, seconds, direction)
    if not cut:
        assert (found, more) == (expected[:limit], len(expected) > limit)
    else:
        assert set(found) <= set(expected)

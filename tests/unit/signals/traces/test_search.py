"""Trace search and lookup from plan to answer, over stores in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.connectors import Fetched
from federation_core.errors import TraceNotFound
from federation_core.labels import Selector
from federation_core.outcome import Result, Verdict
from federation_core.query import Direction, Query, TimeRange
from federation_core.signals.traces import KIND
from federation_core.signals.traces.expr import SpanSearch
from federation_core.signals.traces.payload import FoundTraces, Span, Summaries, Summary, TracePart
from federation_core.signals.traces.search import merge_summaries, summarise
from tests.support.federations import ask
from tests.support.spans import MS, TRACE, SpanStore, parts_of, span

CLUSTERS = ("app-prod", "prod", "stage")
DIRECTIONS = st.sampled_from(["backward", "forward"])


def trace_id(number: int) -> str:
    return f"{number:032x}"


def in_trace(number: int, *spans: Span) -> list[Span]:
    return [Span(**{**_fields(s), "trace_id": trace_id(number)}) for s in spans]


def _fields(s: Span) -> dict[str, object]:
    return {name: getattr(s, name) for name in Span.__slots__}


#: Trace 1 begins in prod and goes on in stage; trace 2 is in prod only; trace 3's root is in no cluster.
PROD = SpanStore.of(
    *in_trace(1, span(1, 0, 0, 100, operation="GET /"), span(2, 1, 10, 90, kind="client")),
    *in_trace(2, span(1, 0, 50, 60, service="cart", status="error")),
)
STAGE = SpanStore.of(
    *in_trace(1, span(3, 2, 20, 120, service="orders", status="error", attributes={"http.route": "/x"})),
    *in_trace(3, span(5, 4, 70, 75, service="orders")),
)
STORES = {"prod": PROD, "stage": STAGE}


def found(result: Result) -> list[int]:
    return [int(trace.trace_id, 16) for trace in result.payload.traces]


def test_a_search_joins_what_clusters_know_of_one_trace() -> None:
    result = ask(STORES, "traces", "{}")
    assert result.status == "complete"
    answer = KIND.to_json(result.payload, Query("traces", "{}", TimeRange(0, 1), "team-a"))["traces"]
    assert answer[2] == {
        "traceId": trace_id(1),
        "rootService": "web",
        "rootOperation": "GET /",
        "rootMissing": None,
        "startTimeUnixNano": "0",
        "durationNano": str(120 * MS),
        "spanCount": 3,
        "matchedSpanCount": 3,
        "clusters": ["prod", "stage"],
        "services": ["orders", "web"],
        "errors": 1,
    }


def test_a_trace_whose_root_nobody_holds_says_so() -> None:
    result = ask(STORES, "traces", "{}")
    answer = KIND.to_json(result.payload, Query("traces", "{}", TimeRange(0, 1), "team-a"))["traces"][0]
    assert (answer["rootService"], answer["rootOperation"]) == (None, None)
    assert "ask for the trace by id" in answer["rootMissing"]


def test_the_newest_match_comes_first_and_forward_the_oldest() -> None:
    assert found(ask(STORES, "traces", "{}")) == [3, 2, 1]
    assert found(ask(STORES, "traces", "{}", direction="forward")) == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ('{ service = "orders" }', [3, 1]),
        ('{ service = "cart" && status = error }', [2]),
        ('{ service = "web" && status = error }', []),
        ("{ duration >= 100ms }", [1]),
        ('{ .http.route = "/x" }', [1]),
        ('{ cluster = "prod" }', [2, 1]),
        ('{ cluster != "prod" && status = error }', [1]),
    ],
)
def test_all_conditions_must_hold_for_one_span(text: str, numbers: list[int]) -> None:
    assert found(ask(STORES, "traces", text)) == numbers


def test_a_span_belongs_to_the_time_range_by_its_start_and_the_end_is_outside() -> None:
    assert found(ask(STORES, "traces", "{}", start_ms=50, end_ms=70)) == [2]
    assert found(ask(STORES, "traces", "{}", start_ms=50, end_ms=71)) == [3, 2]


def test_the_limit_is_global_and_said() -> None:
    result = ask(STORES, "traces", "{}", limit=2)
    assert found(result) == [3, 2]
    assert result.warnings == ("limit 2 reached, older traces exist",)


def test_a_clusters_lower_limit_does_not_pass_for_the_whole() -> None:
    result = ask({"prod": SpanStore(PROD.spans, cap=1)}, "traces", "{}")
    assert found(result) == [2]
    assert result.warnings == ("cluster prod stopped at 1970-01-01T00:00:00.050Z; its older traces are missing",)


def test_a_cluster_the_query_excludes_is_left_out_with_its_reason() -> None:
    result = ask(STORES, "traces", '{ cluster = "prod" }')
    stage = next(row for row in result.coverage.clusters if row.cluster == "stage")
    assert (stage.verdict, stage.reason) == (Verdict.PRUNED, 'the query asks for cluster="prod"')


def test_a_silent_cluster_is_named_and_the_others_answer() -> None:
    result = ask(STORES, "traces", "{}", silent=["stage"])
    assert (result.status, found(result)) == ("partial", [2, 1])


def test_a_trace_is_found_by_its_short_id_outside_the_time_range() -> None:
    result = ask(STORES, "traces", f"{1:016x}", start_ms=10_000, end_ms=20_000)
    assert [s.cluster for s in result.payload.spans] == ["prod", "prod", "stage"]
    assert (result.status, result.warnings) == ("complete", ())


def test_a_trace_nobody_holds_is_not_found() -> None:
    result = ask(STORES, "traces", trace_id(9))
    assert result.status == "failed"
    assert isinstance(result.error, TraceNotFound)


def test_a_trace_that_a_silent_cluster_may_hold_is_undecided() -> None:
    result = ask(STORES, "traces", trace_id(3), silent=["stage"])
    assert (result.status, result.error) == ("partial", None)
    assert any("stage did not answer, so it may exist" in warning for warning in result.warnings)
    answer = KIND.to_json(result.payload, Query("traces", "", TimeRange(0, 1), "team-a"))
    assert (answer["spans"], answer["startTimeUnixNano"], answer["rootService"]) == ([], None, None)


def test_parents_in_a_silent_cluster_are_said() -> None:
    result = ask(STORES, "traces", trace_id(1), silent=["prod"])
    assert any("no cluster that answered: 1; it may be in prod" in warning for warning in result.warnings)


def test_something_else_than_spans_is_the_clusters_fault() -> None:
    class Wrong(SpanStore):
        def fetch(self, leaf: object, scope: object, deadline: object) -> Fetched:
            return Fetched(TracePart(TRACE))

    result = ask({"prod": Wrong(()), "stage": STAGE}, "traces", "{}")
    prod = next(row for row in result.coverage.clusters if row.cluster == "prod")
    assert (prod.verdict, type(prod.error).__name__) == (Verdict.FAILED, "Malformed")


def test_a_trace_as_json_has_the_documented_shape() -> None:
    odd = {"n": 5, "raw": b"\x00", "nan": float("nan")}
    store = SpanStore.of(
        span(1, 0, 0, 10, operation="GET /", namespace="shop", pod="web-1", kind="client"),
        span(
            2,
            9,
            102,
            105,
            status="error",
            status_message="no",
            attributes=odd,
        ),
    )
    result = ask({"prod": store}, "traces", TRACE)
    answer = json.loads(
        json.dumps(KIND.to_json(result.payload, Query("traces", TRACE, TimeRange(0, 1), "t")), allow_nan=False)
    )
    assert {key: value for key, value in answer.items() if key != "spans"} == {
        "traceId": TRACE,
        "rootService": "web",
        "rootOperation": "GET /",
        "rootMissing": None,
        "startTimeUnixNano": "0",
        "durationNano": "105000000",
        "clusters": ["prod"],
        "status": "error",
        "orphans": ["0000000000000002"],
        "criticalPath": [{"spanId": "0000000000000001", "startTimeUnixNano": "0", "durationNano": "10000000"}],
    }
    assert answer["spans"][1] == {
        "spanId": "0000000000000002",
        "parentSpanId": "0000000000000009",
        "cluster": "prod",
        "namespace": "",
        "service": "web",
        "pod": "",
        "operation": "op2",
        "kind": "server",
        "startTimeUnixNano": "102000000",
        "durationNano": "3000000",
        "skewNano": "0",
        "status": "error",
        "statusMessage": "no",
        "attributes": {"n": 5, "raw": "AA==", "nan": "nan"},
        "resourceAttributes": {},
        "events": [],
        "links": [],
    }


def test_the_size_counts_traces_and_spans() -> None:
    assert KIND.size(ask(STORES, "traces", "{}").payload) == (3, 5)
    assert KIND.size(ask(STORES, "traces", trace_id(1)).payload) == (1, 3)
    assert KIND.size(TracePart(TRACE)) == (0, 0)


def stores() -> st.SearchStrategy[dict[str, list[Span]]]:
    """Spans of eight traces over three clusters, with few times, so that ties are the rule."""
    one = st.builds(
        lambda trace, number, start: span(number, 0, start, start + 1, trace_id=trace_id(trace)),
        st.integers(1, 8),
        st.integers(1, 3),
        st.integers(0, 6),
    )
    return st.dictionaries(st.sampled_from(CLUSTERS), st.lists(one, max_size=10), max_size=3)


def sent(held: Mapping[str, list[Span]], limit: int, direction: Direction) -> dict[str, Summaries]:
    everything, always = SpanSearch(), Selector()
    answers = {}
    for cluster, spans in held.items():
        ids = sorted({s.trace_id for s in spans})
        parts = tuple(TracePart(one, tuple(s for s in spans if s.trace_id == one)) for one in ids)
        answers[cluster] = summarise(FoundTraces(parts), everything, always, (0, 10**12), limit, direction)[0]
    return answers


def whole(held: Mapping[str, list[Span]], direction: Direction) -> list[str]:
    """Order all traces by their newest (oldest) span anywhere, then by id."""
    best = max if direction == "backward" else min
    starts: dict[str, list[int]] = {}
    for spans in held.values():
        for s in spans:
            starts.setdefault(s.trace_id, []).append(s.start_ns)
    return sorted(starts, key=lambda one: (best(starts[one]), one), reverse=direction == "backward")


@given(stores(), st.integers(1, 9), DIRECTIONS)
def test_the_first_traces_of_any_split_are_the_first_of_the_whole(
    held: dict[str, list[Span]], limit: int, direction: Direction
) -> None:
    merged, warnings = merge_summaries(sent(held, limit, direction), limit, direction)
    ordered = whole(held, direction)
    assert [summary.trace_id for summary in merged.traces] == ordered[:limit]
    assert merged.more is (len(ordered) > limit)
    assert bool(warnings) is merged.more


@given(stores(), st.integers(1, 9), DIRECTIONS, st.randoms(use_true_random=False))
def test_the_arrival_order_of_summaries_does_not_matter(
    held: dict[str, list[Span]], limit: int, direction: Direction, random: object
) -> None:
    parts = sent(held, limit, direction)
    shuffled = list(parts.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert merge_summaries(dict(shuffled), limit, direction) == merge_summaries(parts, limit, direction)


@given(stores(), DIRECTIONS)
def test_a_span_that_two_clusters_hold_is_counted_once(held: dict[str, list[Span]], direction: Direction) -> None:
    merged, _ = merge_summaries(sent(held, 100, direction), 100, direction)
    for summary in merged.traces:
        assert len(summary.spans) == len(
            {s.key for spans in held.values() for s in spans if s.trace_id == summary.trace_id}
        )


def test_the_earliest_root_is_shown_where_clusters_disagree() -> None:
    parts = parts_of([("prod", span(1, 0, 5)), ("stage", span(2, 0, 3, service="cart"))])
    held = {cluster: list(part.spans) for cluster, part in parts.items()}
    merged, _ = merge_summaries(sent(held, 5, "backward"), 5, "backward")
    only: Summary = merged.traces[0]
    assert only.root is not None
    assert only.root.service == "cart"


def test_a_cluster_that_sent_nothing_although_it_has_traces_is_named() -> None:
    _, warnings = merge_summaries({"prod": Summaries((), more=True)}, 3, "backward")
    assert warnings == ("cluster prod sent none of its traces",)

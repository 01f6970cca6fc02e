"""What Jaeger is asked finds every span that our search matches: what no store is sure to find is not sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation_core.connectors.backends.jaeger_query import JaegerQuery, to_query
from federation_core.labels import Matcher, MatchOp, Selector
from federation_core.signals.traces.expr import CompareOp, Comparison, SpanSearch
from federation_core.signals.traces.language import parse, span_matches
from federation_core.signals.traces.payload import Span, SpanStatus


def asked(text: str) -> JaegerQuery:
    search = parse(text)
    assert isinstance(search, SpanSearch)
    return to_query(search)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("{ }", JaegerQuery()),
        ('{ name = "GET /" }', JaegerQuery("GET /")),
        ('{ span.http.method = "GET" }', JaegerQuery(tags={"http.method": "GET"})),
        ('{ span.code = "500" }', JaegerQuery(tags={"code": "500"})),
        ("{ status = error }", JaegerQuery(tags={"error": "true"})),
        # Bounds are a microsecond wider: VictoriaTraces and Cassandra leave out what is just as long.
        ("{ duration >= 200ms }", JaegerQuery(min_us=199_999)),
        ("{ duration > 2500ns && duration <= 2ms }", JaegerQuery(min_us=1, max_us=2_001)),
        ("{ duration = 5us }", JaegerQuery(min_us=4, max_us=6)),
        ('{ name = "GET /" && duration >= 200ms }', JaegerQuery("GET /", min_us=199_999)),
    ],
)
def test_what_every_store_finds_is_sent(ours: str, theirs: JaegerQuery) -> None:
    assert asked(ours) == theirs


@pytest.mark.parametrize(
    "condition",
    [
        'name != "x"',
        'name =~ "x"',
        'span.x != "a"',
        'span.x =~ "a"',
        'span.x = "7.5"',
        'span.x = "007"',
        'span.x = "é"',
        'span.x = "[1]"',
        'span.x = "/cart?id=5"',
        'span.x = "a|b"',
        'span.x = "a*"',
        'span.x = "(a)"',
        'span.x = "x@y"',
        'span.x = "~a"',
        'span.x = "a&b"',
        'span.x = "a#"',
        'span.x = "<1-5>"',
        'span.x = "a\\\\b"',
        'span.resource.x = "a"',
        'span.span.status = "ERROR"',
        'span.x = ""',
        f'span.x = "{"a" * 251}"',
        "span.x = 5",
        "span.x = true",
        'span.error = "x"',
        'resource.x = "a"',
        '.x = "a"',
        'pod = "a"',
        "status != error",
        "status = ok",
        "kind = server",
        "duration != 5ms",
    ],
)
def test_what_is_not_sure_is_left_to_the_judge(condition: str) -> None:
    assert asked(f"{{ {condition} }}") == JaegerQuery()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ('{ span.x = "a" && duration > 1s }', JaegerQuery(tags={"x": "a"})),
        ('{ span.x = "a" && name = "GET /" }', JaegerQuery(tags={"x": "a"})),
        ('{ span.method = "GET" && span.user = "ann-0a1b2c" }', JaegerQuery(tags={"user": "ann-0a1b2c"})),
        ('{ span.method = "GET" && status = error }', JaegerQuery(tags={"error": "true"})),
        ('{ span.user = "u-0a1b2c3d4e" && status = error }', JaegerQuery(tags={"user": "u-0a1b2c3d4e"})),
    ],
)
def test_one_condition_is_sent_because_cassandra_finds_each_apart_as_far_as_the_limit_goes(
    ours: str, theirs: JaegerQuery
) -> None:
    assert asked(ours) == theirs


def test_a_store_without_the_tag_error_is_asked_otherwise() -> None:
    search = parse('{ status = error && name = "GET /" && duration > 1s }')
    assert isinstance(search, SpanSearch)
    assert to_query(search, by_error=False) == JaegerQuery("GET /", min_us=999_999)


def test_what_is_longer_and_shorter_is_not_refused() -> None:
    assert asked("{ duration > 2s && duration < 1s }").max_us is None


def test_no_duration_is_longer_than_go_reads() -> None:
    assert asked("{ duration <= 9223372036854775807ns }") == JaegerQuery()


def found_by(query: JaegerQuery, span: Span) -> bool:
    """Answer as a store of nanoseconds and texts of tags, in Go's spelling, whose bounds are exclusive."""

    def text(value: Any) -> str:
        return (
            {True: "true", False: "false"}.get(value, "")
            if isinstance(value, bool)
            else f"{value:.10g}"
            if isinstance(value, float)
            else str(value)
        )

    tags = {name: text(value) for name, value in span.attributes.items()}
    tags["error"] = "true" if span.status is SpanStatus.ERROR else "false"
    return (
        query.operation in ("", span.operation)
        and all(tags.get(name) == value for name, value in query.tags.items())
        and (query.min_us is None or span.duration_ns > query.min_us * 1000)
        and (query.max_us is None or span.duration_ns < query.max_us * 1000)
    )


VALUES = ["a", "500", "7.5", "true", "0", "-1", "1e3", "nan", "", "inf"]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([*VALUES, 500, 500.0, 7.5, True, False, 0, -1, 1e3, 1e20]),
    st.integers(0, 10_000),
    st.sampled_from(SpanStatus),
    st.lists(
        st.builds(
            Matcher,
            st.sampled_from(["span.x", "name"]),
            st.sampled_from([MatchOp.EQ, MatchOp.NE]),
            st.sampled_from(VALUES),
        ),
        max_size=2,
    ),
    st.lists(
        st.builds(Comparison, st.just("duration"), st.sampled_from(CompareOp), st.integers(0, 10_000))
        | st.builds(Comparison, st.just("status"), st.just(CompareOp.EQ), st.sampled_from(SpanStatus)),
        max_size=2,
    ),
)
def test_whatever_our_search_matches_jaeger_finds(
    value: Any, duration_ns: int, status: SpanStatus, matchers: list[Matcher], comparisons: list[Comparison]
) -> None:
    search = SpanSearch(Selector(tuple(matchers)), tuple(comparisons))
    held = Span("1" * 32, "2" * 16, "", "a", "web", 0, duration_ns, status=status, attributes={"x": value})
    # What we see of it has lost what is below a microsecond.
    seen = Span(
        "1" * 32, "2" * 16, "", "a", "web", 0, duration_ns // 1000 * 1000, status=status, attributes={"x": value}
    )
    if span_matches(search, seen):
        assert found_by(to_query(search), held)

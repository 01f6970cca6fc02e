"""What Tempo is asked finds every span that our search matches, although it compares types and we compare values."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation_core.connectors.backends.tempo_query import to_traceql
from federation_core.labels import Matcher, MatchOp, Selector
from federation_core.signals.traces.expr import CompareOp, Comparison, SpanSearch
from federation_core.signals.traces.language import parse, span_matches
from federation_core.signals.traces.payload import Span, SpanKind, SpanStatus
from tests.support.traceql_typed import finds

TEXTS = ("500", "0500", "500.0", "+500", "5e2", "-3", "0", "7.5", "true", "false", "GET", "", "nan", "a\nb", "é")
NUMBERS = (500, 500.0, -3, 0, -0.0, 7.5, 7, 8, 2**62, 1e300, 499.9999999999999)


def printed(text: str) -> str:
    search = parse(text)
    assert isinstance(search, SpanSearch)
    return to_traceql(search)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("{ }", "{}"),
        ('{ service = "web" }', '{ resource.service.name = "web" }'),
        ("{ duration > 200ms && status = error }", "{ duration > 200ms && status = error }"),
        ("{ kind != server }", "{ kind != server }"),
        ('{ name = "500" }', '{ name = "500" }'),
        ('{ span.http.method = "GET" }', '{ span.http.method = "GET" }'),
        ('{ span.code = "500" }', '{ (span.code = "500" || span.code = 500) }'),
        ('{ .code = "x" }', '{ (resource.code = "x" || span.code = "x") }'),
        ('{ span."a b" = "x" }', '{ span."a b" = "x" }'),
        ('{ span.a =~ "/api/.*" }', '{ span.a =~ "^(?s:/api/.*)$" }'),
        ('{ span.a =~ "GET|PUT" }', '{ span.a =~ "^(?s:GET|PUT)$" }'),
        ('{ span.a =~ "5|x" }', '{ (span.a =~ "^(?s:5|x)$" || span.a = 5) }'),
        ('{ service =~ ".*web" }', '{ resource.service.name =~ "^(?s:.*web)$" }'),
        ('{ namespace = "shop" }', '{ (resource.k8s.namespace.name = "shop" || resource.service.namespace = "shop") }'),
    ],
)
def test_what_is_sure_is_asked_as_it_is(ours: str, theirs: str) -> None:
    assert printed(ours) == theirs


@pytest.mark.parametrize("pattern", [r"\\Qa.b", r"\\Qa.b\\E", r"a\\Cb"])
def test_patterns_that_tempo_would_read_otherwise_are_left_to_the_judge(pattern: str) -> None:
    assert printed(f'{{ span.a =~ "{pattern}" && name = "x" }}') == '{ name = "x" }'


def test_what_no_url_holds_is_left_to_the_judge() -> None:
    many = "|".join(f"namespace-{number}" for number in range(600))
    said = printed(f'{{ name = "x" && namespace =~ "{many}" && status = error }}')
    assert said == '{ name = "x" && status = error }'
    assert len(quote_plus(printed(f'{{ name =~ "{many[:3000]}" && span.a =~ "{many[:3000]}" }}'))) < 7_000


def test_a_service_that_may_be_without_a_name_is_left_to_the_judge() -> None:
    assert printed('{ service != "web" && name = "x" }') == '{ name = "x" }'


@pytest.mark.parametrize("held", [500, 500.0, "500", "0500", "+500", "500.", "500.00", "5e2", ".5E3"])
def test_an_integer_is_found_however_it_is_kept(held: object) -> None:
    search = parse("{ span.code = 500 }")
    assert isinstance(search, SpanSearch)
    span = Span("1" * 32, "2" * 16, "", "op", "web", 0, 1, attributes={"code": held})
    assert span_matches(search, span)
    assert finds(to_traceql(search), span)


@pytest.mark.parametrize(
    "pattern", ["5|x", "5.*", "G*5.*", "G?5.0", "G{0}5.*", "G.*|5.*", "[0-9]+", "GET|500", "(x|5)0*"]
)
def test_a_pattern_finds_numbers_that_read_so(pattern: str) -> None:
    search = parse(f'{{ span.a =~ "{pattern}" }}')
    assert isinstance(search, SpanSearch)
    span = Span("1" * 32, "2" * 16, "", "op", "web", 0, 1, attributes={"a": 5 if pattern == "5|x" else 500})
    assert span_matches(search, span)
    assert finds(to_traceql(search), span)


def test_the_label_cluster_is_never_sent() -> None:
    assert to_traceql(SpanSearch(Selector((Matcher("cluster", MatchOp.EQ, "prod"),)))) == "{}"


def test_patterns_carry_their_anchors_and_the_dot_takes_newlines() -> None:
    assert printed('{ name =~ "GET|PUT" }') == '{ name =~ "^(?s:GET|PUT)$" }'


values: st.SearchStrategy[Any] = st.sampled_from([*TEXTS, *NUMBERS, True, False]) | st.integers(-(2**63), 2**63 - 1)
attributes = st.dictionaries(st.sampled_from(["a", "b c", "name"]), values, max_size=3)
# The columns are texts by OpenTelemetry's conventions.
columns_of_processes = st.dictionaries(
    st.sampled_from(["service.name", "k8s.namespace.name", "service.namespace", "k8s.pod.name"]),
    st.sampled_from(TEXTS),
    max_size=4,
)
processes = st.builds(lambda held, a: held | a, columns_of_processes, st.dictionaries(st.just("a"), values))


@st.composite
def spans(draw: st.DrawFn) -> Span:
    resource = draw(processes)

    def text(name: str) -> str:
        return str(resource.get(name, ""))

    return Span(
        "1" * 32,
        "2" * 16,
        "",
        draw(st.sampled_from(TEXTS)),
        text("service.name") or "unknown_service",
        0,
        draw(st.sampled_from([0, 10**6, 2 * 10**8])),
        kind=draw(st.sampled_from(SpanKind)),
        namespace=text("k8s.namespace.name") or text("service.namespace"),
        pod=text("k8s.pod.name"),
        status=draw(st.sampled_from(SpanStatus)),
        attributes=draw(attributes),
        resource=resource,
    )


fields = st.sampled_from(["a", "span.a", "resource.a", "span.b c", ".name", "span.name"])
columns = st.sampled_from(["service", "namespace", "pod", "name", "statusMessage"])
patterns = st.sampled_from(
    ["5.*", ".*", "", "true|x", "G.T", "a.b", "[0-9.]+", "500|GET", "7|-3|0", "G*5.*", "G.*|5.*"]
)


@st.composite
def matchers(draw: st.DrawFn) -> Matcher:
    op = draw(st.sampled_from(MatchOp))
    value = draw(patterns if op in (MatchOp.RE, MatchOp.NRE) else st.sampled_from(TEXTS))
    return Matcher(draw(fields | columns), op, value)


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    equality = st.sampled_from([CompareOp.EQ, CompareOp.NE])
    match draw(st.integers(0, 4)):
        case 0:
            return Comparison("duration", draw(st.sampled_from(CompareOp)), draw(st.sampled_from([0, 10**6, 10**8])))
        case 1:
            return Comparison("status", draw(equality), draw(st.sampled_from(SpanStatus)))
        case 2:
            return Comparison(draw(fields), draw(equality), draw(st.booleans()))
        case _:
            number = draw(st.sampled_from(NUMBERS) | st.integers(-(2**70), 2**70) | st.floats(-1e6, 1e6))
            return Comparison(draw(fields), draw(st.sampled_from(CompareOp)), number)


@settings(max_examples=100, deadline=None)
@given(spans(), st.lists(matchers(), max_size=2), st.lists(comparisons(), max_size=2))
def test_whatever_our_search_matches_tempo_finds(
    span: Span, matching: list[Matcher], comparing: list[Comparison]
) -> None:
    search = SpanSearch(Selector(tuple(matching)), tuple(comparing))
    if span_matches(search, span):
        assert finds(to_traceql(search), span), to_traceql(search)


@settings(max_examples=600, deadline=None)
@given(spans(), matchers() | comparisons())
def test_one_condition_on_texts_and_numbers_finds_what_it_means(span: Span, condition: Matcher | Comparison) -> None:
    search = SpanSearch(*((Selector((condition,)),) if isinstance(condition, Matcher) else (Selector(), (condition,))))
    if span_matches(search, span):
        assert finds(to_traceql(search), span), to_traceql(search)

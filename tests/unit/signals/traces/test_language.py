"""Reading trace queries: ids, the TraceQL subset, what is refused and where, and what conditions mean."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import InvalidRequest, QuerySyntaxError, QueryTooLarge, UnsupportedQuery
from federation_core.labels import Matcher, MatchOp, Selector
from federation_core.scanner import MAX_QUERY_CHARS
from federation_core.signals.traces.expr import (
    COLUMNS,
    CompareOp,
    Comparison,
    Expr,
    SpanSearch,
    TraceById,
    unscoped_label,
)
from federation_core.signals.traces.language import (
    build,
    map_selectors,
    parse,
    parse_duration_ns,
    print_expr,
    reads_attributes,
    span_matches,
)
from federation_core.signals.traces.payload import Span, SpanKind, SpanStatus
from tests.support.spans import span

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ATTRIBUTES = st.sampled_from(
    ["http.route", "k8s.pod-name", "a b", "name", "service", "span.x", ".x", 'q"', "日本", "x"]
)
EQUAL_OPS = st.sampled_from([CompareOp.EQ, CompareOp.NE])


def labels() -> st.SearchStrategy[str]:
    scoped = st.builds(lambda scope, name: f"{scope}{name}", st.sampled_from(["span.", "resource."]), ATTRIBUTES)
    return st.sampled_from(sorted(COLUMNS)) | scoped | ATTRIBUTES.map(unscoped_label)


def matchers() -> st.SearchStrategy[Matcher]:
    exact = st.builds(Matcher, labels(), st.sampled_from([MatchOp.EQ, MatchOp.NE]), TEXTS)
    patterns = st.sampled_from(["a|b", ".*", r"\d+", ""])
    return exact | st.builds(Matcher, labels(), st.sampled_from([MatchOp.RE, MatchOp.NRE]), patterns)


def comparisons() -> st.SearchStrategy[Comparison]:
    attributes = ATTRIBUTES.map(unscoped_label)
    numbers = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    return (
        st.builds(Comparison, st.just("duration"), st.sampled_from(CompareOp), st.integers(0, 2**62))
        | st.builds(Comparison, st.just("status"), EQUAL_OPS, st.sampled_from(SpanStatus))
        | st.builds(Comparison, st.just("kind"), EQUAL_OPS, st.sampled_from(SpanKind))
        | st.builds(Comparison, attributes, st.sampled_from(CompareOp), numbers)
        | st.builds(Comparison, attributes, EQUAL_OPS, st.booleans())
    )


def searches() -> st.SearchStrategy[SpanSearch]:
    selectors = st.lists(matchers(), max_size=3).map(lambda found: Selector(tuple(found)))
    return st.builds(SpanSearch, selectors, st.lists(comparisons(), max_size=3).map(tuple))


def exprs() -> st.SearchStrategy[Expr]:
    ids = st.text("0123456789abcdef", min_size=32, max_size=32).filter(lambda text: text.strip("0"))
    return searches() | ids.map(TraceById)


@given(exprs())
def test_what_is_printed_reads_back_to_the_same_query(expr: Expr) -> None:
    assert parse(print_expr(expr)) == expr


@pytest.mark.parametrize(
    ("text", "trace_id"),
    [
        ("4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4736"),
        (" 4BF92F3577B34DA6A3CE929D0E0E4736\n", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("48e020959843ffb3", "000000000000000048e020959843ffb3"),
        ("0" * 31 + "1", "0" * 31 + "1"),
    ],
)
def test_a_trace_id_is_lower_case_and_of_full_length(text: str, trace_id: str) -> None:
    assert parse(text) == TraceById(trace_id)


def test_columns_have_their_short_and_their_traceql_names() -> None:
    for label, spelling in COLUMNS.items():
        assert parse(f'{{ {spelling} = "x" }}') == parse(f'{{ {label} = "x" }}')


def test_every_kind_of_condition_is_read() -> None:
    expr = parse(
        '{ service = "a" && name =~ "b.*" && span.http.route != "c" && .d = `e` && resource."f g" !~ "h"'
        " && duration >= 1.5s && status != ok && kind = server && span.n > 5 && .ratio <= -0.5 && .flag = true }"
    )
    assert isinstance(expr, SpanSearch)
    assert [m.label for m in expr.selector.matchers] == ["service", "name", "span.http.route", "d", "resource.f g"]
    assert expr.comparisons == (
        Comparison("duration", CompareOp.GE, 1_500_000_000),
        Comparison("status", CompareOp.NE, SpanStatus.OK),
        Comparison("kind", CompareOp.EQ, SpanKind.SERVER),
        Comparison("span.n", CompareOp.GT, 5),
        Comparison("ratio", CompareOp.LE, -0.5),
        Comparison("flag", CompareOp.EQ, True),
    )


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 1, "expected a trace id or conditions"),
        ("abc", 1, "16 or 32 hexadecimal digits, this has 3"),
        ("a" * 31, 1, "this has 31"),
        ("0" * 32, 1, "not all zeros"),
        ("xyz", 1, "expected a trace id or conditions"),
        ("{ service }", 11, "expected a comparison after service"),
        ("{ service = }", 13, "in quotes"),
        ("{ service = orders }", 13, "in quotes"),
        ('{ service = "a" name = "b" }', 17, "expected && or }"),
        ('{ service = "a" && }', 20, "expected a field"),
        ('{ service = "a"', 16, "expected && or }"),
        ('{ service > "a" }', 13, "has only = != =~ !~"),
        ('{ foo = "a" }', 3, "there is no field 'foo'"),
        ("{ duration > 5 }", 14, "expected a duration"),
        ("{ duration =~ 5s }", 15, "no comparison =~"),
        ("{ status = broken }", 12, "status is one of unset, ok, error"),
        ("{ status > error }", 12, "only = and !="),
        ("{ kind = x }", 10, "kind is one of"),
        ("{ . = 5 }", 4, "attribute's name"),
        ("{ .x =~ 5 }", 9, "no comparison"),
        ("{ .x > true }", 8, "no comparison"),
        ("{ .x > 1e999 }", 8, "too large"),
        ("{ .x > " + "9" * 5000 + " }", 8, "too large"),
        ("{ duration > " + "9" * 5000 + "s }", 14, "at most 292 years"),
        ("{ duration > 2562048h }", 14, "at most 292 years"),
        ('{ name =~ "(" }', 11, "bad regular expression"),
        ('{ name = "a" } x', 16, "nothing may follow"),
    ],
)
def test_a_mistake_is_named_with_its_column(text: str, column: int, words: str) -> None:
    with pytest.raises(QuerySyntaxError) as caught:
        parse(text)
    assert words in caught.value.message
    assert (caught.value.line, caught.value.column) == (1, column)


@pytest.mark.parametrize(
    ("text", "construct"),
    [
        ('{ name = "a" || name = "b" }', "||"),
        ('{ (name = "a") }', "parentheses"),
        ('({ name = "a" })', "parentheses"),
        ('{ !(name = "a") }', "negation"),
        ("{ .a + 1 = 2 }", "arithmetic"),
        ("{ .a = 1 + 1 }", "arithmetic"),
        ("{ .a = nil }", "nil"),
        ("{ .a != nil }", "nil"),
        ('{ name = "a" } && { name = "b" }', "spanset operator &&"),
        ('{ name = "a" } || { name = "b" }', "spanset operator ||"),
        ('{ name = "a" } >> { name = "b" }', "structural operator"),
        ('{ name = "a" } > { name = "b" }', "structural operator"),
        ('{ name = "a" } << { name = "b" }', "structural operator"),
        ('{ name = "a" } ~ { name = "b" }', "structural operator"),
        ('{ name = "a" } !>> { name = "b" }', "structural operator"),
        ('{ name = "a" } &>> { name = "b" }', "structural operator"),
        ('{ name = "a" } | count() > 2', "pipeline"),
        ('{ name = "a" } | select(.x)', "pipeline"),
        ('{ name = "a" } with (most_recent=true)', "query hint"),
        ("{ traceDuration > 1s }", "traceDuration"),
        ("{ trace:duration > 1s }", "trace:duration"),
        ('{ span:name = "a" }', "span:name"),
        ('{ rootServiceName = "a" }', "rootServiceName"),
        ('{ event.name = "a" }', "event"),
        ('{ event:name = "a" }', "event:name"),
        ('{ link.x = "a" }', "link"),
        ('{ parent.x = "a" }', "parent"),
        ('{ instrumentation:name = "a" }', "instrumentation:name"),
        ("{ true }", "true"),
    ],
)
def test_what_traceql_has_and_we_do_not_is_refused_by_name(text: str, construct: str) -> None:
    with pytest.raises(UnsupportedQuery) as caught:
        parse(text)
    assert caught.value.construct == construct


def test_a_text_beyond_all_measure_is_refused() -> None:
    with pytest.raises(QueryTooLarge):
        parse('{ name = "' + "b" * MAX_QUERY_CHARS + '" }')


def test_map_selectors_reaches_the_conditions_and_leaves_ids_alone() -> None:
    added = Matcher("namespace", MatchOp.EQ, "mine")
    expr = map_selectors(parse('{ name = "a" && duration > 1s }'), lambda selector: selector.constrain([added]))
    assert print_expr(expr) == '{ name = "a" && resource.k8s.namespace.name = "mine" && duration > 1s }'
    by_id = parse("a" * 32)
    assert map_selectors(by_id, lambda selector: selector.constrain([added])) is by_id


def test_map_selectors_refuses_a_node_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="Selector"):
        map_selectors(Selector(), lambda selector: selector)


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [("1ns", 1), ("2us", 2000), ("2µs", 2000), ("1.5ms", 1_500_000), ("1m30s", 90_000_000_000), ("0.1s", 100_000_000)],
)
def test_durations_are_exact(text: str, duration_ns: int) -> None:
    assert parse_duration_ns(text) == duration_ns


@pytest.mark.parametrize("text", ["", "5", "5 s", "-1s", "1sec", "s"])
def test_a_wrong_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_duration_ns(text, "minDuration")
    assert caught.value.field == "minDuration"


CALL = span(
    1,
    start_ms=0,
    end_ms=100,
    service="orders",
    namespace="shop",
    pod="orders-1",
    operation="POST /cart",
    kind="server",
    status="error",
    status_message="boom",
    attributes={
        "http.status_code": 500,
        "text_code": "404",
        "flag": True,
        "ratio": 0.5,
        "list": ["a"],
        "team": "forged",
    },
    resource={"team": "blue", "host.name": "node-1"},
)


@pytest.mark.parametrize(
    "condition",
    [
        'service = "orders"',
        'namespace =~ "sh.p"',
        'pod != "other"',
        'name = "POST /cart"',
        'statusMessage = "boom"',
        "duration = 100ms",
        "duration >= 100ms",
        "duration < 101ms",
        "status = error",
        "status != ok",
        "kind = server",
        "span.http.status_code = 500",
        'span.http.status_code = "500"',
        "span.http.status_code > 499.5",
        "span.text_code = 404",
        "span.flag = true",
        'span.flag = "true"',
        ".ratio <= 0.5",
        'resource.host.name = "node-1"',
        '.team = "blue"',
        'span.team = "forged"',
    ],
)
def test_a_condition_holds(condition: str) -> None:
    expr = parse(f"{{ {condition} }}")
    assert isinstance(expr, SpanSearch)
    assert span_matches(expr, CALL)


@pytest.mark.parametrize(
    "condition",
    [
        'service = "order"',
        'service =~ "order"',
        'pod !~ "orders.*"',
        "duration > 100ms",
        "duration != 100ms",
        "status = ok",
        "kind != server",
        "span.http.status_code != 500",
        "resource.http.status_code = 500",
        "span.flag = false",
        'span.list = "a"',
        "span.flag = 1",
        '.team = "forged"',
        'span.absent != "x"',
        'span.absent =~ ".*"',
        'span.absent = ""',
        "span.absent != 5",
        "span.absent != true",
        "span.list > 0",
    ],
)
def test_a_condition_does_not_hold(condition: str) -> None:
    expr = parse(f"{{ {condition} }}")
    assert isinstance(expr, SpanSearch)
    assert not span_matches(expr, CALL)


def test_a_span_without_a_column_satisfies_no_condition_on_it() -> None:
    homeless: Span = replace(CALL, namespace="")
    for condition in ('namespace != "other"', 'namespace = ""', 'namespace =~ ".*"'):
        expr = parse(f"{{ {condition} }}")
        assert isinstance(expr, SpanSearch)
        assert not span_matches(expr, homeless)


def test_no_conditions_match_every_span() -> None:
    expr = parse("{}")
    assert isinstance(expr, SpanSearch)
    assert span_matches(expr, CALL)


@pytest.mark.parametrize(
    ("text", "reads"),
    [('{ service = "a" && duration > 1s && status = ok }', False), ("{ .x = 5 }", True), ('{ span.x = "a" }', True)],
)
def test_a_store_learns_whether_attributes_are_needed(text: str, reads: bool) -> None:
    expr = parse(text)
    assert isinstance(expr, SpanSearch)
    assert reads_attributes(expr) is reads


def test_a_structured_search_becomes_a_query() -> None:
    text = build(
        service="orders",
        operation="POST /cart",
        namespace="shop",
        min_duration_ns=1_000_000,
        max_duration_ns=2_000_000,
        error=True,
        tags={"http.status_code": "500", "span.x": "y", "pod": "orders-1", "name": "z"},
    )
    expr = parse(text)
    assert isinstance(expr, SpanSearch)
    assert [(m.label, m.value) for m in expr.selector.matchers] == [
        ("service", "orders"),
        ("namespace", "shop"),
        ("name", "POST /cart"),
        ("http.status_code", "500"),
        ("name", "z"),
        ("pod", "orders-1"),
        ("span.x", "y"),
    ]
    assert [str(c) for c in expr.comparisons] == ["duration >= 1ms", "duration <= 2ms", "status = error"]


def test_a_structured_search_for_nothing_finds_everything() -> None:
    assert build() == "{ }"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"min_duration_ns": -1}, "minDuration"),
        ({"min_duration_ns": 2, "max_duration_ns": 1}, "maxDuration"),
        ({"status": "broken"}, "status"),
        ({"status": "ok", "error": True}, "status"),
        ({"tags": {"": "x"}}, "tags"),
        ({"tags": {"span.": "x"}}, "tags"),
    ],
)
def test_a_wrong_part_of_a_structured_search_is_named(arguments: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        build(**arguments)  # type: ignore[arg-type]
    assert caught.value.field == field

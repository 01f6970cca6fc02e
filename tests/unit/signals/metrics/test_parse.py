"""What is read, what is refused and how, and that whatever is printed reads back to the same tree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation_core.errors import QuerySyntaxError, QueryTooLarge, UnsupportedQuery
from federation_core.labels import Matcher, MatchOp, Selector
from federation_core.signals.metrics.expr import (
    PRECEDENCE,
    SET_OPERATORS,
    Aggregate,
    Binary,
    Call,
    Expr,
    Grouping,
    Matching,
    MatrixSelector,
    NumberLiteral,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
    map_selectors,
    selectors,
)
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.printer import to_text


def named(name: str, *matchers: Matcher) -> Selector:
    return Selector((Matcher("__name__", MatchOp.EQ, name), *matchers))


def test_every_construct_becomes_its_node() -> None:
    assert parse('sum by (a) (rate(x{b!~"c|d"}[5m] offset 1h)) / on (a) -y > bool 2') == Binary(
        ">",
        Binary(
            "/",
            Aggregate(
                "sum",
                Call("rate", (MatrixSelector(named("x", Matcher("b", MatchOp.NRE, "c|d")), 300_000, 3_600_000),)),
                Grouping(("a",)),
            ),
            Unary(VectorSelector(named("y"))),
            Matching(("a",), on=True),
        ),
        NumberLiteral(2.0),
        returns_bool=True,
    )


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("1_000 + 5m", "1000 + 300"),
        (r"x{a=`b\d`}", r'x{a="b\\d"}'),
        ("x{a='q\"'}", r'x{a="q\""}'),
        ("SUM(x) BY (a)", "sum by (a) (x)"),
        ("-1 ^ 2", "-(1 ^ 2)"),
        ("(2 ^ 3) ^ 4", "(2 ^ 3) ^ 4"),
        ("2 ^ 3 ^ 4", "2 ^ 3 ^ 4"),
        ("a - (b - c)", "a - (b - c)"),
        ("(a - b) - c", "a - b - c"),
        ("(a + b) * c", "(a + b) * c"),
        ("- - x", "-(-x)"),
        ("# a comment\nx # another", "x"),
        ('{"http.requests",a="b"}', '{__name__="http.requests",a="b"}'),
        ('{__name__="a",__name__!="b"}', '{__name__="a",__name__!="b"}'),
        ('sum by ("a.b") (x)', 'sum by ("a.b") (x)'),
        ("x offset -90s", "x offset -1m30s"),
        ("x[1500ms]", "x[1s500ms]"),
        ("+Inf + NaN + 1e21", "Inf + NaN + 1e+21"),
        ("x offset 0s", "x"),
        ("x offset -0s", "x"),
        ("x offset 0s offset 5m", "x offset 5m"),
        ("x offset +5m", "x offset 5m"),
        ("offset + 0 + x", "offset + 0 + x"),
        ("offset - 0", "offset - 0"),
        ("offset offset 5m", "offset offset 5m"),
        ("x{offset='a'} offset-5m @3", 'x{offset="a"} @ 3.000 offset -5m'),
        ("x @ 1e+5", "x @ 100000.000"),
        ("x @ 1.5E-3", "x @ 0.002"),
        ("x @ 010", "x @ 8.000"),
        ("x @ 5m", "x @ 300.000"),
        ("x @ -5 - 5", "x @ -5.000 - 5"),
        ("010 + 09 + 08.5 + 0x1e+5 + 1.5E-3", "8 + 9 + 8.5 + 30 + 5 + 0.0015"),
        ("rate(x[010]) + rate(x[1e+1])", "rate(x[8s]) + rate(x[10s])"),
        ("rate(x[+5m])", "rate(x[5m])"),
        ("x[1.0014]", "x[1s1ms]"),
        ("1 +-+- 5 + +x", "1 + 5 + x"),
        ("--5 ^ 2 - +y", "(-(-(5 ^ 2))) - y"),
        ("topk(-1, -x) - -3", "topk(-1, -x) - (-3)"),
        ("x * on (a) group_left -y", "x * on (a) group_left () (-y)"),
        ("timestamp(+x)", "timestamp(-(-x))"),
        ("timestamp(+(x)) + timestamp(x) + timestamp(+abs(x))", "timestamp(-(-x)) + timestamp(x) + timestamp(abs(x))"),
        ("absent(+x)", "absent(group(x))"),
        ("x + fill (010) -y", "x + fill_left (8) fill_right (8) (-y)"),
        ("x + fill (0) fill", "x + fill_left (0) fill_right (0) fill"),
        ("x and and", 'x and {__name__="and"}'),
        ('{or = "a"}', '{or="a"}'),
        (r'x{a="\u00e9\U0001f916\101"}', 'x{a="é🤖A"}'),
        ("rate(x[5m] offset - 0m)", "rate(x[5m])"),
        ("x @ 12.3456", "x @ 12.346"),
        ("x @ -1.5 offset 5m", "x @ -1.500 offset 5m"),
        ("x offset 5m @ 0x10", "x @ 16.000 offset 5m"),
        ("sum_over_time(x[5m] @ end())", "sum_over_time(x[5m] @ end())"),
        ("max_over_time((x)[1h:])", "max_over_time(x[1h:])"),
        ("max_over_time((x offset 1m)[1h:1m] @ start() offset -2m)",) * 2,
        ("max_over_time((-x)[1h:])", "max_over_time((-x)[1h:])"),
        ("a and on (b) c or d unless e", "a and on (b) c or d unless e"),
        ("(a or b) and c", "(a or b) and c"),
        ("a > b or c", "a > b or c"),
        ("a atan2 b * c", "a atan2 b * c"),
        ("a * on (b) group_left (c, d) e", "a * on (b) group_left (c, d) e"),
        ("a / ignoring (b) group_right e", "a / ignoring (b) group_right () e"),
        ("a * ignoring () group_left () e", "a * ignoring () group_left () e"),
        ("a + fill (0) b", "a + fill_left (0) fill_right (0) b"),
        ("a + on (b) fill_right (-2) c", "a + on (b) fill_right (-2) c"),
        ('label_replace(x, "a", "$1", \'b\', `\\d`)', 'label_replace(x, "a", "$1", "b", "\\\\d")'),
        ('"text"', '"text"'),
        (r'x{a="\xc3\xa9\\\x41\351"}'.replace(r"\351", r"\303\251"), 'x{a="é\\\\Aé"}'),
        (r'x{a="\\xff"}', r'x{a="\\xff"}'),
    ],
)
def test_text_is_printed_in_one_spelling(text: str, printed: str) -> None:
    assert to_text(parse(text)) == printed
    assert to_text(parse(printed)) == printed


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("sum(x", 1, 4),
        ("sum(x))", 1, 7),
        ("a +\n  (b]", 2, 5),
        ('x{a="b}', 1, 5),
        ("x +", 1, 4),
        ("\n x *  ", 2, 5),
        ("", 1, 1),
        ('x{a="\ud800"}', 1, 6),
        ("x @ 1e300", 1, 5),
        (r'x{a="\xe9"}', 1, 5),
        ("x +\n nosuch(y)", 2, 2),
        ("x[5m:0]", 1, 6),
        ("rate(sum(x)[5m:0.0001])", 1, 16),
        ("x[-5m]", 1, 3),
        ("x[5m:-1m]", 1, 6),
        ("x offset 1e30", 1, 10),
        ("1 + 1e400", 1, 5),
        ("1__0", 1, 1),
        ("0x8000000000000000", 1, 1),
        (r'x{a="\400"}', 1, 5),
        (r'x{a="\ud800"}', 1, 5),
        (r"""x{a='\"'}""", 1, 5),
        ('x{a=~"("}', 1, 6),
        ("x and", 1, 6),
    ],
)
def test_syntax_errors_say_where(text: str, line: int, column: int) -> None:
    with pytest.raises(QuerySyntaxError) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        'x{a=""} y',
        "rate(x)",
        "sum(x[5m])",
        "1 > 2",
        "topk(3)",
        'x{__name__="y"}',
        'x{a=~"("}',
        "nosuch(x)",
        "x[0]",
        "rate(x[0.0001])",
        "a and fill (0) b",
        "a + on (b) group_left (b) c",
        "x @ NaN",
        "sum_over_time(x[5m:0s])",
        "+x[5m]",
        "rate(+x[5m])",
        '+"a"',
        "x @ --1",
        "x offset --1m",
        "x offset 5m offset 0s",
        "(x) offset 0s",
        "x + fill (0) 1",
        "time() + fill_left (0) x",
        "x offset Inf",
        "sum.5",
        "time1.5E-3",
        "x\u00a0",
        '{a=~".*"}',
        '{a!~".+"}',
    ],
)
def test_what_prometheus_rejects_is_rejected(text: str) -> None:
    with pytest.raises(QuerySyntaxError):
        parse(text)


@pytest.mark.parametrize("text", ["x[1e400]", "x offset 1e300", "rate(x[1e20])", "x[293y]", "x offset -9223372037s"])
def test_a_duration_the_parser_panics_on_is_a_syntax_error(text: str) -> None:
    with pytest.raises(QuerySyntaxError, match="duration"):
        parse(text)


def test_nothing_reaches_the_parser_that_it_panics_on(capfd: pytest.CaptureFixture[str]) -> None:
    for text in ("x[1e30]", "x offset 1e30", "x[5m:1e30]", "x offset NaN", "x @ 1e30", "x[1e400]"):
        with pytest.raises(QuerySyntaxError):
            parse(text)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "pattern", ["[[]", "[a[]", r"\Qa.b\E", r"\07", r"[\w-a]", "(?P<1a>a)", r"\pL{50}", "(?i)a|b", ".*", ""]
)
@pytest.mark.parametrize("op", [MatchOp.RE, MatchOp.NRE])
def test_patterns_are_judged_by_re2_alone(op: MatchOp, pattern: str) -> None:
    matcher = Matcher("a", op, pattern)
    assert parse(f"x{{{matcher}}}") == VectorSelector(named("x", matcher))


def test_a_condition_that_looks_like_a_placeholder_is_itself() -> None:
    matchers = (Matcher("a", MatchOp.RE, "b|c"), Matcher("d", MatchOp.EQ, "0"), Matcher("e", MatchOp.NE, "0"))
    assert parse('x{a=~"b|c",d="0",e!="0"} + 3000000') == Binary(
        "+", VectorSelector(named("x", *matchers)), NumberLiteral(3_000_000.0)
    )


def test_or_inside_braces_is_rejected_as_it_would_escape_added_conditions() -> None:
    with pytest.raises(QuerySyntaxError, match="','"):
        parse('{a="1" or b="2"}')


@pytest.mark.parametrize(
    ("text", "construct"),
    [
        ("info(x)", "function info"),
        ("x smoothed", "smoothed"),
        ("x[5m] anchored", "anchored"),
        ('increase(x{a="b"}[5m] anchored)', "anchored"),
        ("rate(x[5m + 1m])", "duration arithmetic"),
        ("rate(x[2 * step()])", "duration arithmetic"),
        ("rate(x[5m:step()])", "duration arithmetic"),
        ("x offset (1m + 2m)", "duration arithmetic"),
        ("x offset -(1m)", "duration arithmetic"),
        ("x[--5m]", "duration arithmetic"),
        ("holt_winters(x[5m], 0.5, 0.5)", "function holt_winters"),
    ],
)
def test_what_needs_more_than_floats_or_is_experimental_is_refused_by_name(text: str, construct: str) -> None:
    with pytest.raises(UnsupportedQuery) as caught:
        parse(text)
    assert caught.value.construct == construct


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("x" * 70_000, "query bytes"),
        ("(" * 10_000 + "x" + ")" * 10_000, "query nesting"),
        ("sum(" * 65 + "x" + ")" * 65, "query nesting"),
        ("-" * 20_000 + "x", "query signs in a row"),
        ("- " * 17 + "x", "query signs in a row"),
        ("+".join(["x"] * 15_000), "query operators"),
        ("+".join(["x"] * 150), "query depth"),
    ],
)
def test_a_text_that_could_exhaust_the_stack_is_refused_before_parsing(text: str, limit: str) -> None:
    with pytest.raises(QueryTooLarge) as caught:
        parse(text)
    assert caught.value.limit == limit
    assert caught.value.asked > caught.value.allowed


def test_brackets_within_strings_and_comments_do_not_count() -> None:
    text = 'x{a="' + "(" * 100 + '"} # ' + "[" * 100
    assert isinstance(parse(text), VectorSelector)


def test_a_metric_name_with_digits_and_underscores_is_no_number() -> None:
    assert to_text(parse("foo_1_000 + x1_2")) == "foo_1_000 + x1_2"


def test_map_selectors_reaches_every_selector() -> None:
    extra = Matcher("namespace", MatchOp.EQ, "a")
    text = "sum(rate(a[5m])) / topk(2, -b) > histogram_quantile(0.9, c) ^ 2"
    mapped = map_selectors(parse(text), lambda selector: selector.constrain((extra,)))
    assert len(list(selectors(mapped))) == 3
    assert all(node.selector.carries((extra,)) for node in selectors(mapped))
    assert parse(to_text(mapped)) == mapped


def test_map_selectors_raises_on_a_node_it_does_not_know() -> None:
    with pytest.raises(TypeError):
        map_selectors(Binary("+", NumberLiteral(1.0), object()), lambda s: s)  # type: ignore[arg-type]


#: Words of the grammar are names like any other, also where the parser would take them for something else.
WORDS = (
    "and",
    "or",
    "unless",
    "atan2",
    "on",
    "bool",
    "group_left",
    "by",
    "without",
    "offset",
    "inf",
    "NaN",
    "sum",
    "start",
)
LABELS = st.sampled_from(["a", "job", "cluster", "le", *WORDS])
VALUES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=5)
MATCHERS = st.builds(Matcher, LABELS, st.sampled_from([MatchOp.EQ, MatchOp.NE]), VALUES)
SELECTORS = st.builds(
    lambda name, extra: named(name, *extra),
    st.sampled_from(["x", "y:z", "é.b", *WORDS]),
    st.lists(MATCHERS, max_size=2),
)
OFFSETS = st.sampled_from([0, 1, 90_061_001, -5000])
MOMENTS = st.sampled_from([None, None, 0, -1_500, 1_790_006_400_123, "start", "end"])
VECTORS = st.builds(VectorSelector, SELECTORS, OFFSETS, MOMENTS)
WINDOWS_MS = st.sampled_from([1, 300_000, 694_861_001])
MATRICES = st.builds(MatrixSelector, SELECTORS, WINDOWS_MS, OFFSETS, MOMENTS)
# A sign before a number literal is read as part of it, so a tree has no negated literal.
NUMBERS = st.builds(NumberLiteral, st.sampled_from([0.0, 1.0, -2.5, 1e21, 1e-9, float("inf"), float("-inf")]))
NAMES = st.lists(LABELS, max_size=2, unique=True).map(tuple)
FILLINGS = st.sampled_from([None, None, 0.0, -1.5, float("inf")])


@st.composite
def matchings(draw: st.DrawFn) -> Matching:
    names = draw(st.lists(LABELS, max_size=4, unique=True))
    labels, include = tuple(names[:2]), tuple(names[2:])
    card = draw(st.sampled_from(["one-to-one", "many-to-one", "one-to-many"]))
    fillings = draw(FILLINGS), draw(FILLINGS)
    return Matching(labels, draw(st.booleans()), card, include if card != "one-to-one" else (), *fillings)


def compound(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    operators = st.sampled_from(sorted(set(PRECEDENCE) - SET_OPERATORS - {"==", ">"}))
    plain = st.builds(Matching, NAMES, st.booleans())
    steps = st.sampled_from([None, 1, 60_000])
    subqueries = st.builds(Subquery, inner, WINDOWS_MS, steps, OFFSETS, MOMENTS)
    return st.one_of(
        st.builds(lambda m: Call("rate", (m,)), MATRICES | subqueries),
        st.builds(lambda q, m: Call("quantile_over_time", (q, m)), NUMBERS, MATRICES | subqueries),
        st.builds(lambda v, t: Call("label_join", (v, StringLiteral(t), StringLiteral(""))), inner, VALUES),
        st.builds(Unary, inner),
        st.builds(Aggregate, st.sampled_from(["sum", "count"]), inner, st.builds(Grouping, NAMES, st.booleans())),
        st.builds(
            lambda g, k, v: Aggregate("topk", v, g, k), st.builds(Grouping, NAMES, st.booleans()), NUMBERS, inner
        ),
        st.builds(Binary, operators, inner, inner, matchings()),
        st.builds(Binary, st.sampled_from(sorted(SET_OPERATORS)), inner, inner, plain),
        st.builds(lambda a, n: Binary(">", a, n), inner, NUMBERS),
        st.builds(lambda a, n: Binary("==", n, a, returns_bool=True), inner, NUMBERS),
    )


@given(st.recursive(VECTORS, compound, max_leaves=8))
@settings(max_examples=400)
def test_parse_reads_back_what_to_text_prints(expr: Expr) -> None:
    assert parse(to_text(expr)) == expr

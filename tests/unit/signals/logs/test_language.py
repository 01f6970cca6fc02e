"""Reading LogQL: what is read, how it is printed, what is refused and where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import InvalidRequest, QuerySyntaxError, QueryTooLarge, UnsupportedQuery
from federation_core.labels import Labels, Matcher, MatchOp, Selector
from federation_core.scanner import MAX_QUERY_CHARS
from federation_core.signals.logs.expr import LabelFilter, LineFilter, LineOp, LogQuery
from federation_core.signals.logs.language import build, map_selectors, matches, parse, print_query
from federation_core.signals.logs.payload import Entry

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PATTERNS = st.sampled_from(["a|b", ".*", "(?i)error", r"\d+", "", "x{1,3}", r'q"\\'])


def matchers() -> st.SearchStrategy[Matcher]:
    exact = st.builds(Matcher, NAMES, st.sampled_from([MatchOp.EQ, MatchOp.NE]), TEXTS)
    return exact | st.builds(Matcher, NAMES, st.sampled_from([MatchOp.RE, MatchOp.NRE]), PATTERNS)


def queries() -> st.SearchStrategy[LogQuery]:
    line = st.builds(LineFilter, st.sampled_from([LineOp.CONTAINS, LineOp.LACKS]), TEXTS)
    line |= st.builds(LineFilter, st.sampled_from([LineOp.FINDS, LineOp.FINDS_NOT]), PATTERNS)
    stages = st.lists(line | st.builds(LabelFilter, matchers()), max_size=4).map(tuple)
    return st.builds(LogQuery, st.lists(matchers(), max_size=4).map(lambda found: Selector(tuple(found))), stages)


@given(queries())
def test_what_is_printed_reads_back_to_the_same_query(query: LogQuery) -> None:
    assert parse(print_query(query)) == query


def test_every_part_of_the_subset_is_read() -> None:
    query = parse('{namespace="shop", level=~"error|warn"} |= "a" != `b` |~ "c.*" !~ "d" | trace_id="e" | level!="f"')
    assert query.selector == Selector(
        (Matcher("namespace", MatchOp.EQ, "shop"), Matcher("level", MatchOp.RE, "error|warn"))
    )
    assert [stage.op for stage in query.line_filters] == list(LineOp)
    assert [stage.matcher for stage in query.label_filters] == [
        Matcher("trace_id", MatchOp.EQ, "e"),
        Matcher("level", MatchOp.NE, "f"),
    ]


def test_white_space_and_line_breaks_do_not_matter() -> None:
    assert parse('{ a = "b" ,\n c != "d" }\n  |=  "x"\n|e="f"') == parse('{a="b",c!="d"}|="x"|e="f"')


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        (r'"a\"b"', 'a"b'),
        (r'"\x00\x7f"', "\x00\x7f"),
        (r'"\u00e9\U0001F600"', "é😀"),
        (r'"\xc3\xa9"', "é"),
        (r'"\101"', "A"),
        (r'"\n\t\\"', "\n\t\\"),
        (r"`raw \n`", r"raw \n"),
        ('"日本"', "日本"),
    ],
)
def test_string_literals_are_those_of_go(literal: str, text: str) -> None:
    assert parse(f"{{}} |= {literal}").line_filters[0].text == text


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("", 1, 1, "expected a stream selector"),
        ('{a="b"', 1, 7, "expected , or }"),
        ('{a="b",}', 1, 8, "expected a label name"),
        ('{a="b" c="d"}', 1, 8, "expected , or }"),
        ('{a "b"}', 1, 4, "expected one of = != =~ !~"),
        ("{a=b}", 1, 4, "the value of a in quotes"),
        ('{a="b', 1, 4, "not closed"),
        ("{a=`b", 1, 4, "not closed"),
        ('{a="b\nc"}', 1, 4, "not closed"),
        (r'{a="\q"}', 1, 5, "escape"),
        (r'{a="\ud800"}', 1, 5, "escape"),
        (r'{a="\xff"}', 1, 4, "UTF-8"),
        ('{a=~"("}', 1, 5, "bad regular expression"),
        ('{a="b"}\n|~ "*"', 2, 4, "bad regular expression"),
        ('{a="b"}\n  foo', 2, 3, "expected a filter"),
        ('{a="b"} |=', 1, 11, "in quotes"),
        ('up{a="b"}', 1, 1, "expected a stream selector"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_column(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(QuerySyntaxError, match=words.replace("}", r"\}")) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    ("text", "construct"),
    [
        ('sum by (level) (count_over_time({a="b"}[5m]))', "metric query"),
        ('rate({a="b"}[5m])', "metric query"),
        ("1 + 1", "metric query"),
        ('{a="b"}[5m]', "metric query"),
        ('{a="b"} | json', "json"),
        ('{a="b"} | logfmt | x="y"', "logfmt"),
        ('{a="b"} | line_format "{{.x}}"', "line_format"),
        ('{a="b"} | label_format x=y', "label_format"),
        ('{a="b"} | unwrap x', "unwrap"),
        ('{a="b"} | pattern "<_>"', "pattern"),
        ('{a="b"} | regexp "(?P<x>.)"', "regexp"),
        ('{a="b"} | decolorize', "decolorize"),
        ('{a="b"} | drop x', "drop"),
        ('{a="b"} |> "<_> x"', "pattern filter"),
        ('{a="b"} !> "<_> x"', "pattern filter"),
        ('{a="b"} |= ip("10.0.0.0/8")', "ip()"),
        ('{a="b"} | x=ip("10.0.0.0/8")', "ip()"),
        ('{a="b"} |= "x" or "y"', "or"),
        ('{a="b"} | x="y" or z="w"', "or"),
        ('{a="b"} | x="y" and z="w"', "and"),
        ('{a="b"} | x="y", z="w"', ","),
        ('{a="b"} | (x="y")', "parentheses"),
        ('{a="b"} | status >= 500', "numeric label filter"),
        ('{a="b"} | status = 500', "numeric label filter"),
        ('{a="b"} | took > 10s', "numeric label filter"),
    ],
)
def test_what_logql_has_and_we_do_not_is_refused_by_name(text: str, construct: str) -> None:
    with pytest.raises(UnsupportedQuery) as caught:
        parse(text)
    assert caught.value.construct == construct


def test_a_text_beyond_all_measure_is_refused() -> None:
    with pytest.raises(QueryTooLarge) as caught:
        parse('{a="' + "b" * MAX_QUERY_CHARS + '"}')
    assert caught.value.allowed == MAX_QUERY_CHARS


def test_map_selectors_refuses_a_node_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="Selector"):
        map_selectors(Selector(), lambda selector: selector)


def accepted(text: str, line: str, labels: dict[str, str] | None = None, **metadata: str) -> bool:
    return matches(parse(text), Entry(0, line, Labels.of(labels or {}), Labels.of(metadata)))


def test_a_line_filter_finds_its_pattern_anywhere() -> None:
    assert accepted('{} |~ "tim.out"', "a timeout happened")
    assert not accepted('{} !~ "tim.out"', "a timeout happened")


def test_a_label_pattern_is_anchored() -> None:
    assert not accepted('{app=~"ord"}', "", {"app": "orders"})
    assert not accepted('{} | app=~"ord"', "", {"app": "orders"})
    assert accepted('{} | app=~"ord.*"', "", {"app": "orders"})


def test_the_dot_of_a_line_filter_does_not_match_a_newline() -> None:
    assert not accepted('{} |~ "a.b"', "a\nb")
    assert accepted('{} |~ "(?s)a.b"', "a\nb")


def test_a_line_filter_sees_every_byte_of_odd_lines() -> None:
    assert accepted(r'{} |= "\x00b"', "a\x00b")
    assert accepted(r'{} |~ "^a\\x00b$"', "a\x00b")
    assert accepted('{} |= ""', "")
    assert accepted('{} |~ "^$"', "")
    assert accepted('{} |= "zweite"', "erste\nzweite")
    assert accepted('{} |~ "^日.$"', "日本")


def test_label_filters_see_metadata_and_the_streams_labels_first() -> None:
    assert accepted('{} | trace_id="ab"', "", trace_id="ab")
    assert not accepted('{} | level="info"', "", {"level": "error"}, level="info")
    assert not accepted('{trace_id="ab"}', "", trace_id="ab")


def test_an_absent_label_equals_the_empty_text() -> None:
    assert accepted('{a="", b!="x"} | c=""', "")
    assert not accepted('{a=~".+"}', "", {"b": "c"})


def test_a_structured_search_becomes_a_query() -> None:
    text = build(
        {"service": "orders"}, text='say "hi"', regex="a+", level="error", trace_id="0AF7651916CD43DD8448EB211C80319C"
    )
    assert text == (
        r'{service="orders"} |= "say \"hi\"" |~ "a+" | level=~"(?i:error)"'
        ' | trace_id=~"0*af7651916cd43dd8448eb211c80319c"'
    )
    assert print_query(parse(text)) == text


def test_a_structured_search_for_nothing_selects_everything() -> None:
    assert accepted(build(), "anything", {"a": "b"})


def test_a_trace_id_is_found_with_and_without_its_leading_zeros() -> None:
    text = build(trace_id="00000000000000000af7651916cd43dd")
    assert accepted(text, "", trace_id="af7651916cd43dd")
    assert accepted(text, "", trace_id="00000000000000000af7651916cd43dd")
    assert not accepted(text, "", trace_id="1af7651916cd43dd")


def test_a_level_is_compared_without_regard_to_case_and_as_text() -> None:
    assert accepted(build(level="warn"), "", {"level": "WARN"})
    assert not accepted(build(level="w.rn"), "", {"level": "warn"})


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"labels": {"not a name": "x"}}, "labels"),
        ({"trace_id": "xyz"}, "traceId"),
        ({"trace_id": "0" * 32}, "traceId"),
        ({"trace_id": "a" * 33}, "traceId"),
        ({"regex": "("}, "regex"),
    ],
)
def test_a_wrong_part_of_a_structured_search_is_named(arguments: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        build(**arguments)  # type: ignore[arg-type]
    assert caught.value.field == field

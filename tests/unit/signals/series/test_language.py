"""Questions about series, read and printed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import QuerySyntaxError
from federation_core.labels import ANY, Matcher, MatchOp, Selector
from federation_core.signals.series.expr import Discovery, Question, map_selectors, to_text
from federation_core.signals.series.language import parse

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_MATCHERS = st.builds(Matcher, _TEXTS.filter(bool), st.sampled_from([MatchOp.EQ, MatchOp.NE]), _TEXTS) | st.builds(
    Matcher, _TEXTS.filter(bool), st.just(MatchOp.RE), st.sampled_from(["a|b", ".+", "x.*"])
)


@given(st.lists(st.lists(_MATCHERS, max_size=3), min_size=1, max_size=3), _TEXTS.filter(bool))
def test_what_is_printed_reads_back(matchers: list[list[Matcher]], label: str) -> None:
    selectors = tuple(Selector((ANY, *found)) for found in matchers)
    for question in Question:
        expr = Discovery(question, selectors, label if question is Question.VALUES else "")
        assert parse(to_text(expr)) == expr


@pytest.mark.parametrize("text", ["labels", "labels {}", 'labels {a=""}', 'labels {a=~".*"}', 'labels {a!="b"}'])
def test_a_selector_that_the_empty_label_set_satisfies_asks_for_a_name_too(text: str) -> None:
    (selector,) = parse(text).selectors
    assert selector.matchers[0] == ANY


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected one of series, labels, values, metadata"),
        ("names {}", "expected one of"),
        ("values {}", "the label whose values"),
        ('values "" {}', "a label has a name"),
        ("series up", "expected a selector"),
        ('series {a="b"', "expected , or }"),
        ('series {a="b",}', "a label name"),
        ('series {a>"b"}', "expected one of = != =~ !~ after a"),
        ('series {a=~"("}', "bad regular expression"),
        ('series {a="b"} {c="d"}', "expected or between two selectors"),
        ('series {a="b"} or', "expected a selector"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(QuerySyntaxError, match=r"line 1, column \d+: ") as caught:
        parse(text)
    assert said in caught.value.message


def test_a_condition_reaches_every_selector() -> None:
    shop = Matcher("namespace", MatchOp.EQ, "shop")
    expr = map_selectors(parse('series {a="1"} or {b="2"}'), lambda selector: selector.constrain([shop]))
    assert [selector.matchers[-1] for selector in expr.selectors] == [shop, shop]
    with pytest.raises(TypeError, match="str"):
        map_selectors("series", lambda selector: selector)

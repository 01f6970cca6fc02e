"""Questions for exemplars, read and printed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import QuerySyntaxError
from federation_core.labels import ANY, Matcher, MatchOp, Selector
from federation_core.signals.exemplars.expr import Wanted, map_selectors, to_text
from federation_core.signals.exemplars.language import parse
from federation_core.signals.metrics.expr import selectors
from federation_core.signals.metrics.parse import parse as parse_promql

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_MATCHERS = st.builds(Matcher, _TEXTS.filter(bool), st.sampled_from([MatchOp.EQ, MatchOp.NE]), _TEXTS)


@given(st.lists(st.lists(_MATCHERS, max_size=3), min_size=1, max_size=3))
def test_what_is_printed_reads_back(matchers: list[list[Matcher]]) -> None:
    expr = Wanted(tuple(dict.fromkeys(Selector((ANY, *found)) for found in matchers)))
    assert parse(to_text(expr)) == expr


@pytest.mark.parametrize("text", ["up", 'up{job="a"}', '{job=~"a.*"} or lat:p99_bucket{le="0.5"} or up', "up{}"])
def test_a_question_is_promql_with_the_same_selectors(text: str) -> None:
    told = tuple(node.selector for node in selectors(parse_promql(text)))
    assert parse(text).selectors == told
    assert tuple(node.selector for node in selectors(parse_promql(to_text(parse(text))))) == told


@pytest.mark.parametrize("text", ["{}", '{a=""}', '{a=~".*"}'])
def test_a_selector_that_the_empty_label_set_satisfies_asks_for_a_name_too(text: str) -> None:
    (selector,) = parse(text).selectors
    assert selector.matchers[0] == ANY


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a selector"),
        ("rate(up[5m])", "expected or between two selectors"),
        ("up{job}", "expected one of = != =~ !~ after job"),
        ('up{__name__="down"}', "the metric's name is given twice"),
        ("up or", "expected a selector"),
        ("up down", "expected or between two selectors"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(QuerySyntaxError, match=r"line 1, column \d+: ") as caught:
        parse(text)
    assert said in caught.value.message


def test_a_condition_reaches_every_selector() -> None:
    shop = Matcher("namespace", MatchOp.EQ, "shop")
    expr = map_selectors(parse('up or {b="2"}'), lambda selector: selector.constrain([shop]))
    assert [selector.matchers[-1] for selector in expr.selectors] == [shop, shop]
    with pytest.raises(TypeError, match="str"):
        map_selectors("up", lambda selector: selector)

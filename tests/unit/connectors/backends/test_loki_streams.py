"""Which streams are asked for: every one that is wanted, once, in selectors that Loki takes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.connectors.backends.loki_streams import parts_of
from federation_core.labels import Labels, Matcher, MatchOp, Selector
from federation_core.signals.logs.language import parse


def ask(text: str, *held: dict[str, str]) -> tuple[list[str], int]:
    """Return the parts of a selector over the streams held, and how often Loki was asked for them."""
    streams, asked = [Labels.of(labels) for labels in held], []

    def label_names() -> set[str]:
        asked.append("labels")
        return {name for labels in streams for name in labels.names()}

    def matching(selectors: Sequence[Selector]) -> list[Labels]:
        asked.append("series")
        return [labels for labels in streams if any(one.matches(labels) for one in selectors)]

    parts = parts_of(parse(text).selector, label_names, matching)
    return ["{" + ", ".join(map(str, part.matchers)) + "}" for part in parts], len(asked)


@pytest.mark.parametrize("text", ['{a="b"}', '{a=~".+"}', '{a="b", c=""}', '{c!="", a=~"x|y"}'])
def test_a_selector_that_loki_takes_is_not_changed(text: str) -> None:
    assert ask(text) == ([text], 0)


@pytest.mark.parametrize("text", ['{a!=""}', '{a!~""}', '{a!~"|x"}'])
def test_a_negative_condition_that_needs_the_label_is_said_positively_too(text: str) -> None:
    assert ask(text) == ([f'{text[:-1]}, a=~".+"}}'], 0)


def test_all_streams_have_a_label_in_common() -> None:
    held = [{"app": "x", "service_name": "a"}, {"job": "y", "service_name": "b"}]
    assert ask("{}", *held) == (['{service_name=~".+"}'], 2)
    assert ask("{}", {"app": "x"}) == (['{app=~".+"}'], 1)


def test_streams_without_it_are_asked_for_by_what_they_have() -> None:
    held = [{"job": "x"}, {"app": "1"}, {"app": "2", "pod": "3"}, {"pod": "4"}]
    parts, asked = ask("{}", *held)
    assert parts == ['{job=~".+"}', '{job="", app=~".+"}', '{job="", app="", pod=~".+"}']
    assert asked == 2


def test_conditions_are_kept() -> None:
    parts, _ = ask('{level!="debug"}', {"job": "x"}, {"app": "1"}, {"pod": "4", "level": "debug"})
    assert parts == ['{level!="debug", job=~".+"}', '{level!="debug", job="", app=~".+"}']


def test_where_there_is_no_stream_there_is_no_part() -> None:
    assert ask("{}") == ([], 1)


_STREAM = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xy"), min_size=1)
_OP = st.sampled_from([MatchOp.NE, MatchOp.NRE, MatchOp.RE])
_MATCHER = st.builds(Matcher, st.sampled_from("abcd"), _OP, st.sampled_from(["x", "x|", ""]))


@given(st.lists(_STREAM, max_size=6), st.lists(_MATCHER, max_size=2))
def test_every_stream_is_in_exactly_one_part_and_no_other_is(
    held: list[dict[str, str]], conditions: list[Matcher]
) -> None:
    streams, selector = [Labels.of(labels) for labels in held], Selector(tuple(conditions))
    parts = parts_of(
        selector,
        lambda: {name for labels in streams for name in labels.names()},
        lambda asked: [labels for labels in streams if any(one.matches(labels) for one in asked)],
    )
    for labels in streams:
        assert sum(part.matches(labels) for part in parts) == selector.matches(labels)
    for part in parts:
        assert any(m.op in (MatchOp.EQ, MatchOp.RE) and not m.matches("") for m in part.matchers)


@pytest.mark.parametrize("told", [[Labels()], [Labels.of({"a": "1"})], [Labels.of({"other": "1"})]])
def test_streams_that_cannot_be_lead_nowhere(told: list[Labels]) -> None:
    assert parts_of(Selector(), lambda: ["a", "b"], lambda _: told)[0] == Selector((Matcher("a", MatchOp.RE, ".+"),))

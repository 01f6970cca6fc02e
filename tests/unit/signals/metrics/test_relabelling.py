"""label_replace and label_join."""

from __future__ import annotations

import pytest

from federation_core.errors import QueryExecutionError, QueryTooLarge
from federation_core.labels import quote
from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame
from federation_core.tenancy import Limits
from tests.support.instants import at, vector
from tests.support.sample_store import answer_one, evaluate_one, series


def replaced(replacement: str, pattern: str, value: str) -> str | None:
    """Return the label that label_replace writes out of a value; None where it writes none."""
    store = vector((f"x{{s={quote(value)}}}", 1))
    (labels,) = at(f'label_replace(x, "d", {quote(replacement)}, "s", {quote(pattern)}) * 1', store)
    return next((pair.removeprefix("d=") for pair in labels.split(",") if pair.startswith("d=")), None)


class TestReplacement:
    @pytest.mark.parametrize(
        ("replacement", "text"),
        [
            ("$1", "ab"),
            ("${1}x", "abx"),
            ("$0", "ab-cd"),
            ("$2-$1", "cd-ab"),
            ("$two", "cd"),
            ("${two}2", "cd2"),
            ("$$1", "$1"),
            ("$$$1", "$ab"),
            ("$", "$"),
            ("a$", "a$"),
            ("$-$1", "$-ab"),
            ("${1", "${1"),
            ("${}", "${}"),
            ("${ 1}", "${ 1}"),
            ("ü$1", "üab"),
        ],
    )
    def test_it_is_expanded_as_go_expands_a_template(self, replacement: str, text: str) -> None:
        assert replaced(replacement, "(.*)-(?P<two>.*)", "ab-cd") == text

    @pytest.mark.parametrize("replacement", ["$1x", "$3", "$01", "$é", "${two_}", "$123456789012"])
    def test_an_unknown_group_is_nothing(self, replacement: str) -> None:
        assert replaced(f"<{replacement}>", "(.*)-(?P<two>.*)", "ab-cd") == "<>"

    def test_a_group_that_took_no_part_is_nothing(self) -> None:
        assert replaced("<$1$2>", "(a)|(b)", "b") == "<b>"

    def test_an_empty_result_removes_the_label(self) -> None:
        assert at('label_replace(x, "a", "", "a", ".*")', vector(('x{a="1"}', 1))) == {"__name__=x": 1.0}


class TestExpression:
    def test_it_must_match_the_whole_value(self) -> None:
        assert replaced("y", "b", "abc") is None
        assert replaced("y", "a|abc", "abc") == "y"

    def test_the_dot_matches_a_newline(self) -> None:
        assert replaced("y", "a.c", "a\nc") == "y"

    def test_a_label_that_is_absent_is_empty(self) -> None:
        assert at('label_replace(x, "d", "y", "s", "")', vector(("x", 1))) == {"__name__=x,d=y": 1.0}

    def test_what_closes_its_group_is_an_expression_as_it_is_for_prometheus(self) -> None:
        assert replaced("$1", "a)(b", "ab") == "b"
        assert replaced("$1", "a)(.", "a\n") is None

    @pytest.mark.parametrize("pattern", ["(.*", "*", "[", r"\C", r"(a\C)"])
    def test_what_is_no_expression_is_an_error(self, pattern: str) -> None:
        with pytest.raises(QueryExecutionError) as caught:
            at(f'label_replace(missing, "d", "", "s", {quote(pattern)})')
        assert caught.value.message.startswith(f"invalid regular expression in label_replace(): {pattern}: ")

    def test_no_expression_takes_exponential_time(self) -> None:
        assert replaced("y", "(a+)+b", "a" * 5000) is None


class TestLabels:
    def test_any_text_is_a_label_but_the_empty_one(self) -> None:
        assert at('label_replace(x, "a.b/ü", "1", "", "")', vector(("x", 1))) == {"__name__=x,a.b/ü=1": 1.0}
        with pytest.raises(QueryExecutionError, match=r"^invalid destination label name in label_replace\(\): $"):
            at('label_replace(x, "", "1", "", "")', vector(("x", 1)))

    def test_series_that_become_one_are_an_error_where_they_meet(self) -> None:
        store = vector(('x{a="1"}', 1), ('x{a="2"}', 2))
        with pytest.raises(QueryExecutionError, match=r"^vector cannot contain metrics with the same labelset"):
            at('label_replace(x, "a", "", "", "")', store)

    def test_series_that_become_one_and_never_meet_are_one(self) -> None:
        store = [series('x{a="1"}', [(0, 1)]), series('x{a="2"}', [(600_000, 2)])]
        got = evaluate_one('label_replace(x, "a", "", "", "")', store, TimeRange(0, 600_000, 600_000))
        assert isinstance(got, Frame)
        assert got.values.tolist() == [[1.0, 2.0]]

    def test_a_name_that_is_written_is_not_dropped_later(self) -> None:
        # As if names were dropped at the very end, where the rate still has its own.
        text = 'label_replace(abs(x), "__name__", "abs_$1", "__name__", "(.*)")'
        got, _ = answer_one(text, vector(("x", 1)), TimeRange(0, 0), delayed_names=True)
        assert [dict(labels) for labels in got.labels] == [{"__name__": "abs_x"}]
        text = 'label_replace(abs(x), "n", "$1", "__name__", "(.*)")'
        got, _ = answer_one(text, vector(("x", 1)), TimeRange(0, 0), delayed_names=True)
        assert [dict(labels) for labels in got.labels] == [{"n": "x"}]


class TestJoin:
    store = vector(('x{a="1",b="2"}', 1))

    def test_values_are_joined_and_absent_ones_are_empty(self) -> None:
        assert at('label_join(x, "d", "-", "a", "none", "b")', self.store) == {"__name__=x,a=1,b=2,d=1--2": 1.0}

    def test_nothing_removes_the_label(self) -> None:
        assert at('label_join(x, "b", "", "none")', self.store) == {"__name__=x,a=1": 1.0}

    @pytest.mark.parametrize(
        ("arguments", "role"),
        [('"", "-", "a"', "destination"), ('"d", "-", "a", ""', "source"), ('"", "-", ""', "source")],
    )
    def test_an_empty_name_is_an_error(self, arguments: str, role: str) -> None:
        with pytest.raises(QueryExecutionError, match=rf"^invalid {role} label name in label_join\(\): $"):
            at(f"label_join(x, {arguments})", self.store)

    def test_series_that_become_one_are_an_error(self) -> None:
        store = vector(('x{a="1",b="2"}', 1), ('x{a="3",b="2"}', 1))
        with pytest.raises(QueryExecutionError, match="same labelset"):
            at('label_join(x, "a", "", "b")', store)


@pytest.mark.parametrize(
    "call",
    ['label_replace({}, "a", "$1$1$1$1$1$1$1$1", "a", "(.*)")', 'label_join({}, "a", "", "a", "a", "a", "a", "a")'],
)
def test_a_text_that_doubles_with_every_call_is_refused_before_it_is_made(call: str) -> None:
    text = "x"
    for _ in range(14):
        text = call.format(text)
    with pytest.raises(QueryTooLarge):
        answer_one(text, vector(('x{a="12345678"}', 1)), TimeRange(0, 0), limits=Limits(max_values=100_000))


@pytest.mark.parametrize(
    "call",
    ['label_replace({}, "a", "$1$1$1$1$1$1$1$1", "a", "(.*)")', 'label_join({}, "a", "", {})'],
)
def test_the_texts_of_all_operands_count_together(call: str) -> None:
    # Each operand doubles an eight letters' text three times over, which on its own is fine.
    operand = "x"
    for _ in range(3):
        operand = call.format(operand, ", ".join(['"a"'] * 8))
    store = vector(('x{a="12345678"}', 1))
    limits = Limits(max_values=2_000)
    answer_one(operand, store, TimeRange(0, 0), limits=limits)
    text = " or ".join(f'label_replace({operand}, "n", "{n}", "", "")' for n in range(10))
    with pytest.raises(QueryTooLarge):
        answer_one(text, store, TimeRange(0, 0), limits=limits)


def test_a_text_counts_for_every_series_that_has_it() -> None:
    store = vector(*((f'x{{i="{i}"}}', 1) for i in range(100)))
    text = f'label_replace(x, "n", "{"a" * 1000}", "", "")'
    answer_one(text, store, TimeRange(0, 0), limits=Limits(max_values=13_000))
    with pytest.raises(QueryTooLarge):
        answer_one(text, store, TimeRange(0, 0), limits=Limits(max_values=12_000))

"""Label sets, matchers and selectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import InvalidRequest
from federation_core.labels import Labels, Matcher, MatchOp, Selector, quote


def test_an_empty_value_is_an_absent_label() -> None:
    assert Labels.of({"a": "1", "b": ""}) == Labels.of({"a": "1"})
    assert Labels.of({"a": "1"}).with_label("a", "") == Labels.of({})


def test_label_sets_are_equal_whatever_order_they_were_given_in() -> None:
    assert Labels.of([("b", "2"), ("a", "1")]) == Labels.of([("a", "1"), ("b", "2")])


def test_only_and_without_keep_the_type_and_the_order() -> None:
    labels = Labels.of({"c": "3", "a": "1", "b": "2"})
    assert labels.only(["b", "a"]) == Labels.of({"a": "1", "b": "2"})
    assert labels.without(["b"]) == Labels.of({"a": "1", "c": "3"})
    assert isinstance(labels.without(["b"]), Labels)


@pytest.mark.parametrize(
    ("op", "pattern", "value", "expected"),
    [
        ("=", "a", "a", True),
        ("=", "", "", True),
        ("!=", "a", "", True),
        ("=~", "a|b", "b", True),
        ("=~", "a", "ab", False),
        ("=~", ".*", "", True),
        ("=~", "a.b", "a\nb", True),
        ("!~", "a.*", "ab", False),
        ("!~", "a", "", True),
    ],
)
def test_matchers_are_anchored_and_treat_absence_as_the_empty_string(
    op: str, pattern: str, value: str, expected: bool
) -> None:
    assert Matcher("l", MatchOp(op), pattern).matches(value) is expected


def test_a_pattern_that_backtracks_for_ever_elsewhere_is_answered() -> None:
    # Python's own engine would need longer than the age of the universe for this one.
    assert not Matcher("l", MatchOp.RE, "(a+)+$").matches("a" * 5000 + "!")


def test_a_pattern_that_is_not_re2_says_so() -> None:
    with pytest.raises(InvalidRequest, match="bad regular expression") as caught:
        Matcher("l", MatchOp.RE, "(").matches("x")
    assert caught.value.got == "("


def test_constraining_keeps_the_users_own_condition() -> None:
    user = Matcher("namespace", MatchOp.EQ, "other")
    enforced = Matcher("namespace", MatchOp.EQ, "mine")
    constrained = Selector((user,)).constrain([enforced])
    assert constrained.matchers == (user, enforced)
    assert not constrained.matches(Labels.of({"namespace": "mine"}))
    assert not constrained.matches(Labels.of({"namespace": "other"}))


def test_constraining_twice_changes_nothing() -> None:
    enforced = Matcher("namespace", MatchOp.EQ, "mine")
    once = Selector().constrain([enforced])
    assert once.constrain([enforced]) == once
    assert once.carries([enforced])
    assert not Selector().carries([enforced])


@given(st.text())
def test_a_quoted_text_has_no_bare_quote_or_line_end(text: str) -> None:
    inner = quote(text)[1:-1]
    assert "\n" not in inner
    assert inner.replace("\\\\", "").replace('\\"', "").count('"') == 0


@pytest.mark.parametrize("pattern", [r"(a|b)*a(a|b){20}x{100}\pL{300}", "a\ud800"], ids=["large", "no text"])
def test_a_pattern_that_cannot_be_compiled_in_bounded_memory_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidRequest, match="bad regular expression"):
        Matcher("a", MatchOp.RE, pattern).matches("b")


def test_ten_thousand_characters_of_alternatives_are_no_large_pattern() -> None:
    names = [f"pod-{i}" for i in range(1500)]
    assert Matcher("pod", MatchOp.RE, "|".join(names)).matches(names[-1])

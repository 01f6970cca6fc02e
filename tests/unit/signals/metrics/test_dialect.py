"""What an engine may be given: nothing that its release may not have, everything in its spelling."""

from __future__ import annotations

import pytest

from federation_core.query import TimeRange
from federation_core.signals.metrics.dialect import UNKNOWN, Dialect
from federation_core.signals.metrics.moments import resolve
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.printer import selector_text, to_text

OLD, SECOND, THIRD = (Dialect("Prometheus", version, exact=True) for version in ((2, 32), (2, 42), (3, 5)))


def spelled(dialect: Dialect, text: str) -> str | None:
    expr = dialect.spelled(resolve(parse(text), TimeRange(0, 0)))
    return None if expr is None else to_text(expr)


@pytest.mark.parametrize(
    "text",
    [
        "x", 'x{a=~"b.*",c!=""} @ 5.000 offset -1m', "sum by (a) (rate(x[5m]))", "topk(3, x)",
        "x / on (a) group_left (b) y", 'label_replace(x, "a", "$1", "b", "(.*)")', 'count_values("v", x)',
        "max_over_time(x[1h:1m])", "-x ^ 2 > bool 1", "quantile_over_time(0.9, x[5m])", "histogram_quantile(0.9, x)",
        "x and y unless z", "day_of_year(x)",
        '{__name__="odd name"}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("dialect", [SECOND, THIRD], ids=["2", "3"])
def test_what_both_releases_have_is_left_as_it_is(dialect: Dialect, text: str) -> None:
    assert spelled(dialect, text) == to_text(parse(text))


def test_the_smoothing_of_the_second_release_has_another_name() -> None:
    text = "sum(double_exponential_smoothing(x[5m], 0.5, 0.5)) + 1"
    assert spelled(SECOND, text) == "sum(holt_winters(x[5m], 0.5, 0.5)) + 1"


@pytest.mark.parametrize(
    ("text", "second", "third"),
    [
        ("histogram_avg(x)", False, True), ("double_exponential_smoothing(x[5m], 0.5, 0.5)", True, False),
        ("mad_over_time(x[5m])", False, False), ("sort_by_label(x)", False, False), ("limitk(3, x)", False, False),
        ("limit_ratio(0.5, x)", False, False), ("ts_of_max_over_time(x[5m])", False, False),
        ("first_over_time(x[5m])", False, False), ("sum(x + fill (0) y)", False, False),
        ('x{"odd name"="1"}', False, True), ('sum by ("odd name") (x)', False, True), ("sum by (on) (x)", False, True),
        ('x * on ("odd name") y', False, True), ('count_values("odd name", x)', False, True),
        ('label_replace(x, "odd name", "", "", "")', False, True),
    ],
)  # fmt: skip
def test_what_a_release_lacks_or_may_have_switched_off_is_not_given_to_it(text: str, second: bool, third: bool) -> None:
    assert (spelled(SECOND, text) is not None, spelled(THIRD, text) is not None) == (second, third)
    assert (spelled(SECOND, f"1 + sum(-({text}))") is not None) == second


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ('x{"odd name"="1"}', None), ('x{"odd name"!=""}', None), ('x{"odd name"=~"a|",b="1"}', 'x{b="1"}'),
        ('x{"odd name"!="1"}', "x"), ('{"odd name"="",b="1"}', '{b="1"}'), ('{__name__="odd name"}',) * 2,
    ],
)  # fmt: skip
def test_no_series_of_the_second_release_has_a_label_that_is_no_word(text: str, second: str | None) -> None:
    selector = parse(text).selector  # type: ignore[union-attr]
    answerable = SECOND.answerable(selector)
    assert (None if answerable is None else selector_text(answerable)) == second
    # Of others nothing of the kind is known.
    assert THIRD.answerable(selector) == Dialect("Mimir", (2, 33)).answerable(selector) == selector


@pytest.mark.parametrize("text", ["x", "sum(x)"])
def test_an_engine_from_before_there_were_moments_is_given_nothing(text: str) -> None:
    assert spelled(OLD, text) is None
    assert not UNKNOWN.exact

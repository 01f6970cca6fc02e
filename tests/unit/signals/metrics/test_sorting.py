"""The order of instant answers."""

from __future__ import annotations

import math

import pytest

from federation_core.query import TimeRange
from federation_core.signals.metrics.functions.sorting import natural_key
from tests.support.instants import listed, said_at, vector
from tests.support.sample_store import answer_one, every, series

NAN, INF = float("nan"), float("inf")
INEFFECTIVE = "PromQL warning: sort is ineffective for range queries since results are always ordered by labels"


def labels(text: str, *rows: tuple[str, float]) -> list[str]:
    return [row for row, _ in listed(text, vector(*rows))]


class TestByValue:
    rows = (('x{a="1"}', 3), ('x{a="2"}', NAN), ('x{a="3"}', -INF), ('x{a="4"}', 7), ('x{a="5"}', INF))

    def test_nan_is_last_both_ways(self) -> None:
        up = [value for _, value in listed("sort(x)", vector(*self.rows))]
        down = [value for _, value in listed("sort_desc(x)", vector(*self.rows))]
        assert (up[:4], down[:4]) == ([-INF, 3.0, 7.0, INF], [INF, 7.0, 3.0, -INF])
        assert math.isnan(up[4])
        assert math.isnan(down[4])

    @pytest.mark.parametrize("name", ["sort", "sort_desc"])
    def test_equal_values_are_in_order_of_labels(self, name: str) -> None:
        rows = [('x{a="3"}', 1.0), ('x{a="1"}', 1.0), ('x{a="2"}', 1.0)]
        assert labels(f'{name}(x{{a="3"}} or x)', *rows) == [f"__name__=x,a={a}" for a in "123"]

    def test_the_order_is_that_of_what_is_left(self) -> None:
        assert labels("sort(x > 3)", *self.rows) == ["__name__=x,a=4", "__name__=x,a=5"]

    def test_the_name_stays(self) -> None:
        assert labels("sort(x)", ("x", 1)) == ["__name__=x"]


class TestByLabel:
    rows = (
        ('x{node="node10",zone="b"}', 1),
        ('x{node="node2",zone="a"}', 2),
        ('x{node="node2",zone="A"}', 3),
        ('x{zone="c"}', 4),
    )

    def test_numbers_in_text_are_numbers_and_the_rest_of_the_labels_decides(self) -> None:
        values = [value for _, value in listed('sort_by_label(x, "node")', vector(*self.rows))]
        assert values == [4.0, 3.0, 2.0, 1.0]

    def test_the_other_way_round_all_of_it_is(self) -> None:
        values = [value for _, value in listed('sort_by_label_desc(x, "node")', vector(*self.rows))]
        assert values == [1.0, 2.0, 3.0, 4.0]

    def test_the_first_label_decides_before_the_second(self) -> None:
        values = [value for _, value in listed('sort_by_label(x, "zone", "node")', vector(*self.rows))]
        assert values == [3.0, 2.0, 1.0, 4.0]

    @pytest.mark.parametrize(
        "ordered",
        [
            ["", "a", "a1", "a2", "a10", "a10b", "b"],
            ["1.2.3", "1.2.10", "1.10.1"],
            ["-1", "1", "a1", "a-1", "aa"],
            ["01", "1", "2"],
            ["9", "9" * 5000],
        ],
    )
    def test_natural_order(self, ordered: list[str]) -> None:
        assert sorted(set(ordered), key=natural_key) == ordered


class TestInARange:
    store = (series('x{a="1"}', every(60_000, [3, 1])), series('x{a="2"}', every(60_000, [2, 2])))

    @pytest.mark.parametrize("call", ["sort(x)", "sort_desc(x)", 'sort_by_label_desc(x, "a")'])
    def test_there_is_no_order_which_is_told(self, call: str) -> None:
        got, told = answer_one(call, self.store, TimeRange(0, 60_000, 60_000))
        plain, _ = answer_one("x", self.store, TimeRange(0, 60_000, 60_000))
        assert got.labels == plain.labels
        assert told == (INEFFECTIVE,)

    def test_an_instant_is_not_told_so(self) -> None:
        assert said_at("sort(x)", self.store) == ()

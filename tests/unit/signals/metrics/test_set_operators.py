"""The set operators and, or, unless."""

from __future__ import annotations

import pytest

from federation_core.errors import QueryExecutionError
from federation_core.query import TimeRange
from tests.support.instants import at, vector
from tests.support.ranges import over
from tests.support.sample_store import answer_one, every, series

STORE = vector(
    ('x{a="1",b="1"}', 1),
    ('x{a="1",b="2"}', 2),
    ('x{a="2",b="1"}', 3),
    ('y{a="1",b="1"}', 10),
    ('y{a="1",b="3"}', 30),
    ("z", 7),
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("x and y", {"__name__=x,a=1,b=1": 1.0}),
        ("x and on (a) y", {"__name__=x,a=1,b=1": 1.0, "__name__=x,a=1,b=2": 2.0}),
        ("x and ignoring (a) y", {"__name__=x,a=1,b=1": 1.0, "__name__=x,a=2,b=1": 3.0}),
        ("-x and y", {"a=1,b=1": -1.0}),
        ("x and on () z", {"__name__=x,a=1,b=1": 1.0, "__name__=x,a=1,b=2": 2.0, "__name__=x,a=2,b=1": 3.0}),
        ("x and nosuch", {}),
        ("nosuch and x", {}),
        ("x unless y", {"__name__=x,a=1,b=2": 2.0, "__name__=x,a=2,b=1": 3.0}),
        ("x unless on (a) y", {"__name__=x,a=2,b=1": 3.0}),
        ("x unless on () z", {}),
        ('x{a="2"} unless nosuch', {"__name__=x,a=2,b=1": 3.0}),
        ("nosuch unless x", {}),
        ('x{b="1"} or y', {"__name__=x,a=1,b=1": 1.0, "__name__=x,a=2,b=1": 3.0, "__name__=y,a=1,b=3": 30.0}),
        ('x{a="2"} or on (a) y', {"__name__=x,a=2,b=1": 3.0, "__name__=y,a=1,b=1": 10.0, "__name__=y,a=1,b=3": 30.0}),
        ('x{a="1"} or on (a) y', {"__name__=x,a=1,b=1": 1.0, "__name__=x,a=1,b=2": 2.0}),
        ("nosuch or z", {"__name__=z": 7.0}),
        ("z or nosuch", {"__name__=z": 7.0}),
        ("z or z", {"__name__=z": 7.0}),
    ],
)
def test_answer(text: str, answer: dict[str, float]) -> None:
    assert at(text, STORE) == answer


def test_every_step_is_decided_by_what_is_there_then() -> None:
    store = [series('x{a="1"}', every(600_000, [1, None, 3])), series('y{a="1"}', every(600_000, [None, 20, 30]))]
    x, y = "__name__=x,a=1", "__name__=y,a=1"
    assert over("x and y", store, 1_200_000, 600_000) == {x: {1_200_000: 3.0}}
    assert over("x unless y", store, 1_200_000, 600_000) == {x: {0: 1.0}}
    assert over("x or y", store, 1_200_000, 600_000) == {x: {0: 1.0, 1_200_000: 3.0}, y: {600_000: 20.0}}


def test_both_sides_of_or_are_one_series_where_they_have_the_same_labels_at_different_steps() -> None:
    store = [series('x{a="1"}', every(600_000, [1, None, 3])), series('y{a="1"}', every(600_000, [None, 20, 30]))]
    assert over("-x or -y", store, 1_200_000, 600_000) == {"a=1": {0: -1.0, 600_000: -20.0, 1_200_000: -3.0}}


def test_series_that_are_one_when_their_names_are_dropped_at_the_end_are_an_error() -> None:
    asked = TimeRange(0, 0)
    assert at('-x{b="2"} or on (__name__) -y{b="1"}', STORE) == {"a=1,b=2": -2.0}
    frame, _ = answer_one('-x{b="2"} or on (__name__) -y{b="1"}', STORE, asked, delayed_names=True)
    assert [dict(labels) for labels in frame.labels] == [{"a": "1", "b": "2"}, {"a": "1", "b": "1"}]
    with pytest.raises(QueryExecutionError, match=r'the same labelset: {a="1", b="1"}$'):
        answer_one('-x{a="1",b="1"} or on (__name__) -y{b="1"}', STORE, asked, delayed_names=True)

"""absent and absent_over_time: where there is nothing, and the labels of what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from federation_core.labels import Labels
from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame
from federation_core.signals.metrics.functions.absence import labels_of_absent
from federation_core.signals.metrics.parse import parse
from tests.support.instants import at, counter
from tests.support.sample_store import evaluate_one, every, series


@pytest.mark.parametrize("text", ["absent({0})", "absent_over_time({0}[5m])"])
@pytest.mark.parametrize(
    ("selector", "labels"),
    [
        ("y", ""),
        ('y{b="2",a="1"}', "a=1,b=2"),
        ('{__name__="y",a="1"}', "a=1"),
        ('y{a="1",b=~"2",c!="3",d!~"4",e=""}', "a=1"),
        ('y{a="1",a="2",b="3"}', "b=3"),
        ('y{a="1",a=~".+"}', ""),
        ('y{a!="1",a="2"}', "a=2"),
    ],
)
def test_the_labels_are_those_an_equality_matcher_fixes(text: str, selector: str, labels: str) -> None:
    assert at(text.format(selector), [], 0) == {labels: 1.0}


def test_the_name_is_none_of_the_labels() -> None:
    assert labels_of_absent(parse('{__name__="y",a="1"}')) == Labels.of({"a": "1"})
    assert labels_of_absent(parse('{__name__="y",__name__!=""}')) == Labels()


@pytest.mark.parametrize("text", ["absent(sum(y))", 'absent(y{a="1"} + 1)', 'absent_over_time(y{a="1"}[5m:1m])'])
def test_other_expressions_fix_no_labels(text: str) -> None:
    assert at(text, [], 0) == {"": 1.0}


@pytest.mark.parametrize("text", ["absent(x)", "absent_over_time(x[5m])"])
def test_what_is_there_is_not_absent(text: str) -> None:
    assert at(text, counter(float("nan")), 0) == {}


def test_absence_is_found_at_every_step_by_all_series() -> None:
    store = [series('x{a="1"}', every(60_000, [1])), series('x{a="2"}', every(60_000, [1], 1_200_000))]
    asked = TimeRange(0, 1_800_000, 300_000)
    for text, missing in (
        ("absent(x)", [False, True, True, True, False, True, True]),
        ("absent_over_time(x[10m])", [False, False, True, True, False, False, True]),
    ):
        got = evaluate_one(text, store, asked)
        assert isinstance(got, Frame)
        assert got.present.tolist() == [missing]
        assert np.all(got.values[got.present] == 1)

"""time, vector, scalar, pi and timestamp."""

from __future__ import annotations

import math

from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame
from tests.support.instants import at, value_at, vector
from tests.support.sample_store import Series, answer_one, evaluate_one, every, series

STEPS = TimeRange(0, 120_000, 60_000)


def per_step(text: str, store: list[Series]) -> Frame:
    got = evaluate_one(text, store, STEPS)
    assert isinstance(got, Frame)
    return got


def test_a_vector_is_a_scalar_only_where_it_has_exactly_one_element() -> None:
    store = [series('x{a="1"}', every(60_000, [1, 2])), series('x{a="2"}', [(60_000, 5)])]
    store.append(series('x{a="1"}', [(420_000, 7)]))
    got = evaluate_one("scalar(x)", [store[0], store[1]], TimeRange(0, 420_000, 60_000))
    assert isinstance(got, Frame)
    assert got.kind == "scalar"
    # From 60 s on there are two; the lookback ends both at 360 s.
    assert got.values[0, 0] == 1.0
    assert all(math.isnan(value) for value in got.values[0, 1:])


def test_the_only_element_may_be_another_one_at_every_step() -> None:
    store = [series('x{a="1"}', every(60_000, [1, 2, 3])), series('x{a="2"}', every(60_000, [4, 5, 6]))]
    got = per_step("scalar(x == 1 or x == 5)", store).values[0]
    assert got[:2].tolist() == [1.0, 5.0]
    assert math.isnan(got[2])


def test_nothing_and_nan_are_scalars_too() -> None:
    assert math.isnan(value_at("vector(scalar(missing))"))
    assert math.isnan(value_at("vector(scalar(x))", vector(("x", float("nan")))))


def test_a_scalar_as_a_vector_has_no_labels_and_is_always_there() -> None:
    assert at("vector(time())", time_s=1.5) == {"": 1.5}
    assert per_step("vector(NaN)", []).present.all()


def test_time_is_the_evaluation_time_in_seconds() -> None:
    got, _ = answer_one("time()", [], STEPS)
    assert isinstance(got, Frame)
    assert (got.kind, got.values.tolist()) == ("scalar", [[0.0, 60.0, 120.0]])


def test_pi() -> None:
    assert value_at("vector(pi())") == math.pi


def test_the_timestamp_of_a_selector_is_its_samples() -> None:
    store = [series('x{a="1"}', [(10_000, 1)])]
    assert at("timestamp(x)", store, 100) == {"a=1": 10.0}
    assert at("timestamp((x))", store, 100) == {"a=1": 10.0}


def test_the_timestamp_of_anything_else_is_the_evaluation_time_where_it_has_a_value() -> None:
    store = [series('x{a="1"}', [(10_000, 1)])]
    assert at("timestamp(abs(x))", store, 100) == {"a=1": 100.0}
    got = per_step("timestamp(abs(x))", store)
    assert got.present.tolist() == [[False, True, True]]
    assert got.values[got.present].tolist() == [60.0, 120.0]

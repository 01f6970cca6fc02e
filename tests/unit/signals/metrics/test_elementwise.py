"""Functions of each value alone, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame
from tests.support.instants import at, value_at, vector
from tests.support.sample_store import evaluate_one, every, series

NAN, INF = float("nan"), float("inf")


def of(call: str, value: float) -> float:
    """Return what a call, with x for its vector, makes of one value."""
    return value_at(call, vector(("x", value)))


def same(left: float, right: float) -> bool:
    """Tell whether two numbers are the same, the sign of a zero included."""
    return left == right and math.copysign(1, left) == math.copysign(1, right)


@pytest.mark.parametrize(
    ("call", "value", "result"),
    [
        ("abs(x)", -2.5, 2.5),
        ("ceil(x)", 1.2, 2.0),
        ("ceil(x)", -0.5, -0.0),
        ("floor(x)", -1.2, -2.0),
        ("exp(x)", 0.0, 1.0),
        ("exp(x)", -INF, 0.0),
        ("ln(x)", math.e, 1.0),
        ("ln(x)", 0.0, -INF),
        ("log2(x)", 8.0, 3.0),
        ("log2(x)", 5e-324, -1074.0),
        ("log2(x)", 0.0, -INF),
        ("log10(x)", 1000.0, 3.0),
        ("log10(x)", INF, INF),
        ("sqrt(x)", 16.0, 4.0),
        ("sgn(x)", -7.0, -1.0),
        ("sgn(x)", INF, 1.0),
        ("sgn(x)", -0.0, -0.0),
        ("deg(x)", math.pi, 180.0),
        ("rad(x)", 180.0, math.pi),
        ("acos(x)", 1.0, 0.0),
        ("asin(x)", -1.0, -math.pi / 2),
        ("asin(x)", -0.0, -0.0),
        ("atan(x)", INF, math.pi / 2),
        ("cosh(x)", 0.0, 1.0),
        ("cosh(x)", -710.0, INF),
        ("sinh(x)", -710.0, -INF),
        ("tanh(x)", INF, 1.0),
        ("atanh(x)", 1.0, INF),
    ],
)
def test_exact_values(call: str, value: float, result: float) -> None:
    assert same(of(call, value), result)


@pytest.mark.parametrize(
    "name", ["sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "atanh"]
)
@pytest.mark.parametrize("value", [0.1, 0.5, 0.71, 0.95, -0.3, -0.8])
def test_trigonometry(name: str, value: float) -> None:
    plain = getattr(math, name)(value)
    assert of(f"{name}(x)", value) == pytest.approx(plain, rel=1e-14)


def test_the_arc_cosine_near_one_has_the_digits_that_prometheus_has() -> None:
    # By way of the arc tangent, as Go computes it; 1.19014711647e-4 would be right.
    assert of("acos(x)", 0.9999999929177492) == pytest.approx(0.00011901471185749024, rel=1e-11, abs=0)
    assert of("acos(x)", 0.9999999999998571) == pytest.approx(5.345759128694283e-07, rel=1e-11, abs=0)
    assert of("acosh(x)", math.cosh(2.0)) == pytest.approx(2.0)


@pytest.mark.parametrize(
    "call", ["ln(x)", "log2(x)", "log10(x)", "sqrt(x)", "acosh(x)", "asin(2 + 0 * x)", "sgn(x / 0 * 0)"]
)
def test_outside_of_its_domain_a_function_is_nan(call: str) -> None:
    assert math.isnan(of(call, -1.0))


class TestRound:
    @pytest.mark.parametrize(
        ("call", "value", "result"),
        [
            ("round(x)", 2.5, 3.0),
            ("round(x)", -2.5, -2.0),
            ("round(x)", 2.4, 2.0),
            ("round(x, 0.1)", 2.35, 2.4),
            ("round(x, 0.1)", 0.25, 0.3),
            ("round(x, 5)", 12.0, 10.0),
            ("round(x, -3)", 4.0, 3.0),
        ],
    )
    def test_to_the_nearest_multiple_ties_upwards(self, call: str, value: float, result: float) -> None:
        assert of(call, value) == pytest.approx(result)

    def test_by_the_inverse_a_tenth_is_exact(self) -> None:
        # 3 · 0.1 is 0.30000000000000004, but 3 / 10 is 0.3.
        assert of("round(x, 0.1)", 0.31) == 0.3

    @pytest.mark.parametrize("nearest", ["0", "NaN"])
    def test_to_nothing_is_nan(self, nearest: str) -> None:
        assert math.isnan(of(f"round(x, {nearest})", 2.0))


class TestClamp:
    store = vector(('x{i="1"}', -5), ('x{i="2"}', 0.5), ('x{i="3"}', 9), ('x{i="4"}', NAN))

    def test_values_are_held_between_the_bounds(self) -> None:
        got = at("clamp(x, -1, 1)", self.store)
        assert (got["i=1"], got["i=2"], got["i=3"]) == (-1.0, 0.5, 1.0)
        assert math.isnan(got["i=4"])
        assert at("clamp_min(x, 0)", self.store)["i=1"] == 0.0
        assert at("clamp_max(x, 0)", self.store)["i=3"] == 0.0

    def test_bounds_that_exclude_each_other_leave_nothing(self) -> None:
        assert at("clamp(x, 1, -1)", self.store) == {}

    def test_they_are_looked_at_step_by_step(self) -> None:
        store = [series("x", every(60_000, [5, 5, 5])), series("low", every(60_000, [0, 9, 0]))]
        got = evaluate_one("clamp(x, scalar(low), 6)", store, TimeRange(0, 120_000, 60_000))
        assert isinstance(got, Frame)
        assert got.present.tolist() == [[True, False, True]]

    def test_infinity_beats_nan_and_nan_the_rest(self) -> None:
        assert of("clamp_min(x, Inf)", NAN) == INF
        assert of("clamp_max(x, -Inf)", NAN) == -INF
        assert math.isnan(of("clamp_min(x, NaN)", 1.0))
        assert of("clamp(x, NaN, Inf)", INF) == INF

    def test_zeros_are_told_apart(self) -> None:
        assert same(of("clamp_min(x, 0)", -0.0), 0.0)
        assert same(of("clamp_max(x, -0)", 0.0), -0.0)


def test_names_are_dropped() -> None:
    for call in ("abs(x)", "round(x)", "clamp(x, 0, 1)", "sgn(x)", "deg(x)"):
        assert list(at(call, vector(('x{a="1"}', 1)))) == ["a=1"]


def test_the_larger_and_the_smaller_of_two_scalars() -> None:
    assert value_at("vector(max_of(1, 2))") == 2.0
    assert value_at("vector(min_of(1, 2))") == 1.0
    assert math.isnan(value_at("vector(max_of(1, NaN))"))
    assert value_at("vector(max_of(Inf, NaN))") == INF

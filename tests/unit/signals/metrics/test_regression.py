"""deriv, predict_linear and double_exponential_smoothing against numbers worked out by hand or by a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from federation_core.errors import QueryExecutionError
from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame
from tests.support.instants import at, counter, value_at
from tests.support.sample_store import evaluate_one, every, series

NAN, INF = float("nan"), float("inf")


class TestLines:
    def test_the_slope_is_that_of_the_line_of_least_squares(self) -> None:
        # 0, 3, 3 at 0 s, 10 s, 20 s: Σ(x - x̄)(y - ȳ) / Σ(x - x̄)² = 30/200.
        assert value_at("deriv(x[1m])", counter(0, 3, 3), 20) == pytest.approx(0.15)

    def test_the_prediction_is_made_from_the_evaluation_time(self) -> None:
        store = counter(0, 10, 20, 30)
        assert value_at("predict_linear(x[1m], 10)", store, 35) == pytest.approx(45)
        assert value_at("predict_linear(x[1m] offset 20s, 10)", store, 50) == pytest.approx(60)
        assert value_at("predict_linear(x[1m] @ 30, 10)", store, 95) == pytest.approx(105)

    def test_every_step_predicts_by_its_own_distance(self) -> None:
        got = evaluate_one(
            "predict_linear(x[1m] @ 30, time())", counter(0, 10, 20, 30), TimeRange(40_000, 60_000, 20_000)
        )
        assert isinstance(got, Frame)
        assert got.values == pytest.approx(np.array([[80.0, 120.0]]))

    def test_one_value_many_times_has_no_slope_at_all(self) -> None:
        # Least squares of 0.1 would give -2.2e-18.
        assert value_at("deriv(x[1m])", counter(0.1, 0.1, 0.1), 30) == 0
        assert value_at("predict_linear(x[1m], 1e9)", counter(0.1, 0.1, 0.1), 30) == 0.1

    def test_infinity_many_times_has_no_line(self) -> None:
        for value in (INF, -INF, NAN):
            assert math.isnan(value_at("deriv(x[2m])", counter(value, value), 60))
            assert math.isnan(value_at("predict_linear(x[2m], 5)", counter(value, value), 60))

    @pytest.mark.parametrize("text", ["deriv(x[10s])", "predict_linear(x[10s], 5)"])
    def test_one_sample_has_no_line(self, text: str) -> None:
        assert at(text, counter(1, 2), 10) == {}

    def test_a_late_time_loses_nothing(self) -> None:
        start_ms = 1_700_000_000_000
        store = [series("x", every(15_000, [1e6 + 0.25 * i for i in range(100)], start_ms))]
        assert value_at("deriv(x[30m])", store, start_ms / 1000 + 1500) == pytest.approx(0.25 / 15, rel=1e-9)

    def test_lines_equal_a_plain_fit(self) -> None:
        rng = np.random.default_rng(4)
        times = np.unique(rng.integers(0, 600_000, 120))
        values = rng.normal(size=len(times))
        store = [series("x", list(zip(times.tolist(), values.tolist(), strict=True)))]
        asked = TimeRange(100_000, 600_000, 25_000)
        slopes, predictions = (evaluate_one(t, store, asked) for t in ("deriv(x[90s])", "predict_linear(x[90s], 7)"))
        assert isinstance(slopes, Frame)
        assert isinstance(predictions, Frame)
        for step, now in enumerate(slopes.grid.times_ms.tolist()):
            inside = (times > now - 90_000) & (times <= now)
            slope, height = np.polyfit((times[inside] - now) / 1000, values[inside], 1)
            assert slopes.values[0, step] == pytest.approx(slope, rel=1e-9)
            assert predictions.values[0, step] == pytest.approx(height + 7 * slope, rel=1e-9)


class TestSmoothing:
    @staticmethod
    def smoothed(values: list[float], s: float, t: float) -> float:
        level, trend = values[0], values[1] - values[0]
        for value in values[1:]:
            before, level = level, s * value + (1 - s) * (level + trend)
            trend = t * (level - before) + (1 - t) * trend
        return level

    def test_a_line_is_followed(self) -> None:
        assert value_at("double_exponential_smoothing(x[1m], 0.01, 0.1)", counter(0, 10, 20, 30), 30) == pytest.approx(
            30
        )

    def test_two_samples_end_at_the_second(self) -> None:
        assert value_at("double_exponential_smoothing(x[1m], 0.5, 0.1)", counter(4, 10), 30) == 10

    def test_windows_equal_a_plain_loop(self) -> None:
        values = np.random.default_rng(8).normal(size=60).tolist()
        got = evaluate_one(
            "double_exponential_smoothing(x[2m], 0.3, 0.2)", counter(*values), TimeRange(60_000, 590_000, 70_000)
        )
        assert isinstance(got, Frame)
        for step, now in enumerate(got.grid.times_ms.tolist()):
            inside = [value for i, value in enumerate(values) if now - 120_000 < i * 10_000 <= now]
            assert got.values[0, step] == self.smoothed(inside, 0.3, 0.2)

    def test_factors_may_be_others_at_every_step(self) -> None:
        values = [3.0, 1.0, 4.0, 1.0, 5.0]
        got = evaluate_one(
            "double_exponential_smoothing(x[1h], time() / 100, time() / 200)",
            counter(*values),
            TimeRange(40_000, 60_000, 20_000),
        )
        assert isinstance(got, Frame)
        assert got.values.tolist() == [[self.smoothed(values, 0.4, 0.2), self.smoothed(values, 0.6, 0.3)]]

    def test_one_sample_has_no_trend(self) -> None:
        assert at("double_exponential_smoothing(x[10s], 0.5, 0.5)", counter(1, 2), 10) == {}

    @pytest.mark.parametrize(
        ("factors", "error"),
        [
            ("0, 0.5", "invalid smoothing factor. Expected: 0 < sf < 1, got: 0.000000"),
            ("0.5, 1", "invalid trend factor. Expected: 0 < tf < 1, got: 1.000000"),
            ("Inf, -Inf", "invalid smoothing factor. Expected: 0 < sf < 1, got: +Inf"),
        ],
    )
    def test_a_factor_outside_its_range_is_an_error_where_there_are_samples(self, factors: str, error: str) -> None:
        with pytest.raises(QueryExecutionError) as caught:
            at(f"double_exponential_smoothing(x[10s], {factors})", counter(1), 0)
        assert caught.value.message == error
        assert at(f"double_exponential_smoothing(x[10s], {factors})", [], 0) == {}

    def test_a_factor_that_is_nan_makes_nan(self) -> None:
        assert math.isnan(value_at("double_exponential_smoothing(x[1m], NaN, 0.5)", counter(1, 2), 10))

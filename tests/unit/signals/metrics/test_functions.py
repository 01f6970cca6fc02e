"""The functions, each against numbers worked out by hand or by a plain loop."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest

from federation_core.errors import QueryExecutionError
from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame
from tests.support.sample_store import STALE, Series, evaluate_one, every, federate, series

NAN, INF = float("nan"), float("inf")


def at(text: str, store: Sequence[Series], time_s: float) -> dict[str, float]:
    """Return what an instant query answers: labels in short → value."""
    frame = evaluate_one(text, store, TimeRange(0, round(time_s * 1000)))
    assert isinstance(frame, Frame)
    rows = zip(frame.labels, frame.values[:, 0].tolist(), frame.present[:, 0].tolist(), strict=True)
    return {",".join(f"{k}={v}" for k, v in labels): value for labels, value, there in rows if there}


def value_at(text: str, store: Sequence[Series], time_s: float) -> float:
    (value,) = at(text, store, time_s).values()
    return value


def counter(*values: float | None, step_s: int = 10) -> list[Series]:
    return [series("x", every(step_s * 1000, values))]


class TestRate:
    def test_samples_that_reach_the_edges_are_extrapolated_to_them(self) -> None:
        # 10, 20, 30 at 10 s, 20 s, 30 s in (0 s, 30 s]: the left edge is one distance away, 20 · 30/20 = 30.
        assert value_at("increase(x[30s])", counter(0, 10, 20, 30), 30) == 30
        assert value_at("rate(x[30s])", counter(0, 10, 20, 30), 30) == 1

    def test_a_far_edge_is_extrapolated_by_half_a_sample_distance(self) -> None:
        # 1010 … 1030 at 100 s … 120 s in (0 s, 160 s]: both edges are far: 20 · (20 + 5 + 5)/20.
        store = [series("x", [(100_000, 1010.0), (110_000, 1020.0), (120_000, 1030.0)])]
        assert value_at("increase(x[160s])", store, 160) == 30

    def test_the_edge_counts_as_near_below_a_tenth_more_than_the_distance(self) -> None:
        near = [series("x", [(10_999, 1000.0), (20_999, 1010.0), (30_999, 1020.0)])]
        far = [series("x", [(11_000, 1000.0), (21_000, 1010.0), (31_000, 1020.0)])]
        assert value_at("increase(x[31s])", near, 31) == pytest.approx(20 * (20 + 10.999 + 0.001) / 20)
        assert value_at("increase(x[31s])", far, 31) == pytest.approx(20 * (20 + 5) / 20)

    def test_a_counter_is_not_extrapolated_below_zero(self) -> None:
        # 2 at 10 s, 22 at 20 s: zero was crossed at 9 s, so only 1 s is added on the left.
        assert value_at("increase(x[20s])", [series("x", [(10_000, 2.0), (20_000, 22.0)])], 20) == 20 * (10 + 1) / 10

    def test_delta_of_a_gauge_has_no_zero_to_stop_at(self) -> None:
        assert value_at("delta(x[20s])", [series("x", [(10_000, 2.0), (20_000, 22.0)])], 20) == 40
        assert value_at("delta(x[20s])", [series("x", [(10_000, 22.0), (20_000, 2.0)])], 20) == -40

    def test_every_reset_adds_what_the_counter_had_reached(self) -> None:
        # 100 → 5 and 20 → 1: 4 - 90 + 100 + 20 = 34 over 50 s of 60 s.
        store = counter(None, 90, 100, 5, 20, 1, 4)
        assert value_at("increase(x[60s])", store, 60) == pytest.approx(34 * (50 + 10) / 50)

    def test_a_reset_outside_the_window_does_not_count(self) -> None:
        assert value_at("increase(x[20s])", counter(50, 1, 2, 3), 30) == pytest.approx(1 * (10 + 10) / 10)

    def test_a_fall_between_two_series_is_no_reset(self) -> None:
        store = [series('x{a="1"}', every(10_000, [1000, 1010, 1020])), series('x{a="2"}', every(10_000, [0, 1, 2]))]
        assert at("increase(x[20s])", store, 20) == {"a=1": 20.0, "a=2": pytest.approx(1 * (10 + 10) / 10)}

    def test_one_sample_has_no_rate(self) -> None:
        assert at("rate(x[10s])", counter(0, 10, 20), 20) == {}

    def test_stale_markers_are_not_samples(self) -> None:
        assert value_at("increase(x[30s])", counter(0, 10, float(STALE), 30), 30) == pytest.approx(20 * (20 + 10) / 20)

    def test_many_resets_equal_a_plain_loop(self) -> None:
        rng = np.random.default_rng(3)
        values = rng.integers(0, 100, 200).astype(np.float64)
        got = evaluate_one("increase(x[5m])", counter(*values.tolist()), TimeRange(600_000, 1_990_000, 70_000))
        assert isinstance(got, Frame)
        for j, time_ms in enumerate(got.grid.times_ms.tolist()):
            inside = [i for i in range(200) if time_ms - 300_000 < i * 10_000 <= time_ms]
            change, previous = values[inside[-1]] - values[inside[0]], values[inside[0]]
            for i in inside[1:]:
                change += previous if values[i] < previous else 0.0
                previous = values[i]
            sampled = (inside[-1] - inside[0]) * 10.0
            right = time_ms / 1000 - inside[-1] * 10.0
            left = min((inside[0] * 10_000 - (time_ms - 300_000)) / 1000, sampled * values[inside[0]] / change)
            assert got.values[0, j] == pytest.approx(change * (sampled + left + right) / sampled, rel=1e-12)

    def test_irate_looks_at_the_last_two_samples(self) -> None:
        assert value_at("irate(x[1m])", counter(0, 100, 103), 25) == 0.3

    def test_irate_of_a_reset_counts_from_zero(self) -> None:
        assert value_at("irate(x[1m])", counter(0, 100, 3), 25) == 0.3


class TestOverTime:
    store = counter(1, NAN, 5, 3, None, 2)

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("count_over_time(x[1h])", 5.0),
            ("min_over_time(x[1h])", 1.0),
            ("max_over_time(x[1h])", 5.0),
            ("last_over_time(x[1h])", 2.0),
            ("present_over_time(x[1h])", 1.0),
            ("sum_over_time(x[35s])", 10.0),
            ("avg_over_time(x[25s])", 2.5),
            ("stdvar_over_time(x[35s])", 14 / 9),
            ("stddev_over_time(x[35s])", math.sqrt(14 / 9)),
            ("quantile_over_time(0.5, x[35s])", 3.0),
            ("quantile_over_time(0.25, x[35s])", 2.5),
            ("quantile_over_time(2, x[35s])", INF),
            ("quantile_over_time(-1, x[35s])", -INF),
        ],
    )
    def test_value(self, text: str, value: float) -> None:
        assert value_at(text, self.store, 50) == pytest.approx(value)

    def test_nan_is_part_of_a_sum(self) -> None:
        assert math.isnan(value_at("sum_over_time(x[1h])", self.store, 50))
        assert math.isnan(value_at("avg_over_time(x[1h])", self.store, 50))

    def test_the_extremes_of_nothing_but_nan_are_nan(self) -> None:
        assert math.isnan(value_at("max_over_time(x[1h])", counter(NAN, NAN), 50))

    def test_nan_sorts_below_every_number_in_a_quantile(self) -> None:
        assert math.isnan(value_at("quantile_over_time(0, x[1h])", self.store, 50))
        assert value_at("quantile_over_time(0.5, x[1h])", self.store, 50) == 2.0
        assert value_at("quantile_over_time(1, x[1h])", self.store, 50) == 5.0

    def test_quantiles_of_many_long_windows_take_bounded_memory(self) -> None:
        store = [series("x", every(1000, [float(i % 7) for i in range(4000)]))]
        tracemalloc.start()
        evaluate_one("quantile_over_time(0.5, x[2000s])", store, TimeRange(2_000_000, 3_999_000, 1000))
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # Side by side the windows would be 4 million values of 8 bytes, several times over.
        assert peak_bytes < 64 << 20

    def test_sums_keep_small_terms_beside_large_ones(self) -> None:
        assert value_at("sum_over_time(x[1h])", counter(1e100, 1, -1e100), 50) == 1.0
        assert value_at("avg_over_time(x[1h])", counter(1e100, 3, -1e100), 50) == 1.0

    def test_an_average_survives_a_sum_beyond_float64(self) -> None:
        assert value_at("avg_over_time(x[1h])", counter(1.7e308, 1.7e308, 1.7e308), 50) == pytest.approx(1.7e308)
        assert value_at("avg_over_time(x[1h])", counter(1, INF, 2), 50) == INF
        assert math.isnan(value_at("avg_over_time(x[1h])", counter(INF, -INF), 50))

    def test_variance_of_large_close_numbers_is_not_lost(self) -> None:
        assert value_at("stdvar_over_time(x[1h])", counter(1e9 + 1, 1e9 + 2, 1e9 + 3), 50) == pytest.approx(2 / 3)

    def test_only_last_over_time_keeps_the_name(self) -> None:
        assert list(at("last_over_time(x[1h])", self.store, 50)) == ["__name__=x"]
        assert list(at("max_over_time(x[1h])", self.store, 50)) == [""]

    def test_windows_of_many_lengths_equal_a_plain_loop(self) -> None:
        rng = np.random.default_rng(9)
        store = []
        for i, count in enumerate([1, 2, 5, 40, 90]):
            times = np.unique(rng.integers(0, 600_000, count)).tolist()
            store.append(series(f'x{{i="{i}"}}', [(t, float(rng.normal())) for t in times]))
        asked = TimeRange(60_000, 600_000, 20_000)
        plain = {
            "sum_over_time": math.fsum,
            "avg_over_time": lambda v: math.fsum(v) / len(v),
            "stdvar_over_time": np.var,
            "min_over_time": min,
            "max_over_time": max,
        }
        for name, function in plain.items():
            got = evaluate_one(f"{name}(x[100s])", store, asked)
            assert isinstance(got, Frame)
            for labels, row, present in zip(got.labels, got.values, got.present, strict=True):
                _, times, values = next(s for s in store if s[0].get("i") == labels.get("i"))
                for j, end in enumerate(got.grid.times_ms.tolist()):
                    inside = [v for t, v in zip(times, values, strict=True) if end - 100_000 < t <= end]
                    assert present[j] == bool(inside)
                    if inside:
                        assert row[j] == pytest.approx(function(inside), rel=1e-12, abs=1e-12)


class TestHistogramQuantile:
    @staticmethod
    def of(*pairs: tuple[str, float]) -> list[Series]:
        return [series(f'b_bucket{{le="{le}"}}', [(0, v)]) for le, v in pairs]

    def quantile(self, q: str, *pairs: tuple[str, float]) -> float:
        return value_at(f"histogram_quantile({q}, b_bucket)", self.of(*pairs), 0)

    def test_a_quantile_is_interpolated_within_its_bucket(self) -> None:
        assert self.quantile("0.5", ("1", 10), ("2", 20), ("+Inf", 20)) == 1.0
        assert self.quantile("0.75", ("1", 10), ("2", 20), ("+Inf", 20)) == 1.5
        assert self.quantile("0.25", ("1", 10), ("2", 20), ("+Inf", 20)) == 0.5

    def test_above_the_last_bound_the_answer_is_that_bound(self) -> None:
        assert self.quantile("0.99", ("1", 10), ("2", 10), ("+Inf", 20)) == 2.0

    def test_a_first_bucket_below_zero_answers_its_bound(self) -> None:
        assert self.quantile("0.1", ("-1", 10), ("2", 20), ("+Inf", 20)) == -1.0

    @pytest.mark.parametrize(("q", "value"), [("-0.1", -INF), ("1.1", INF)])
    def test_quantiles_outside_their_range_are_infinite(self, q: str, value: float) -> None:
        assert self.quantile(q, ("1", 10), ("+Inf", 10)) == value

    @pytest.mark.parametrize(
        ("q", "pairs"),
        [
            ("NaN", [("1", 10), ("+Inf", 10)]),
            ("0.5", [("1", 10), ("2", 20)]),
            ("0.5", [("+Inf", 10)]),
            ("0.5", [("1", 0), ("+Inf", 0)]),
        ],
        ids=["NaN", "no +Inf", "one bucket", "no observations"],
    )
    def test_there_is_no_quantile(self, q: str, pairs: list[tuple[str, float]]) -> None:
        assert math.isnan(self.quantile(q, *pairs))

    def test_equal_bounds_in_two_spellings_are_one_bucket(self) -> None:
        assert self.quantile("0.5", ("1", 5), ("1.0", 5), ("2", 20), ("+Inf", 20)) == 1.0

    def test_falling_counts_are_repaired_and_said(self) -> None:
        assert self.quantile("0.9", ("1", 10), ("2", 8), ("4", 20), ("+Inf", 20)) == pytest.approx(
            2 + 2 * (18 - 10) / 10
        )
        _, warnings = federate(
            "histogram_quantile(0.9, b_bucket)", {"dev": self.of(("1", 10), ("2", 8), ("+Inf", 20))}, TimeRange(0, 0)
        )
        assert warnings == ("input to histogram_quantile needed to be fixed for monotonicity",)
        _, warnings = federate(
            "histogram_quantile(0.9, sum by (le) (b_bucket))",
            {"dev": self.of(("1", 10), ("2", 8), ("+Inf", 20))},
            TimeRange(0, 0),
        )
        assert warnings == ("input to histogram_quantile needed to be fixed for monotonicity",)

    def test_rounding_errors_in_counts_are_not_repairs(self) -> None:
        _, warnings = federate(
            "histogram_quantile(0.9, sum by (le) (b_bucket))",
            {"dev": self.of(("1", 10), ("2", 10 * (1 - 1e-14)), ("+Inf", 20))},
            TimeRange(0, 0),
        )
        assert warnings == ()

    def test_series_without_a_readable_bound_are_left_out_and_said(self) -> None:
        store = [*self.of(("1", 10), ("2", 20), ("+Inf", 20), ("many", 7)), series("b_bucket", [(0, 3)])]
        payload, warnings = federate(
            "histogram_quantile(0.75, sum by (le) (b_bucket))", {"dev": store}, TimeRange(0, 0)
        )
        assert isinstance(payload, Frame)
        assert payload.values.tolist() == [[1.5]]
        assert warnings == ('bucket label "le" is missing or has a malformed value in 2 series, left out',)

    def test_a_bucket_that_is_absent_at_a_step_is_not_there_at_that_step(self) -> None:
        store = [
            series('b_bucket{le="1"}', [(0, 10)]),
            series('b_bucket{le="2"}', [(0, 20), (600_000, 20)]),
            series('b_bucket{le="+Inf"}', [(0, 20), (600_000, 20)]),
        ]
        got = evaluate_one("histogram_quantile(0.25, b_bucket)", store, TimeRange(0, 600_000, 600_000))
        assert isinstance(got, Frame)
        assert got.values.tolist() == [[0.5, 0.5]]
        got = evaluate_one("histogram_quantile(0.75, b_bucket)", store, TimeRange(0, 600_000, 600_000))
        assert isinstance(got, Frame)
        assert got.values.tolist() == [[1.5, 1.5]]

    def test_two_metrics_that_become_one_histogram_are_an_error(self) -> None:
        store = [series(f'{name}{{le="{le}"}}', [(0, 1)]) for name in ("a_bucket", "b_bucket") for le in ("1", "+Inf")]
        with pytest.raises(QueryExecutionError, match="same labelset"):
            at('histogram_quantile(0.5, {__name__=~".*_bucket"})', store, 0)

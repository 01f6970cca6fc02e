"""The functions, each against numbers worked out by hand or by a plain loop."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest

from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame
from tests.support.sample_store import STALE, Series, evaluate_one, every, series

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

"""The `*_over_time` functions, each against numbers worked out by hand or by a plain loop."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from federation_core.labels import Labels
from federation_core.query import TimeRange
from federation_core.signals.metrics.expr import Call
from federation_core.signals.metrics.frame import Frame, Grid, SampleColumns
from federation_core.signals.metrics.functions import FUNCTIONS
from federation_core.signals.metrics.functions.contract import Context
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.windows import windows_of
from tests.support.instants import at, counter, said_at, value_at
from tests.support.sample_store import evaluate_one, every, series

NAN, INF = float("nan"), float("inf")


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

    def test_the_quantile_of_one_very_long_window_takes_one_copy_of_it(self) -> None:
        count, grid = 2_000_000, Grid(2_000_000, 0, 1)
        columns = SampleColumns.of([(Labels(), np.arange(count), np.sin(np.arange(count)))])
        windows = windows_of(columns, grid, count + 1)
        call = parse(f"quantile_over_time(0.5, x[{count + 1}ms])")
        assert isinstance(call, Call)
        context = Context(grid, call, print, print, lambda: None, print, print)
        tracemalloc.start()
        FUNCTIONS["quantile_over_time"].apply([Frame.scalar(grid, 0.5), windows], context)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak_bytes < 1.1 * 8 * count

    def test_sums_keep_small_terms_beside_large_ones(self) -> None:
        assert value_at("sum_over_time(x[1h])", counter(1e100, 1, -1e100), 50) == 1.0
        assert value_at("avg_over_time(x[1h])", counter(1e100, 3, -1e100), 50) == 1.0

    def test_an_average_survives_a_sum_beyond_float64(self) -> None:
        assert value_at("avg_over_time(x[1h])", counter(1.7e308, 1.7e308, 1.7e308), 50) == pytest.approx(1.7e308)
        assert value_at("avg_over_time(x[1h])", counter(1, INF, 2), 50) == INF
        assert math.isnan(value_at("avg_over_time(x[1h])", counter(INF, -INF), 50))

    def test_variance_of_large_close_numbers_is_not_lost(self) -> None:
        assert value_at("stdvar_over_time(x[1h])", counter(1e9 + 1, 1e9 + 2, 1e9 + 3), 50) == pytest.approx(2 / 3)

    def test_only_samples_themselves_keep_the_name(self) -> None:
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

    def test_first_over_time_is_the_oldest_sample_and_keeps_the_name(self) -> None:
        assert at("first_over_time(x[35s])", self.store, 50) == {"__name__=x": 5.0}
        assert math.isnan(value_at("first_over_time(x[45s])", self.store, 50))

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("ts_of_first_over_time(x[45s])", 10.0),
            ("ts_of_last_over_time(x[45s] offset 5s)", 30.0),
            ("ts_of_max_over_time(x[1h])", 20.0),
            ("ts_of_min_over_time(x[1h])", 0.0),
        ],
    )
    def test_the_time_of_a_sample(self, text: str, seconds: float) -> None:
        assert at(text, self.store, 50) == {"": seconds}

    def test_the_time_of_an_extreme_is_that_of_the_latest_equal_sample(self) -> None:
        store = counter(NAN, 3, 1, 3, NAN, 1, 2)
        assert value_at("ts_of_max_over_time(x[1h])", store, 60) == 30
        assert value_at("ts_of_min_over_time(x[1h])", store, 60) == 50
        assert value_at("ts_of_min_over_time(x[1h])", counter(NAN, NAN), 60) == 10

    def test_mad_is_the_median_distance_from_the_median(self) -> None:
        # The median of 1, 2, 4, 8, 100 is 4; the distances are 3, 2, 0, 4, 96.
        assert value_at("mad_over_time(x[1h])", counter(8, 1, 4, 100, 2), 50) == 3
        # 1, 2, 4, 8: 3; 2, 1, 1, 5: 1.5.
        assert value_at("mad_over_time(x[1h])", counter(8, 1, 4, 2), 50) == 1.5

    def test_nothing_deviates_from_nan(self) -> None:
        assert math.isnan(value_at("mad_over_time(x[1h])", counter(1, 2, NAN, 4), 50))
        assert math.isnan(value_at("mad_over_time(x[1h])", counter(1, INF, INF), 50))

    def test_the_variance_of_one_value_many_times_is_zero(self) -> None:
        assert value_at("stdvar_over_time(x[1h])", counter(*[1.5990505637277868] * 30), 300) == 0

    def test_a_mean_with_an_infinite_sample_outlives_a_sum_beyond_float64(self) -> None:
        assert value_at("avg_over_time(x[1h])", counter(1.7e308, 1.7e308, -INF), 50) == -INF
        assert value_at("avg_over_time(x[1h])", counter(1.7e308, 1.7e308, -1.7e308), 50) == pytest.approx(1.7e308 / 3)

    def test_the_quantile_may_be_another_at_every_step(self) -> None:
        store = counter(0, 1, 2, 3, 4)
        got = evaluate_one("quantile_over_time(time() / 100, x[1h])", store, TimeRange(20_000, 100_000, 80_000))
        assert isinstance(got, Frame)
        # A fifth of the way from 0 to 2, then all of the way to 4.
        assert got.values.tolist() == [[0.4, 4.0]]

    def test_a_spread_beyond_float64_is_infinite(self) -> None:
        assert value_at("stdvar_over_time(x[1h])", counter(1e200, -1e200), 50) == INF
        assert math.isnan(value_at("stdvar_over_time(x[1h])", counter(1, INF), 50))

    @pytest.mark.parametrize(("quantile", "spelled"), [("2", "2"), ("-0.25", "-0.25"), ("NaN", "NaN"), ("Inf", "+Inf")])
    def test_a_quantile_outside_its_range_is_said(self, quantile: str, spelled: str) -> None:
        text = f"quantile_over_time({quantile}, x[1h])"
        warning = f"PromQL warning: quantile value should be between 0 and 1, got {spelled}"
        assert said_at(text, counter(1), 50) == (warning,)
        assert said_at(text, [], 50) == ()

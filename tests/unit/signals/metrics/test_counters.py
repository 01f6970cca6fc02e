"""rate and its relatives, each against numbers worked out by hand or by a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame
from tests.support.instants import at, counter, said_at, value_at
from tests.support.sample_store import STALE, evaluate_one, every, series

NAN = float("nan")


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

    def test_a_counter_that_begins_below_zero_has_no_zero_to_stop_at(self) -> None:
        assert value_at("increase(x[20s])", [series("x", [(10_000, -2.0), (20_000, 8.0)])], 20) == 20

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

    def test_a_window_with_more_falls_than_rises_adds_them_all(self) -> None:
        # 300 falls of one series are added in pieces. From 3 to 2100 in 600 s: zero was crossed 600 · 3/2100 s before.
        values = [7.0 if i % 2 else 3.0 for i in range(601)]
        assert value_at("increase(x[601s])", counter(*values, step_s=1), 600) == pytest.approx(2100 + 3)

    def test_idelta_is_the_difference_of_the_last_two_samples(self) -> None:
        assert value_at("idelta(x[1m])", counter(0, 100, 103), 25) == 3
        assert value_at("idelta(x[1m])", counter(0, 100, 3), 25) == -97

    @pytest.mark.parametrize("function", ["rate", "increase", "delta", "irate", "idelta"])
    def test_one_sample_has_no_change(self, function: str) -> None:
        assert at(f"{function}(x[10s])", counter(0, 10, 20), 20) == {}


class TestCountedChanges:
    def test_resets_counts_falls(self) -> None:
        assert value_at("resets(x[1m])", counter(1, 2, 1, 1, 5, 0), 50) == 2
        assert value_at("resets(x[20s])", counter(1, 2, 1, 1, 5, 0), 40) == 0

    def test_changes_counts_values_unlike_the_one_before(self) -> None:
        assert value_at("changes(x[1m])", counter(1, 2, 2, 1, 1, 5), 50) == 3

    def test_nan_after_nan_is_no_change_and_no_reset(self) -> None:
        assert value_at("changes(x[1m])", counter(NAN, NAN, 1, NAN), 50) == 2
        assert value_at("resets(x[1m])", counter(5, NAN, 1, 0), 50) == 1

    def test_one_sample_has_changed_nothing(self) -> None:
        assert value_at("changes(x[10s])", counter(0, 10, 20), 20) == 0
        assert value_at("resets(x[10s])", counter(0, 10, 20), 20) == 0

    def test_a_fall_between_two_series_counts_for_neither(self) -> None:
        store = [series('x{a="1"}', every(10_000, [9, 9])), series('x{a="2"}', every(10_000, [1, 1]))]
        assert at("changes(x[20s])", store, 10) == {"a=1": 0.0, "a=2": 0.0}
        assert at("resets(x[20s])", store, 10) == {"a=1": 0.0, "a=2": 0.0}


class TestWhatIsSaidOfCounters:
    @staticmethod
    def info(name: str) -> str:
        return f'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "{name}"'

    @pytest.mark.parametrize("function", ["rate", "increase"])
    def test_a_rate_of_what_is_not_named_like_a_counter_is_said(self, function: str) -> None:
        store = [series(f'{name}{{a="{a}"}}', every(10_000, [1, 2])) for name in ("up", "y_total") for a in "12"]
        assert said_at(f'{function}({{__name__=~"up|y_total"}}[20s])', store[:2], 10) == (self.info("up"),)
        assert said_at(f"{function}(y_total[20s])", store, 10) == ()

    @pytest.mark.parametrize("function", ["delta", "irate", "idelta", "resets", "changes"])
    def test_of_no_other_function_it_is_said(self, function: str) -> None:
        assert said_at(f"{function}(x[20s])", counter(1, 2), 10) == ()

    def test_nothing_is_said_of_series_without_a_result_or_a_name(self) -> None:
        assert said_at("rate(x[20s])", counter(1), 10) == ()
        assert said_at("rate((-x)[20s:10s])", counter(1, 2), 10) == ()
        assert at("rate((-x)[20s:10s])", counter(1, 2), 10) != {}

"""Which samples a step sees: left-open windows, five minutes of lookback, stale markers."""

from __future__ import annotations

import numpy as np
import pytest

from federation_core.labels import Labels
from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame, Grid, SampleColumns
from federation_core.signals.metrics.windows import latest, windows_of
from tests.support.sample_store import STALE, as_dict, evaluate_one, every, series

A, B = Labels.of({"a": "1"}), Labels.of({"a": "2"})


def test_a_window_is_open_on_the_left_and_closed_on_the_right() -> None:
    columns = SampleColumns.of([(A, [1000, 2000, 3000], [1.0, 2.0, 3.0])])
    windows = windows_of(columns, Grid(2000, 1000, 2), 1000, 0)
    assert windows.counts.tolist() == [[1, 1]]
    assert columns.values[windows.first].tolist() == [[2.0, 3.0]]


def test_windows_never_reach_into_the_next_series() -> None:
    columns = SampleColumns.of([(A, [1000, 2000], [1.0, 2.0]), (B, [500], [5.0]), (B, [], []), (A, [9000], [9.0])])
    windows = windows_of(columns, Grid(0, 1000, 11), 10_000, 0)
    assert windows.counts.tolist() == [
        [0, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2],
        [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        [0] * 11,
        [0] * 9 + [1, 1],
    ]


def test_an_offset_moves_the_window_back() -> None:
    columns = SampleColumns.of([(A, [1000, 2000, 3000], [1.0, 2.0, 3.0])])
    windows = windows_of(columns, Grid(5000, 0, 1), 1000, 3000)
    assert columns.values[windows.first].tolist() == [[2.0]]
    assert windows.holding(1).times_ms.tolist() == [2000]


def test_windows_equal_a_search_for_every_series_and_step() -> None:
    rng = np.random.default_rng(5)
    rows = []
    for i in range(20):
        t = np.unique(rng.integers(-50_000, 900_000, rng.integers(0, 60)))
        rows.append((Labels.of({"i": str(i)}), t, t.astype(np.float64)))
    columns = SampleColumns.of(rows)
    for grid, window, offset in [
        (Grid(0, 7000, 90), 31_000, 0),
        (Grid(-9, 1, 5), 1, -4),
        (Grid(400_000, 0, 1), 10**6, 7),
    ]:
        windows = windows_of(columns, grid, window, offset)
        for row, (_, t, _) in enumerate(rows):
            times = grid.times_ms - offset
            want = np.searchsorted(t, times, "right") - np.searchsorted(t, times - window, "right")
            assert windows.counts[row].tolist() == want.tolist()


def test_the_latest_sample_is_seen_for_less_than_five_minutes() -> None:
    columns = SampleColumns.of([(A, [0], [7.0])])
    assert latest(columns, Grid(299_999, 1, 2), 0).present.tolist() == [[True, False]]


def test_a_stale_marker_ends_a_series_until_its_next_sample() -> None:
    columns = SampleColumns.of([(A, [0, 10_000, 20_000], [1.0, STALE, 3.0])])
    frame = latest(columns, Grid(0, 10_000, 3), 0)
    assert frame.present.tolist() == [[True, False, True]]


def test_an_ordinary_nan_is_a_value() -> None:
    frame = latest(SampleColumns.of([(A, [0], [float("nan")])]), Grid(0, 0, 1), 0)
    assert frame.present.tolist() == [[True]]
    assert np.isnan(frame.values[0, 0])


def test_a_series_that_no_step_sees_is_not_in_the_vector() -> None:
    columns = SampleColumns.of([(A, [0], [1.0]), (B, [900_000], [2.0])])
    assert latest(columns, Grid(1000, 0, 1), 0).labels == (A,)


@pytest.mark.parametrize(
    "function",
    [
        "increase({})",
        "changes({})",
        "sum_over_time({})",
        "ts_of_max_over_time({})",
        "mad_over_time({})",
        "quantile_over_time(0.3, {})",
        "quantile_over_time(time() / 1000, {})",
        "deriv({})",
        "predict_linear({}, 60)",
        "double_exponential_smoothing({}, 0.5, 0.5)",
        "double_exponential_smoothing({}, time() / 1000, 0.5)",
        "absent_over_time({})",
    ],
)
def test_a_pinned_window_gives_every_step_what_an_instant_gives(function: str) -> None:
    store = [
        series(f'x{{i="{i}"}}', every(10_000, [float((7 * j) % (5 + i)) for j in range(3 + 20 * i)])) for i in range(3)
    ]
    for pinned in ("x[2m] @ 150 offset 10s", "x[2m:7s] @ 150", "x[2m] @ 900"):
        text = function.format(pinned)
        over = evaluate_one(text, store, TimeRange(100_000, 700_000, 100_000))
        assert isinstance(over, Frame)
        for step, at_ms in enumerate(over.grid.times_ms.tolist()):
            here = Grid(at_ms, 0, 1)
            column = Frame(
                over.labels, here, over.values[:, step : step + 1], over.present[:, step : step + 1]
            ).pruned()
            assert as_dict(column) == as_dict(evaluate_one(text, store, TimeRange(at_ms, at_ms)))

"""Long windows: cut into pieces they give what they give in one, in few steps, and can be given up."""

from __future__ import annotations

import math

import numpy as np
import pytest

from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Floats, Frame, Ints
from federation_core.signals.metrics.functions.runs import Runs, compensated
from tests.support.instants import value_at
from tests.support.sample_store import Series, evaluate_one, every, series

COUNT = 5000
VALUES = np.random.default_rng(2).normal(1e6, 3, COUNT)
STORE: list[Series] = [series("x", every(1000, VALUES.tolist()))]
WINDOW = f"x[{COUNT}s]"
#: A second and a third series, so that windows of very unlike lengths are taken together.
MIXED = [
    *STORE,
    series('x{a="1"}', every(1000, VALUES[:7].tolist(), 4_990_000)),
    series('x{a="2"}', [(4_999_000, 4.0)]),
]


def runs(*counts: int) -> Runs:
    lengths = np.array(counts)
    return Runs.of(np.cumsum(lengths) - lengths, lengths)


def test_runs_are_taken_from_the_longest_to_the_shortest() -> None:
    assert [(p, places.tolist()) for p, places in runs(1, 3, 2).positions()] == [(0, [1, 4, 0]), (1, [2, 5]), (2, [3])]


def test_pieces_hold_every_place_once() -> None:
    many = runs(1000, 3, 401, 1, 32, 33)
    cut = many.cut()
    seen = [cut.pieces.first[i] + np.arange(cut.pieces.counts[i]) for i in range(len(cut.pieces))]
    assert sorted(np.concatenate(seen).tolist()) == list(range(1470))
    assert cut.pieces.longest == 32
    ordered = cut.in_order(cut.pieces.first)
    for number, (first, count) in enumerate(zip(cut.runs.first, cut.runs.counts, strict=True)):
        of_run = ordered[first : first + count]
        assert of_run[0] == many.first[number]
        assert (np.diff(of_run) == 32).all()
        assert (cut.of[first : first + count] == number).all()


@pytest.mark.parametrize("counts", [(5000,), (3, 5000, 1, 700), (300,) * 20])
def test_sums_of_pieces_are_exact_sums(counts: tuple[int, ...]) -> None:
    many = runs(*counts)
    values = np.random.default_rng(1).normal(size=sum(counts)) * 10.0 ** np.random.default_rng(1).integers(
        -8, 8, sum(counts)
    )
    totals, errors = compensated(many, lambda places, _: values[places])
    for number, (first, count) in enumerate(zip(many.first, many.counts, strict=True)):
        assert totals[number] + errors[number] == pytest.approx(math.fsum(values[first : first + count]), rel=1e-15)


def test_a_term_knows_the_run_of_every_place() -> None:
    many = runs(3, 5000, 1, 700)
    totals, _ = compensated(many, lambda places, of: 10.0**of)
    assert totals.tolist() == [5000, 7000, 300, 1000]


def test_a_long_run_is_added_up_in_few_steps() -> None:
    steps = []

    def term(places: Ints, of: Ints) -> Floats:
        steps.append(len(places))
        return np.ones(len(places))

    totals, _ = compensated(runs(1_000_000, 10, 10), term)
    assert totals.tolist() == [1_000_000, 10, 10]
    assert len(steps) == 1000


def test_a_sum_of_pieces_that_leaves_float64_stays_infinite() -> None:
    values = np.full(1000, 1e308)
    with np.errstate(over="ignore", invalid="ignore"):
        totals, errors = compensated(runs(1000), lambda places, _: values[places])
    assert (totals + errors).tolist() == [math.inf]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (f"sum_over_time({WINDOW})", math.fsum(VALUES)),
        (f"avg_over_time({WINDOW})", math.fsum(VALUES) / COUNT),
        (f"stdvar_over_time({WINDOW})", float(np.var(VALUES))),
        (f"max_over_time({WINDOW})", float(VALUES.max())),
        (f"ts_of_max_over_time({WINDOW})", float(VALUES.argmax())),
        (f"ts_of_min_over_time({WINDOW})", float(VALUES.argmin())),
        (f"quantile_over_time(0.3, {WINDOW})", float(np.quantile(VALUES, 0.3))),
        (f"mad_over_time({WINDOW})", float(np.median(np.abs(VALUES - np.median(VALUES))))),
        (f"deriv({WINDOW})", float(np.polyfit(np.arange(COUNT), VALUES - 1e6, 1)[0])),
        (f"predict_linear({WINDOW}, 60)", float(np.polyval(np.polyfit(np.arange(COUNT), VALUES - 1e6, 1), 5059)) + 1e6),
        (f"resets({WINDOW})", float((np.diff(VALUES) < 0).sum())),
    ],
)
@pytest.mark.parametrize("store", [STORE, MIXED], ids=["alone", "beside short ones"])
def test_a_long_window_gives_what_numpy_gives(text: str, want: float, store: list[Series]) -> None:
    got = evaluate_one(text, store, TimeRange(0, 4_999_000))
    assert isinstance(got, Frame)
    assert got.values[0, 0] == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize(("smoothing", "trend"), [(0.5, 0.1), (0.01, 0.99), (0.001, 0.001)])
def test_a_long_window_is_smoothed_as_by_a_plain_loop(smoothing: float, trend: float) -> None:
    level, slope = VALUES[0], VALUES[1] - VALUES[0]
    for value in VALUES[1:]:
        before, level = level, smoothing * value + (1 - smoothing) * (level + slope)
        slope = trend * (level - before) + (1 - trend) * slope
    text = f"double_exponential_smoothing({WINDOW}, {smoothing}, {trend})"
    assert value_at(text, STORE, 4999) == pytest.approx(level, rel=1e-9)


def test_nan_and_infinity_go_through_pieces() -> None:
    for odd, wanted in ((math.nan, math.nan), (math.inf, math.inf)):
        values = VALUES.copy()
        values[1234] = odd
        store = [series("x", every(1000, values.tolist()))]
        for text in (f"sum_over_time({WINDOW})", f"avg_over_time({WINDOW})"):
            assert value_at(text, store, 4999) == pytest.approx(wanted, nan_ok=True)
        for text in (f"stdvar_over_time({WINDOW})", f"deriv({WINDOW})"):
            assert math.isnan(value_at(text, store, 4999))
        assert math.isnan(value_at(f"double_exponential_smoothing({WINDOW}, 0.5, 0.5)", store, 4999))


def test_long_windows_are_given_up_once_nobody_waits() -> None:
    class Gone(Exception):
        pass

    def leave() -> None:
        raise Gone

    for lengths in ((3, 2), (100_000,)):
        with pytest.raises(Gone):
            list(Runs.of(np.zeros(len(lengths), dtype=np.int64), np.array(lengths), leave).positions())

"""The histogram_* functions over classic histograms, against numbers worked out by hand."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Sequence

import pytest

from federation_core.errors import QueryExecutionError, QueryTooLarge
from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame
from federation_core.tenancy import Limits
from tests.support.instants import at, said_at, value_at
from tests.support.sample_store import Series, answer_one, evaluate_one, every, series

NAN, INF = float("nan"), float("inf")
Pairs = Sequence[tuple[str, float]]


def histogram(*pairs: tuple[str, float], name: str = "b_bucket") -> list[Series]:
    return [series(f'{name}{{le="{le}"}}', [(0, count)]) for le, count in pairs]


def quantile(q: str, *pairs: tuple[str, float]) -> float:
    return value_at(f"histogram_quantile({q}, b_bucket)", histogram(*pairs))


def fraction(lower: str, upper: str, *pairs: tuple[str, float]) -> float:
    return value_at(f"histogram_fraction({lower}, {upper}, b_bucket)", histogram(*pairs))


class TestQuantile:
    def test_a_quantile_is_interpolated_within_its_bucket(self) -> None:
        assert quantile("0.5", ("1", 10), ("2", 20), ("+Inf", 20)) == 1.0
        assert quantile("0.75", ("1", 10), ("2", 20), ("+Inf", 20)) == 1.5
        assert quantile("0.25", ("1", 10), ("2", 20), ("+Inf", 20)) == 0.5

    def test_above_the_last_bound_the_answer_is_that_bound(self) -> None:
        assert quantile("0.99", ("1", 10), ("2", 10), ("+Inf", 20)) == 2.0

    def test_a_first_bucket_not_above_zero_answers_its_bound(self) -> None:
        assert quantile("0.1", ("-1", 10), ("2", 20), ("+Inf", 20)) == -1.0
        assert quantile("0.1", ("0", 10), ("2", 20), ("+Inf", 20)) == 0.0

    @pytest.mark.parametrize(("q", "value"), [("-0.1", -INF), ("1.1", INF)])
    def test_quantiles_outside_their_range_are_infinite(self, q: str, value: float) -> None:
        # Out of range, not even a missing +Inf bucket matters.
        assert quantile(q, ("1", 10), ("2", 10)) == value

    @pytest.mark.parametrize(
        ("q", "pairs"),
        [
            ("NaN", [("1", 10), ("+Inf", 10)]),
            ("0.5", [("1", 10), ("2", 20)]),
            ("0.5", [("+Inf", 10)]),
            ("0.5", [("1", 0), ("+Inf", 0)]),
            ("0.5", [("-1", 0), ("+Inf", 0)]),
        ],
        ids=["NaN", "no +Inf", "one bucket", "no observations", "no observations below zero"],
    )
    def test_there_is_no_quantile(self, q: str, pairs: Pairs) -> None:
        assert math.isnan(quantile(q, *pairs))

    def test_equal_bounds_in_two_spellings_are_one_bucket(self) -> None:
        assert quantile("0.5", ("1", 5), ("1.0", 5), ("2", 20), ("+Inf", 20)) == 1.0
        assert math.isnan(quantile("0.5", ("+Inf", 5), ("+inf", 5)))

    def test_unlike_layouts_of_two_series_do_not_meet(self) -> None:
        store = [
            *(series(f'x_bucket{{a="1",le="{le}"}}', [(0, n)]) for le, n in [("1", 10), ("2", 20), ("+Inf", 20)]),
            *(series(f'x_bucket{{a="2",le="{le}"}}', [(0, n)]) for le, n in [("4", 10), ("+Inf", 10)]),
        ]
        assert at("histogram_quantile(0.75, x_bucket)", store) == {"a=1": 1.5, "a=2": 3.0}

    def test_the_quantile_may_change_from_step_to_step(self) -> None:
        store = [
            series(f'b_bucket{{le="{le}"}}', every(60_000, [n] * 3)) for le, n in [("1", 10), ("2", 20), ("+Inf", 20)]
        ]
        got = evaluate_one(
            "histogram_quantile(scalar(q), b_bucket)",
            [*store, series("q", every(60_000, [0.25, 0.75, 2]))],
            TimeRange(0, 120_000, 60_000),
        )
        assert isinstance(got, Frame)
        assert got.values.tolist() == [[0.5, 1.5, INF]]

    def test_a_bucket_that_is_absent_at_a_step_is_not_there_at_that_step(self) -> None:
        store = [
            series('b_bucket{le="1"}', [(0, 10)]),
            series('b_bucket{le="2"}', [(0, 20), (600_000, 20)]),
            series('b_bucket{le="+Inf"}', [(0, 20), (600_000, 20)]),
        ]
        for q, values in [("0.25", [0.5, 0.5]), ("0.75", [1.5, 1.5])]:
            got = evaluate_one(f"histogram_quantile({q}, b_bucket)", store, TimeRange(0, 600_000, 600_000))
            assert isinstance(got, Frame)
            assert got.values.tolist() == [values]

    def test_two_metrics_that_become_one_histogram_are_an_error(self) -> None:
        store = [*histogram(("1", 1), ("+Inf", 1), name="a_bucket"), *histogram(("1", 1), ("+Inf", 1))]
        with pytest.raises(QueryExecutionError, match="vector cannot contain metrics with the same labelset"):
            at('histogram_quantile(0.5, {__name__=~".*_bucket"})', store)

    def test_where_nan_breaks_the_order_the_search_ends_as_prometheus_does(self) -> None:
        # Halving 0…3 looks at bucket 1 first, whose NaN is below everything, and never at bucket 0.
        assert math.isnan(quantile("0.1", ("1", 10), ("2", NAN), ("3", 20), ("+Inf", 20)))
        assert quantile("0.5", ("1", 1), ("+Inf", NAN)) == 1.0
        assert quantile("0.5", ("1", NAN), ("+Inf", 3)) == 1.0


class TestQuantiles:
    store = histogram(("1", 10), ("2", 20), ("+Inf", 20))

    def test_every_quantile_is_a_series(self) -> None:
        assert at('histogram_quantiles(b_bucket, "q", 0, 0.25, 0.75, 1)', self.store) == {
            "q=0.0": 0.0,
            "q=0.25": 0.5,
            "q=0.75": 1.5,
            "q=1.0": 2.0,
        }

    def test_quantiles_out_of_range_are_answered_and_told(self) -> None:
        got = at('histogram_quantiles(b_bucket, "q", -1, 1e6, NaN)', self.store)
        assert list(got) == ["q=-1.0", "q=1e+06", "q=NaN"]
        assert got["q=-1.0"] == -INF
        assert len(said_at('histogram_quantiles(b_bucket, "q", -1, 1e6, NaN)', self.store)) == 3

    def test_a_quantile_that_changes_has_a_series_for_each_value(self) -> None:
        store = [
            series(f'b_bucket{{le="{le}"}}', every(60_000, [n] * 3)) for le, n in [("1", 10), ("2", 20), ("+Inf", 20)]
        ]
        got = evaluate_one(
            'histogram_quantiles(b_bucket, "q", scalar(q))',
            [*store, series("q", every(60_000, [0.25, 0.75, 0.25]))],
            TimeRange(0, 120_000, 60_000),
        )
        assert isinstance(got, Frame)
        assert [labels.get("q") for labels in got.labels] == ["0.25", "0.75"]
        assert got.present.tolist() == [[True, False, True], [False, True, False]]
        assert got.values[got.present].tolist() == [0.5, 0.5, 1.5]

    def test_a_label_that_told_series_apart_is_an_error_to_overwrite(self) -> None:
        store = [series(f'b_bucket{{a="{a}",le="{le}"}}', [(0, 1)]) for a in "xy" for le in ("1", "+Inf")]
        with pytest.raises(QueryExecutionError, match="same labelset"):
            at('histogram_quantiles(b_bucket, "a", 0.5)', store)

    def test_the_same_quantile_twice_is_an_error(self) -> None:
        with pytest.raises(QueryExecutionError, match="same labelset"):
            at('histogram_quantiles(b_bucket, "q", 0.5, 0.5)', self.store)

    def test_series_of_ever_new_quantiles_are_refused_before_they_are_made(self) -> None:
        text = 'histogram_quantiles(b_bucket, "q", scalar(vector(time())))'
        store = [series(f'b_bucket{{le="{le}"}}', every(60_000, [1] * 1000)) for le in ("1", "+Inf")]
        tracemalloc.start()
        with pytest.raises(QueryTooLarge):
            answer_one(text, store, TimeRange(0, 999 * 60_000, 60_000), limits=Limits(max_values=500_000))
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # They would be 1,000 series of 1,000 steps, 8 MB.
        assert peak_bytes < 4 << 20


class TestFraction:
    pairs: Pairs = (("1", 1), ("2", 3), ("3", 6), ("+Inf", 100))

    @pytest.mark.parametrize(
        ("lower", "upper", "value"),
        [
            ("0", "1.5", 0.02),
            ("0.5", "2", 0.025),
            ("1", "3", 0.05),
            ("2", "5", 0.03),
            ("4", "5", 0.0),
            ("400", "+Inf", 0.94),
            ("-Inf", "+Inf", 1.0),
            ("-10", "-5", 0.0),
            ("2", "2", 0.0),
            ("3", "2", 0.0),
            ("NaN", "1", NAN),
            ("1", "NaN", NAN),
        ],
    )
    def test_of_positive_bounds(self, lower: str, upper: str, value: float) -> None:
        assert fraction(lower, upper, *self.pairs) == pytest.approx(value, nan_ok=True)

    @pytest.mark.parametrize(
        ("lower", "upper", "value"), [("-4", "-2", 0.02), ("-Inf", "-1.5", 0.135), ("0", "1", 0.0), ("-Inf", "-4", 0.1)]
    )
    def test_of_negative_bounds(self, lower: str, upper: str, value: float) -> None:
        assert fraction(lower, upper, ("-3", 10), ("-2", 12), ("-1", 15), ("+Inf", 100)) == pytest.approx(value)

    def test_a_bucket_at_minus_infinity_counts_from_there(self) -> None:
        assert fraction("-Inf", "-5", ("-Inf", 2), ("0", 6), ("+Inf", 10)) == pytest.approx(0.6)

    def test_there_is_no_fraction_without_observations_or_infinity(self) -> None:
        assert math.isnan(fraction("0", "1", ("1", 0), ("+Inf", 0)))
        assert math.isnan(fraction("1", "0", ("1", 0), ("+Inf", 0)))
        assert math.isnan(fraction("0", "1", ("1", 5), ("2", 5)))

    def test_a_bucket_above_the_total_counts_as_the_total(self) -> None:
        assert fraction("0", "1.5", ("1", 30), ("2", 50), ("+Inf", 20)) == 1.0


def test_functions_of_native_histograms_find_none() -> None:
    for name in ("avg", "count", "sum", "stddev", "stdvar"):
        assert at(f"histogram_{name}(b_bucket)", histogram(("1", 10), ("+Inf", 20))) == {}

"""The histogram_* functions over classic histograms, against numbers worked out by hand or by a plain loop."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest

from federation_core.errors import QueryExecutionError, QueryTooLarge
from federation_core.query import TimeRange
from federation_core.signals.metrics.expr import Call
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.functions import buckets
from federation_core.signals.metrics.functions.buckets import Histograms, bound_of
from federation_core.signals.metrics.functions.contract import Context
from federation_core.signals.metrics.functions.monotonicity import rising
from federation_core.tenancy import Limits
from tests.support.instants import at, said_at, value_at
from tests.support.sample_store import Series, answer_one, evaluate_one, every, series

NAN, INF = float("nan"), float("inf")
MONOTONICITY = (
    "PromQL info: input to histogram_quantile needed to be fixed for monotonicity "
    "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
)
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
        ],
        ids=["NaN", "no +Inf", "one bucket", "no observations"],
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


class TestRepairs:
    def test_falling_counts_are_repaired_and_told(self) -> None:
        falling = [("1", 10), ("2", 8), ("4", 20), ("+Inf", 20)]
        assert quantile("0.9", *falling) == pytest.approx(2 + 2 * (18 - 10) / 10)
        assert said_at("histogram_quantile(0.9, b_bucket)", histogram(*falling)) == (
            f"{MONOTONICITY}, from buckets 2 to 2, with a max diff of 2, "
            "over 1 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:00:00Z",
        )

    def test_repairs_of_all_series_and_steps_are_told_once(self) -> None:
        pairs = [("0.5", [10, 5, 7]), ("1", [8, 5, 6]), ("2", [20, 20, 6]), ("+Inf", [20, 20, 20])]
        store = [series(f'b_bucket{{a="{a}",le="{le}"}}', every(60_000, counts)) for a in "xy" for le, counts in pairs]
        (told,) = answer_one("histogram_quantile(0.9, b_bucket)", store, TimeRange(0, 120_000, 60_000))[1]
        assert told.removeprefix(MONOTONICITY) == (
            ", from buckets 1 to 2, with a max diff of 2, "
            "over 4 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:02:00Z"
        )

    def test_a_repair_names_the_metric_where_names_are_dropped_last(self) -> None:
        store = histogram(("1", 10), ("2", 8), ("+Inf", 20))
        _, (told,) = answer_one("histogram_quantile(0.9, b_bucket)", store, TimeRange(0, 0), delayed_names=True)
        assert told.startswith(f'{MONOTONICITY} for metric name "b_bucket", from')

    @pytest.mark.parametrize("q", ["-1", "2", "NaN"])
    def test_what_no_quantile_was_computed_of_is_not_told(self, q: str) -> None:
        (told,) = said_at(f"histogram_quantile({q}, b_bucket)", histogram(("1", 10), ("2", 8), ("+Inf", 20)))
        assert "quantile value should be between 0 and 1" in told

    def test_rounding_errors_are_no_falls(self) -> None:
        rounded = histogram(("1", 10), ("2", 10 * (1 - 1e-14)), ("+Inf", 20))
        assert said_at("histogram_quantile(0.9, b_bucket)", rounded) == ()

    def test_a_rise_by_a_rounding_error_is_no_rise(self) -> None:
        # The rank 10 · (1 + 1e-14) would lie in the second bucket if its count were taken.
        count = 10 * (1 + 1e-14)
        assert quantile(repr(count / 20), ("1", 10), ("2", count), ("3", 20), ("+Inf", 20)) > 2.0
        assert quantile("0.5", ("1", 10), ("2", count), ("3", 20), ("+Inf", 20)) == 1.0

    def test_any_counts_rise_as_one_loop_makes_them(self) -> None:
        rng = np.random.default_rng(17)
        used = rng.integers(1, 12, 400)
        counts = rng.integers(0, 8, used.sum()) * (1 + rng.integers(-2, 3, used.sum()) * 3e-13)
        counts[rng.random(len(counts)) < 0.03] = NAN
        first = np.cumsum(used) - used
        every_one = np.arange(len(used))
        histograms = Histograms(every_one, np.zeros_like(used), first, used, np.zeros(len(counts)), counts)
        grid = Grid(0, 0, 1)
        nobody = Context(grid, Call("histogram_quantile", ()), print, print, lambda: None, lambda values: None)
        got, falls = rising(histograms, nobody)
        for start, end in zip(first.tolist(), (first + used).tolist(), strict=True):
            before = counts[start]
            for i in range(start + 1, end):
                equal = before == counts[i] or abs(before - counts[i]) < 1e-12 * (abs(before) + abs(counts[i]))
                fell = not equal and counts[i] < before
                assert falls[i] == (before - counts[i] if fell else 0)
                before = before if fell or equal else counts[i]
                assert got[i] == before or (np.isnan(got[i]) and np.isnan(before))


class TestBounds:
    @pytest.mark.parametrize(
        ("text", "bound"),
        [
            ("1", 1.0),
            ("1e0", 1.0),
            (".2", 0.2),
            ("-2.", -2.0),
            ("+Inf", INF),
            ("+infinity", INF),
            ("1_0", 10.0),
            ("0x1p3", 8.0),
        ],
    )
    def test_a_bound_is_a_number_as_go_reads_it(self, text: str, bound: float) -> None:
        assert bound_of(text) == bound

    @pytest.mark.parametrize(
        "text", ["", "many", " 1", "1 ", "1__0", "1e999", "-1e999", "٣", "0x1", "0x1p99999", "NaN"]
    )
    def test_anything_else_is_none(self, text: str) -> None:
        assert math.isnan(bound_of(text))

    def test_series_without_a_bound_are_left_out_and_told(self) -> None:
        store = [*histogram(("1", 10), ("2", 20), ("+Inf", 20), ("many", 7)), series("b_bucket", [(0, 3)])]
        assert at("histogram_quantile(0.75, b_bucket)", store) == {"": 1.5}
        malformed = 'PromQL warning: bucket label "le" is missing or has a malformed value of '
        assert said_at("histogram_quantile(0.75, b_bucket)", store) == (
            malformed + '"" for metric name "b_bucket"',
            malformed + '"many" for metric name "b_bucket"',
        )
        assert said_at("histogram_fraction(0, 1, sum by (le) (b_bucket))", store) == (
            malformed + '""',
            malformed + '"many"',
        )

    def test_nothing_but_malformed_bounds_is_an_empty_answer(self) -> None:
        assert at("histogram_quantile(0.75, b_bucket)", histogram(("many", 7))) == {}


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
        with pytest.raises(QueryTooLarge):
            answer_one(text, store, TimeRange(0, 999 * 60_000, 60_000), limits=Limits(max_values=500_000))


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


def _plain_quantile(q: float, pairs: list[tuple[float, float]]) -> float:
    bounds, counts = map(list, zip(*sorted(pairs), strict=True))
    if bounds[-1] != INF or len(bounds) < 2:
        return NAN
    counts = np.maximum.accumulate(counts).tolist()
    if counts[-1] == 0:
        return NAN
    rank = q * counts[-1]
    i = next((i for i, count in enumerate(counts) if count >= rank), len(counts) - 1)
    if i == len(counts) - 1:
        return bounds[-2]
    if i == 0 and bounds[0] <= 0:
        return bounds[0]
    start, under = (bounds[i - 1], counts[i - 1]) if i else (0.0, 0.0)
    share = np.float64(rank - under) / (counts[i] - under)
    return float(start + (bounds[i] - start) * share)


@pytest.mark.parametrize("block", [1_000_000, 50])
def test_histograms_of_many_sizes_equal_a_plain_loop(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "_BLOCK", block)
    rng = np.random.default_rng(11)
    store: list[Series] = []
    for group in range(12):
        bounds = np.unique(rng.integers(-5, 40, rng.integers(1, 25))).astype(float).tolist()
        for bound in [*bounds, INF] if group % 5 else bounds:
            le = "+Inf" if bound == INF else f"{bound:g}"
            points = [(t * 60_000, float(rng.integers(0, 50))) for t in range(20) if rng.random() > 0.2]
            store.append(series(f'b_bucket{{g="{group}",le="{le}"}}', points))
    store = [row for row in store if row[1]]
    asked = TimeRange(0, 19 * 60_000, 60_000)
    data, _ = answer_one("b_bucket", store, asked)
    assert isinstance(data, Frame)
    for q in (0.1, 0.3, 0.9, 1.0):
        got = evaluate_one(f"histogram_quantile({q}, b_bucket)", store, asked)
        assert isinstance(got, Frame)
        for labels, row, present in zip(got.labels, got.values, got.present, strict=True):
            mine = [i for i, other in enumerate(data.labels) if other.get("g") == labels.get("g")]
            for step in range(20):
                pairs = [(float(data.labels[i].get("le")), data.values[i, step]) for i in mine if data.present[i, step]]
                assert present[step] == bool(pairs)
                if pairs:
                    assert row[step] == pytest.approx(_plain_quantile(q, pairs), nan_ok=True)


def test_one_histogram_of_many_buckets_costs_the_others_nothing() -> None:
    store = histogram(*((str(le), le) for le in range(1, 2000)), ("+Inf", 2000))
    store += [series(f'b_bucket{{g="{g}",le="{le}"}}', [(0, 1)]) for g in range(1000) for le in ("1", "+Inf")]
    answer_one("histogram_quantile(0.5, b_bucket)", store, TimeRange(0, 0))
    tracemalloc.start()
    answer_one("histogram_quantile(0.5, b_bucket)", store, TimeRange(0, 0))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Padded to the largest, the 1,001 histograms would be 2 million buckets, several times over.
    assert peak_bytes < 12 << 20

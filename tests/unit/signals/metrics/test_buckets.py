"""How bucket series become histograms: bounds, counts made to rise, many sizes behind one another."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from federation_core.query import TimeRange
from federation_core.signals.metrics.expr import Call
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.functions import buckets
from federation_core.signals.metrics.functions.buckets import Histograms, bound_of
from federation_core.signals.metrics.functions.contract import Context
from federation_core.signals.metrics.functions.monotonicity import rising
from tests.support.instants import at, said_at, value_at
from tests.support.sample_store import Series, answer_one, evaluate_one, every, series

NAN, INF = float("nan"), float("inf")
MONOTONICITY = (
    "PromQL info: input to histogram_quantile needed to be fixed for monotonicity "
    "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
)


def histogram(*pairs: tuple[str, float]) -> list[Series]:
    return [series(f'b_bucket{{le="{le}"}}', [(0, count)]) for le, count in pairs]


def quantile(q: str, *pairs: tuple[str, float]) -> float:
    return value_at(f"histogram_quantile({q}, b_bucket)", histogram(*pairs))


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
        nobody = Context(grid, Call("histogram_quantile", ()), print, print, lambda: None, print, print)
        with np.errstate(all="ignore"):
            got, falls = rising(histograms, nobody)
        for start, end in zip(first.tolist(), (first + used).tolist(), strict=True):
            before = counts[start]
            for i in range(start + 1, end):
                equal = before == counts[i] or abs(before - counts[i]) < 1e-12 * (abs(before) + abs(counts[i]))
                fell = not equal and counts[i] < before
                assert falls[i] == (before - counts[i] if fell else 0)
                before = before if fell or equal else counts[i]
                assert got[i] == before or (np.isnan(got[i]) and np.isnan(before))


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

"""Aggregation operators: values, groups, selections, parameters."""

from __future__ import annotations

import math
import statistics
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from federation_core.errors import QueryExecutionError, QueryTooLarge
from federation_core.labels import Labels
from federation_core.query import TimeRange
from federation_core.signals.metrics.compensated import sum_runs, two_sum
from federation_core.signals.metrics.count_values import count_values
from federation_core.signals.metrics.expr import Grouping
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.label_hash import hash_labels
from federation_core.signals.metrics.run import SampleStore
from federation_core.signals.metrics.session import Session
from federation_core.tenancy import Limits
from tests.support.instants import at, vector
from tests.support.ranges import over
from tests.support.sample_store import answer_one, as_dict, evaluate_one, every, federate, series

NAN, INF = float("nan"), float("inf")


class TestAggregation:
    store = vector(
        ('x{job="a",pod="1"}', 1), ('x{job="a",pod="2"}', 5), ('x{job="b",pod="3"}', NAN), ('x{job="b",pod="4"}', 7)
    )

    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ("sum by (job) (x)", {"job=a": 6.0, "job=b": NAN}),
            ("avg by (job) (x)", {"job=a": 3.0, "job=b": NAN}),
            ("min by (job) (x)", {"job=a": 1.0, "job=b": 7.0}),
            ("max by (job) (x)", {"job=a": 5.0, "job=b": 7.0}),
            ("count by (job) (x)", {"job=a": 2.0, "job=b": 2.0}),
            ("group by (job) (x)", {"job=a": 1.0, "job=b": 1.0}),
            ("stddev by (job) (x)", {"job=a": 2.0, "job=b": NAN}),
            ("stdvar by (job) (x)", {"job=a": 4.0, "job=b": NAN}),
            ("quantile by (job) (0.5, x)", {"job=a": 3.0, "job=b": NAN}),
            ("quantile by (job) (1, x)", {"job=a": 5.0, "job=b": 7.0}),
            ("count(x)", {"": 4.0}),
            ("count without (pod) (x)", {"job=a": 2.0, "job=b": 2.0}),
            ("count by (nosuch) (x)", {"": 4.0}),
            ("max without () (x)", {"job=a,pod=1": 1.0, "job=a,pod=2": 5.0, "job=b,pod=3": NAN, "job=b,pod=4": 7.0}),
            ("count by (__name__) (x)", {"__name__=x": 4.0}),
            ("topk(2, x)", {"__name__=x,job=b,pod=4": 7.0, "__name__=x,job=a,pod=2": 5.0}),
            ("bottomk(1, x)", {"__name__=x,job=a,pod=1": 1.0}),
            ("topk by (job) (1, x)", {"__name__=x,job=b,pod=4": 7.0, "__name__=x,job=a,pod=2": 5.0}),
            ("topk(1.9, x)", {"__name__=x,job=b,pod=4": 7.0}),
            ("topk(-1, x)", {}),
            ("limitk(1, x)", {"__name__=x,job=a,pod=1": 1.0}),
            ("limitk by (job) (1, x)", {"__name__=x,job=a,pod=1": 1.0, "__name__=x,job=b,pod=3": NAN}),
            ("limitk(0, x)", {}),
            ("sum(nosuch)", {}),
            ("quantile(0.5, nosuch)", {}),
        ],
    )
    def test_answer(self, text: str, answer: dict[str, float]) -> None:
        assert at(text, self.store) == pytest.approx(answer, nan_ok=True)

    def test_what_is_absent_at_a_step_is_not_aggregated_there(self) -> None:
        store = [series('x{a="1"}', every(600_000, [1, None, 3])), series('x{a="2"}', every(600_000, [None, None, 5]))]
        answers = {
            "sum": {0: 1.0, 1_200_000: 8.0},
            "avg": {0: 1.0, 1_200_000: 4.0},
            "count": {0: 1.0, 1_200_000: 2.0},
            "group": {0: 1.0, 1_200_000: 1.0},
            "stddev": {0: 0.0, 1_200_000: 1.0},
            "min": {0: 1.0, 1_200_000: 3.0},
        }
        for operator, answer in answers.items():
            assert over(f"{operator}(x)", store, 1_200_000, 600_000) == {"": answer}, operator
        assert over("quantile(1, x)", store, 1_200_000, 600_000) == {"": {0: 1.0, 1_200_000: 5.0}}

    def test_a_sum_keeps_small_terms_beside_large_ones(self) -> None:
        rows = vector(*((f'x{{i="{i}"}}', v) for i, v in enumerate([1e100, 1.0, -1e100, 1.0])))
        assert at("sum(x)", rows) == {"": 2.0}
        assert at("avg(x)", rows) == {"": 0.5}

    def test_an_average_survives_a_sum_beyond_float64(self) -> None:
        rows = vector(('x{i="1"}', 1.7e308), ('x{i="2"}', 1.7e308))
        assert at("avg(x)", rows) == {"": 1.7e308}
        assert at("sum(x)", rows) == {"": INF}

    def test_a_sum_that_overflows_both_ways_is_that_of_one_addition_after_the_other(self) -> None:
        rows = vector(*((f'x{{i="{i}"}}', v) for i, v in enumerate([1.7e308, 1.7e308, -1.7e308, -1.7e308])))
        assert at("sum(x)", rows) == {"": INF}
        assert at("avg(x)", rows) == {"": 0.0}

    def test_a_sum_beyond_float64_is_said(self) -> None:
        rows = vector(('x{i="1"}', 1.7e308)), vector(('x{i="2"}', 1.7e308))
        frame, warnings = federate("avg(x)", {"dev": rows[0], "prod": rows[1]}, TimeRange(0, 0))
        assert isinstance(frame, Frame)
        assert frame.values.tolist() == [[INF]]
        assert warnings == ("PromQL warning: a sum of finite values left the range of float64 and is infinite",)

    def test_the_sum_of_an_infinity_is_not_remarkable(self) -> None:
        _, warnings = federate("sum(x)", {"dev": vector(("x", INF)), "prod": vector(("x", 1))}, TimeRange(0, 0))
        assert warnings == ()

    def test_infinities_are_added_as_such(self) -> None:
        assert at("sum(x)", vector(('x{i="1"}', INF), ('x{i="2"}', 1))) == {"": INF}
        assert math.isnan(at("sum(x)", vector(('x{i="1"}', INF), ('x{i="2"}', -INF)))[""])


class TestCompensatedSum:
    def test_two_sum_finds_the_exact_rounding_error(self) -> None:
        with np.errstate(invalid="ignore"):
            total, error = two_sum(np.array([1e16, 1.0, INF]), np.array([1.0, 1e16, 1.0]))
        assert total.tolist() == [1e16, 1e16, INF]
        assert error.tolist() == [1.0, 1.0, 0.0]

    @pytest.mark.parametrize("seed", range(5))
    def test_runs_of_any_length_are_summed_exactly(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        sizes = rng.integers(1, 40, 12)
        values = rng.normal(size=(int(sizes.sum()), 3)) * 10.0 ** rng.integers(-8, 8, (int(sizes.sum()), 3))
        starts = np.cumsum(sizes) - sizes
        got = sum_runs(values, starts)
        for row, (start, size) in enumerate(zip(starts, sizes, strict=True)):
            for column in range(3):
                assert got[row, column] == math.fsum(values[start : start + size, column])


class TestDispersion:
    @pytest.mark.parametrize("value", [0.1, 1e300, -7.3, 1.7e9])
    def test_equal_values_have_no_variance_at_all(self, value: float) -> None:
        rows = vector(*((f'x{{i="{i}"}}', value) for i in range(7)))
        assert at("stdvar(x)", rows) == {"": 0.0}

    @pytest.mark.parametrize("strange", [NAN, INF, -INF])
    def test_nan_and_infinities_make_it_nan_wherever_they_stand(self, strange: float) -> None:
        for values in ([strange, 1, 2], [1, 2, strange], [strange]):
            rows = vector(*((f'x{{i="{i}"}}', v) for i, v in enumerate(values)))
            assert math.isnan(at("stddev(x)", rows)[""])

    @pytest.mark.parametrize("origin", [0.0, 1e9, -1e12])
    def test_small_distances_beside_a_large_mean_are_kept(self, origin: float) -> None:
        values = [origin + v for v in (0.25, 1.5, -3.0, 8.0, 0.0)]
        rows = vector(*((f'x{{i="{i}"}}', v) for i, v in enumerate(values)))
        exact = float(statistics.pvariance([Fraction(v) for v in values]))
        assert at("stdvar(x)", rows)[""] == pytest.approx(exact, rel=1e-14)

    @pytest.mark.parametrize("seed", range(3))
    def test_groups_of_unlike_sizes_with_gaps_have_numpys_deviations_and_quantiles(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        table = rng.normal(size=(40, 5))
        there = rng.random((40, 5)) < 0.7
        group = rng.integers(0, 6, 40)
        store = [
            series(
                f'x{{g="{group[i]}",i="{i}"}}', every(600_000, [v if t else None for v, t in zip(*row, strict=True)])
            )
            for i, row in enumerate(zip(table.tolist(), there.tolist(), strict=True))
        ]
        wanted: dict[str, dict[str, dict[int, float]]] = {"stddev": {}, "quantile": {}}
        for number in np.unique(group):
            for step in range(5):
                values = table[(group == number) & there[:, step], step]
                if len(values):
                    at_ms = step * 600_000
                    wanted["stddev"].setdefault(f"g={number}", {})[at_ms] = float(np.std(values))
                    wanted["quantile"].setdefault(f"g={number}", {})[at_ms] = float(np.quantile(values, 0.3))
        for text, answer in (("stddev by (g) (x)", "stddev"), ("quantile by (g) (0.3, x)", "quantile")):
            got = over(text, store, 2_400_000, 600_000)
            assert got.keys() == wanted[answer].keys()
            for key, row in wanted[answer].items():
                assert got[key] == pytest.approx(row, rel=1e-12, abs=1e-15)


class TestQuantile:
    store = vector(('x{i="1"}', 4), ('x{i="2"}', NAN), ('x{i="3"}', -INF), ('x{i="4"}', 2))

    @pytest.mark.parametrize(
        ("share", "answer"),
        [
            ("0", NAN),
            ("0.5", -INF),
            ("2 / 3", 2.0),
            ("5 / 6", 3.0),
            ("1", 4.0),
            ("-0.1", -INF),
            ("1.1", INF),
            ("NaN", NAN),
        ],
    )
    def test_nan_stands_before_every_other_value(self, share: str, answer: float) -> None:
        assert at(f"quantile({share}, x)", self.store) == pytest.approx({"": answer}, nan_ok=True)

    @pytest.mark.parametrize(("share", "shown"), [("-0.125", "-0.125"), ("1234567", "1.234567e+06"), ("NaN", "NaN")])
    def test_a_share_that_is_none_is_said_even_of_nothing(self, share: str, shown: str) -> None:
        _, said = answer_one(f"quantile({share}, nosuch)", self.store, TimeRange(0, 0))
        assert said == (f"PromQL warning: quantile value should be between 0 and 1, got {shown}",)

    def test_the_share_is_asked_for_at_every_step(self) -> None:
        store = [series(f'x{{i="{i}"}}', every(60_000, [i, i, i])) for i in range(3)]
        assert over("quantile(time() / 120, x)", store, 120_000, 60_000) == {"": {0: 0.0, 60_000: 1.0, 120_000: 2.0}}


class TestRanking:
    store = TestAggregation.store

    def test_nan_is_taken_last_by_topk_and_by_bottomk(self) -> None:
        for text in ("topk(4, x)", "bottomk(4, x)"):
            frame, _ = federate(text, {"dev": self.store}, TimeRange(0, 0))
            assert isinstance(frame, Frame)
            assert math.isnan(frame.values[-1, 0])

    def test_infinities_have_their_places(self) -> None:
        rows = vector(*((f'x{{i="{i}"}}', v) for i, v in enumerate([NAN, -INF, 0.0, INF, -1.5, 1e-320])))
        for text, want in (("topk(5, x)", [INF, 1e-320, 0.0, -1.5, -INF]), ("bottomk(2, x)", [-INF, -1.5])):
            frame, _ = answer_one(text, rows, TimeRange(0, 0))
            assert isinstance(frame, Frame)
            assert frame.values[:, 0].tolist() == want

    def test_topk_at_an_instant_is_listed_by_rank(self) -> None:
        frame, _ = federate("topk(3, x)", {"dev": self.store[:2], "prod": self.store[2:]}, TimeRange(0, 0))
        assert isinstance(frame, Frame)
        assert frame.values[:, 0].tolist() == [7.0, 5.0, 1.0]

    def test_ties_are_decided_by_label_set_with_cluster_last(self) -> None:
        # Compared with `cluster` in its place, {a} comes before {a, b} alone but after it beside a cluster.
        rows = vector(('x{a="1"}', 1), ('x{a="1",b="1"}', 1))
        stores = {"dev": rows, "prod": rows}
        for text in ("topk(3, x)", "bottomk(3, x)"):
            frame, _ = federate(text, stores, TimeRange(0, 0))
            assert isinstance(frame, Frame)
            got = [(labels.get("cluster"), labels.get("b")) for labels in frame.labels]
            assert got == [("dev", ""), ("prod", ""), ("dev", "1")]

    def test_ties_are_decided_alike_in_whatever_order_the_series_come(self) -> None:
        rows = vector(*((f'x{{i="{i}"}}', v) for i, v in enumerate([2, 1, 0.0, -0.0, 1, 2])))
        for text, want in (
            ("topk(3, x)", [0, 1, 5]),
            ("bottomk(3, x)", [1, 2, 3]),
            ("bottomk(1, x)", [2]),
            ("limitk(2, x)", [0, 1]),
        ):
            for store in (rows, rows[::-1], rows[3:] + rows[:3]):
                assert sorted(at(text, store)) == [f"__name__=x,i={i}" for i in want], text

    def test_topk_within_clusters_is_listed_by_rank_too(self) -> None:
        stores = {"dev": self.store[:2], "prod": self.store[2:]}
        frame, _ = federate("topk by (cluster) (2, x)", stores, TimeRange(0, 0))
        assert isinstance(frame, Frame)
        assert [labels.get("pod") for labels in frame.labels] == ["2", "1", "4", "3"]

    def test_topk_chooses_anew_at_every_step(self) -> None:
        store = [series('x{a="1"}', [(0, 1), (60_000, 9)]), series('x{a="2"}', [(0, 5), (60_000, 2)])]
        got = as_dict(evaluate_one("topk(1, x)", store, TimeRange(0, 60_000, 60_000)))
        assert {labels.get("a"): row for labels, row in got.items()} == {"1": {60_000: 9.0}, "2": {0: 5.0}}

    def test_k_is_asked_for_at_every_step(self) -> None:
        store = [series(f'x{{i="{i}"}}', every(60_000, [i] * 5)) for i in range(3)]
        for operator in ("topk", "bottomk", "limitk"):
            got = over(f"count({operator}(time() / 60 - 1, x))", store, 240_000, 60_000)
            assert got == {"": {120_000: 1.0, 180_000: 2.0, 240_000: 3.0}}

    @pytest.mark.parametrize("seed", range(3))
    def test_groups_with_gaps_and_ties_are_ranked_as_if_sorted(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        values = rng.integers(0, 5, (30, 4)).astype(float)
        there = rng.random((30, 4)) < 0.8
        names = [f'x{{g="{rng.integers(0, 5)}",i="{i:02}"}}' for i in range(30)]
        store = [
            series(name, every(600_000, [v if t else None for v, t in zip(*row, strict=True)]))
            for name, row in zip(names, zip(values.tolist(), there.tolist(), strict=True), strict=True)
        ]
        for operator, sign in (("topk", -1), ("bottomk", 1), ("limitk", 0)):
            got = over(f"{operator} by (g) (2, x)", store, 1_800_000, 600_000)
            wanted: dict[str, dict[int, float]] = {}
            for step in range(4):
                for number in range(5):
                    rows = [i for i in range(30) if there[i, step] and f'g="{number}"' in names[i]]
                    for i in sorted(rows, key=lambda i: (sign * values[i, step], names[i]))[:2]:
                        key = f"__name__=x,g={number},i={i:02}"
                        wanted.setdefault(key, {})[step * 600_000] = values[i, step]
            assert got == wanted, operator

    @pytest.mark.parametrize("operator", ["topk", "bottomk", "limitk"])
    @pytest.mark.parametrize(
        ("parameter", "words"),
        [
            ("NaN", "Parameter value is NaN"),
            ("1e300", r"Scalar value 1e\+300 overflows int64"),
            ("Inf", r"Scalar value \+Inf overflows int64"),
            ("9223372036854775807", r"Scalar value 9\.223372036854776e\+18 overflows int64"),
        ],
    )
    def test_a_parameter_that_is_no_integer_is_an_error_even_of_nothing(
        self, operator: str, parameter: str, words: str
    ) -> None:
        with pytest.raises(QueryExecutionError, match=f"^{words}$"):
            at(f"{operator}({parameter}, nosuch)", self.store)

    def test_a_parameter_below_every_integer_is_an_error_where_another_step_takes_any(self) -> None:
        assert at("topk(-Inf, x)", self.store) == {}
        store = [series("x", every(60_000, [1, 1]))]
        with pytest.raises(QueryExecutionError, match=r"^Scalar value -Inf underflows int64$"):
            over("topk(2 - 1 / (time() / 60), x)", store, 60_000, 60_000)


class TestLimitRatio:
    store = vector(*((f'x{{i="{i}"}}', i) for i in range(200)))

    def test_a_ratio_and_its_complement_share_nothing_and_miss_nothing(self) -> None:
        for ratio, complement in (("0.2", "-0.8"), ("0.5", "-0.5"), ("1", "0")):
            one, other = at(f"limit_ratio({ratio}, x)", self.store), at(f"limit_ratio({complement}, x)", self.store)
            assert len(one) + len(other) == 200
            assert one.keys().isdisjoint(other)

    def test_it_takes_about_its_share(self) -> None:
        assert 60 < len(at("limit_ratio(0.4, x)", self.store)) < 100

    def test_it_takes_by_the_hash_of_the_whole_label_set(self) -> None:
        hashes = hash_labels([labels for labels, _, _ in self.store])
        low = {f"__name__=x,i={i}" for i, value in enumerate(hashes.tolist()) if value / 2**64 < 0.3}
        assert at("limit_ratio(0.3, x)", self.store).keys() == low

    def test_a_ratio_beyond_one_is_capped_and_said(self) -> None:
        for ratio, capped in (("1.1", "1"), ("-1.5", "-1")):
            frame, said = answer_one(f"limit_ratio({ratio}, x)", self.store, TimeRange(0, 0))
            assert isinstance(frame, Frame)
            assert frame.series_count == 200
            assert said == (
                f"PromQL warning: ratio value should be between -1 and 1, got {ratio}, capping to {capped}",
            )

    def test_a_ratio_that_is_no_number_is_an_error_even_of_nothing(self) -> None:
        with pytest.raises(QueryExecutionError, match=r"^Ratio value is NaN$"):
            at("limit_ratio(NaN, nosuch)", self.store)


class TestLabelHash:
    @pytest.mark.parametrize(
        ("value", "hash_of_encoding"),
        [
            # As the package xxhash has them: a short text; stripes and a rest; a length that takes three bytes.
            ("bcd", 0x8630F0E23597C2B3),
            ("b" * 37, 0x428C70A77B3E0798),
            ("é" * 150, 0x0B13D94239024D83),
        ],
    )
    def test_it_is_xxh64_of_the_lengths_and_texts(self, value: str, hash_of_encoding: int) -> None:
        assert hash_labels([Labels.of({"a": value})]).tolist() == [hash_of_encoding]

    def test_rows_of_unlike_lengths_are_hashed_as_if_alone(self) -> None:
        rows = [Labels.of({"a": "x" * size, "b": str(size)}) for size in range(80)]
        assert hash_labels(rows).tolist() == [hash_labels([row])[0] for row in rows]


class TestCountValues:
    store = vector(
        ('v{i="1",job="a"}', 6), ('v{i="2",job="a"}', 6.5), ('v{i="3",job="b"}', 6), ('v{i="4",job="b"}', NAN)
    )

    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ('count_values("n", v)', {"n=6": 2.0, "n=6.5": 1.0, "n=NaN": 1.0}),
            (
                'count_values without (i) ("n", v)',
                {"job=a,n=6": 1.0, "job=a,n=6.5": 1.0, "job=b,n=6": 1.0, "job=b,n=NaN": 1.0},
            ),
            ('count_values by (job) ("job", v)', {"job=6": 2.0, "job=6.5": 1.0, "job=NaN": 1.0}),
            ('count_values without (i) ("job", v)', {"job=6": 2.0, "job=6.5": 1.0, "job=NaN": 1.0}),
            (
                'count_values without (n) ("n", v)',
                {"i=1,job=a": 1.0, "i=2,job=a": 1.0, "i=3,job=b": 1.0, "i=4,job=b": 1.0},
            ),
            ('count_values without (i, n) ("n", v)', {"job=a": 2.0, "job=b": 2.0}),
            ('count_values("__name__", v)', {"__name__=6": 2.0, "__name__=6.5": 1.0, "__name__=NaN": 1.0}),
            ('count_values without (i) ("__name__", v)', {"job=a": 2.0, "job=b": 2.0}),
            ('count_values("a b", v * 0)', {"a b=0": 3.0, "a b=NaN": 1.0}),
            ('count_values("n", nosuch)', {}),
        ],
    )
    def test_answer(self, text: str, answer: dict[str, float]) -> None:
        assert at(text, self.store) == answer

    def test_values_are_written_without_an_exponent(self) -> None:
        rows = vector(*((f'x{{i="{i}"}}', v) for i, v in enumerate([1e21, 1e-7, INF, -INF, -0.0, 123456789.0])))
        want = ["+Inf", "-0", "-Inf", "0.0000001", "1000000000000000000000", "123456789"]
        assert sorted(at('count_values("n", x)', rows)) == [f"n={value}" for value in want]

    def test_every_step_counts_its_own_values(self) -> None:
        store = [series('x{i="1"}', every(600_000, [1, 1, None])), series('x{i="2"}', every(600_000, [2, 1, None]))]
        assert over('count_values("n", x)', store, 1_200_000, 600_000) == {
            "n=1": {0: 1.0, 600_000: 2.0},
            "n=2": {0: 1.0},
        }

    def test_a_label_without_a_name_is_an_error_even_of_nothing(self) -> None:
        with pytest.raises(QueryExecutionError, match=r'^invalid label name ""$'):
            at('count_values("", nosuch)', self.store)

    def test_more_values_than_there_is_room_for_are_refused(self) -> None:
        store = [series("x", every(60_000, range(100)))]
        asked = TimeRange(0, 5_940_000, 60_000)
        with pytest.raises(QueryTooLarge):
            answer_one('count_values("n", x)', store, asked, limits=Limits(max_values=9_000))
        frame, _ = answer_one('count_values("n", x)', store, asked, limits=Limits(max_values=40_000))
        assert isinstance(frame, Frame)
        assert frame.series_count == 100

    def test_they_are_refused_once_so_many_were_seen(self) -> None:
        values = np.random.default_rng(1).random((4_000, 1_000))
        labels = tuple(Labels.of({"i": str(i)}) for i in range(len(values)))
        frame = Frame(labels, Grid(0, 1000, 1_000), values, np.ones(values.shape, dtype=np.bool_))
        session = Session(SampleStore("one"), Limits().max_values, lambda: None, False)
        tracemalloc.start()
        try:
            with pytest.raises(QueryTooLarge):
                count_values(frame, Grouping((), without=False), "n", session)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < values.nbytes

    def test_their_texts_take_room_too(self) -> None:
        # Three hundred digits each, and ten of a hundred such vectors are held at once.
        store = vector(*((f'x{{i="{i}"}}', 1e-300 * (i + 1)) for i in range(100)))
        operand = 'count_values("n", x)'
        answer_one(operand, store, TimeRange(0, 0), limits=Limits(max_values=10_000))
        with pytest.raises(QueryTooLarge):
            answer_one(" or ".join([operand] * 10), store, TimeRange(0, 0), limits=Limits(max_values=10_000))

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("clause", ["", "by (i)", "without (i)", "without (n)"])
    def test_it_counts_over_any_number_of_blocks(self, seed: int, clause: str, monkeypatch: pytest.MonkeyPatch) -> None:
        rng = np.random.default_rng(seed)
        store = []
        for i in range(7):
            values = rng.choice([0.0, -0.0, 1.0, NAN, INF], 6).tolist()
            there = (rng.random(6) < 0.7).tolist()
            points = every(600_000, [v if t else None for v, t in zip(values, there, strict=True)])
            store.append(series(f'x{{i="{i % 3}",j="{i}"}}', points))
        text = f'count_values {clause} ("n", x)'
        whole = over(text, store, 3_000_000, 600_000)
        monkeypatch.setattr("federation_core.signals.metrics.count_values._CELLS", 12)
        assert over(text, store, 3_000_000, 600_000) == whole
        assert sum(sum(row.values()) for row in whole.values()) == sum(len(times) for _, times, _ in store)


class TestDelayedNames:
    store = vector(('x_total{a="1"}', 1), ('y_total{a="1"}', 2), ('x_total{a="2"}', 3))

    def test_a_group_loses_its_name_if_any_of_its_series_would(self) -> None:
        for text, want in (
            ('sum by (__name__) ({__name__=~"._total"})', ["x_total", "y_total"]),
            ("sum by (__name__) (x_total or on (__name__) -y_total)", ["", "x_total"]),
            ('sum by (__name__) (x_total{a="1"} or -x_total{a="2"})', [""]),
            ('topk(5, -x_total{a="1"})', [""]),
            ('count_values by (__name__) ("n", -x_total{a="1"})', ["x_total"]),
        ):
            frame, _ = answer_one(text, self.store, TimeRange(0, 0), delayed_names=True)
            assert isinstance(frame, Frame)
            assert sorted(labels.get("__name__") for labels in frame.labels) == want, text

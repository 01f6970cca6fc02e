"""Aggregations, arithmetic, comparison and vector matching."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from federation_core.errors import QueryExecutionError
from federation_core.query import TimeRange
from federation_core.signals.metrics.compensated import sum_runs, two_sum
from federation_core.signals.metrics.frame import Frame
from tests.support.sample_store import Series, as_dict, evaluate_one, federate, series

NAN, INF = float("nan"), float("inf")


def vector(*rows: tuple[str, float]) -> list[Series]:
    return [series(text, [(0, value)]) for text, value in rows]


def at(text: str, store: Sequence[Series]) -> dict[str, float]:
    """Return what an instant query at 0 answers: labels in short → value."""
    frame = evaluate_one(text, store, TimeRange(0, 0))
    assert isinstance(frame, Frame)
    rows = zip(frame.labels, frame.values[:, 0].tolist(), frame.present[:, 0].tolist(), strict=True)
    return {",".join(f"{k}={v}" for k, v in labels): value for labels, value, there in rows if there}


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
            ("sum(nosuch)", {}),
        ],
    )
    def test_answer(self, text: str, answer: dict[str, float]) -> None:
        assert at(text, self.store) == pytest.approx(answer, nan_ok=True)

    def test_nan_is_taken_last_by_topk_and_by_bottomk(self) -> None:
        for text in ("topk(4, x)", "bottomk(4, x)"):
            frame, _ = federate(text, {"dev": self.store}, TimeRange(0, 0))
            assert isinstance(frame, Frame)
            assert math.isnan(frame.values[-1, 0])

    def test_topk_at_an_instant_is_listed_by_rank(self) -> None:
        frame, _ = federate("topk(3, x)", {"dev": self.store[:2], "prod": self.store[2:]}, TimeRange(0, 0))
        assert isinstance(frame, Frame)
        assert frame.values[:, 0].tolist() == [7.0, 5.0, 1.0]

    def test_ties_are_decided_by_label_set_with_cluster_last(self) -> None:
        # Compared with `cluster` in its place, {a} comes before {a, b} alone but after it beside a cluster.
        rows = vector(('x{a="1"}', 1), ('x{a="1",b="1"}', 1))
        stores = {"dev": rows, "prod": rows}
        frame, _ = federate("topk(3, x)", stores, TimeRange(0, 0))
        assert isinstance(frame, Frame)
        got = [(labels.get("cluster"), labels.get("b")) for labels in frame.labels]
        assert got == [("dev", ""), ("prod", ""), ("dev", "1")]

    def test_topk_within_clusters_is_listed_by_rank_too(self) -> None:
        frame, _ = federate(
            "topk by (cluster) (2, x)", {"dev": self.store[:2], "prod": self.store[2:]}, TimeRange(0, 0)
        )
        assert isinstance(frame, Frame)
        assert [labels.get("pod") for labels in frame.labels] == ["2", "1", "4", "3"]

    def test_topk_chooses_anew_at_every_step(self) -> None:
        store = [series('x{a="1"}', [(0, 1), (60_000, 9)]), series('x{a="2"}', [(0, 5), (60_000, 2)])]
        got = as_dict(evaluate_one("topk(1, x)", store, TimeRange(0, 60_000, 60_000)))
        assert {labels.get("a"): row for labels, row in got.items()} == {"1": {60_000: 9.0}, "2": {0: 5.0}}

    @pytest.mark.parametrize("parameter", ["NaN", "1e300", "-Inf"])
    def test_a_parameter_that_is_no_integer_is_an_error_even_of_nothing(self, parameter: str) -> None:
        with pytest.raises(QueryExecutionError):
            at(f"topk({parameter}, nosuch)", self.store)

    def test_a_sum_keeps_small_terms_beside_large_ones(self) -> None:
        rows = vector(*((f'x{{i="{i}"}}', v) for i, v in enumerate([1e100, 1.0, -1e100, 1.0])))
        assert at("sum(x)", rows) == {"": 2.0}
        assert at("avg(x)", rows) == {"": 0.5}

    def test_an_average_survives_a_sum_beyond_float64(self) -> None:
        rows = vector(('x{i="1"}', 1.7e308), ('x{i="2"}', 1.7e308))
        assert at("avg(x)", rows) == {"": 1.7e308}
        assert at("sum(x)", rows) == {"": INF}

    def test_a_sum_beyond_float64_is_said(self) -> None:
        rows = vector(('x{i="1"}', 1.7e308)), vector(('x{i="2"}', 1.7e308))
        frame, warnings = federate("avg(x)", {"dev": rows[0], "prod": rows[1]}, TimeRange(0, 0))
        assert isinstance(frame, Frame)
        assert frame.values.tolist() == [[INF]]
        assert warnings == ("a sum of finite values left the range of float64 and is infinite",)

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


class TestScalars:
    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ("1 + 2 * 3", 7.0),
            ("-7 % 3", -1.0),
            ("2 ^ 3 ^ 2", 512.0),
            ("1 / 0", INF),
            ("-(1) / 0", -INF),
            ("0 / 0", NAN),
            ("5 % 0", NAN),
            ("1 == bool 1", 1.0),
            ("NaN == bool NaN", 0.0),
            ("NaN != bool NaN", 1.0),
        ],
    )
    def test_answer(self, text: str, answer: float) -> None:
        frame = evaluate_one(text, [], TimeRange(0, 0))
        assert isinstance(frame, Frame)
        assert frame.kind == "scalar"
        assert frame.values[0, 0] == pytest.approx(answer, nan_ok=True)


class TestVectorsAndScalars:
    store = vector(('x{a="1"}', 1), ('x{a="2"}', 5), ('x{a="3"}', NAN))

    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ("x * 2", {"a=1": 2.0, "a=2": 10.0, "a=3": NAN}),
            ("10 - x", {"a=1": 9.0, "a=2": 5.0, "a=3": NAN}),
            ("-x", {"a=1": -1.0, "a=2": -5.0, "a=3": NAN}),
            ("x > 2", {"__name__=x,a=2": 5.0}),
            ("2 < x", {"__name__=x,a=2": 5.0}),
            ("x != 1", {"__name__=x,a=2": 5.0, "__name__=x,a=3": NAN}),
            ("x > bool 2", {"a=1": 0.0, "a=2": 1.0, "a=3": 0.0}),
            ("2 < bool x", {"a=1": 0.0, "a=2": 1.0, "a=3": 0.0}),
        ],
    )
    def test_answer(self, text: str, answer: dict[str, float]) -> None:
        assert at(text, self.store) == pytest.approx(answer, nan_ok=True)

    def test_series_that_are_one_without_their_name_are_an_error(self) -> None:
        with pytest.raises(QueryExecutionError, match="same labelset"):
            at('-{__name__=~"x|y"}', vector(('x{a="1"}', 1), ('y{a="1"}', 2)))

    def test_series_that_never_meet_become_one_without_their_name(self) -> None:
        store = [series("x", [(0, 1)]), series("y", [(600_000, 2)])]
        got = evaluate_one('-{__name__=~"x|y"}', store, TimeRange(0, 600_000, 600_000))
        assert isinstance(got, Frame)
        assert got.values.tolist() == [[-1.0, -2.0]]


class TestMatching:
    left = vector(('x{a="1",b="1"}', 1), ('x{a="2",b="1"}', 2), ('x{a="3",b="1"}', 3))
    right = vector(('y{a="1",b="1"}', 10), ('y{a="2",b="2"}', 20))

    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ("x + y", {"a=1,b=1": 11.0}),
            ("x + on (a) y", {"a=1": 11.0, "a=2": 22.0}),
            ("x + ignoring (b) y", {"a=1": 11.0, "a=2": 22.0}),
            ("x < y", {"__name__=x,a=1,b=1": 1.0}),
            ("x < ignoring (b) y", {"__name__=x,a=1": 1.0, "__name__=x,a=2": 2.0}),
            ("x < on (a) y", {"a=1": 1.0, "a=2": 2.0}),
            ("x > bool on (a) y", {"a=1": 0.0, "a=2": 0.0}),
            ("x + on (a) nosuch", {}),
            ("nosuch + x", {}),
        ],
    )
    def test_answer(self, text: str, answer: dict[str, float]) -> None:
        assert at(text, [*self.left, *self.right]) == answer

    def test_two_partners_on_the_right_are_an_error(self) -> None:
        with pytest.raises(QueryExecutionError, match=r"on the right hand-side .*many-to-many"):
            at("y + on (b) x", [*self.left, *self.right])

    def test_two_partners_are_no_error_at_steps_that_ask_for_none(self) -> None:
        assert at("nosuch + on (b) x", self.left) == {}
        late = [series('x{a="1"}', [(600_000, 1)]), series('y{p="1"}', [(0, 1)]), series('y{p="2"}', [(0, 1)])]
        assert as_dict(evaluate_one("x + on (nosuch) y", late, TimeRange(0, 600_000, 600_000))) == {}

    def test_two_series_on_the_left_are_an_error(self) -> None:
        with pytest.raises(QueryExecutionError, match="many-to-one matching must be explicit"):
            at("x + on (b) max by (b) (y)", [*self.left, *self.right])

    def test_a_filter_that_drops_one_of_the_two_is_no_error(self) -> None:
        assert at("x > on (b) max by (b) (z)", [*self.left, *vector(('z{b="1"}', 2.5))]) == {"b=1": 3.0}

    def test_a_pod_and_its_successor_share_a_partner_as_they_never_meet(self) -> None:
        store = [
            series('x{pod="old",n="1"}', [(0, 1)]),
            series('x{pod="new",n="1"}', [(600_000, 2)]),
            series('y{n="1"}', [(0, 10), (600_000, 20)]),
        ]
        asked = TimeRange(0, 600_000, 600_000)
        for text, want in (("x + on (n) y", [11.0, 22.0]), ("y + on (n) x", [11.0, 22.0])):
            got = evaluate_one(text, store, asked)
            assert isinstance(got, Frame)
            assert got.values.tolist() == [want]

"""When things are seen: `@`, offsets, and the steps of subqueries."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from federation_core.errors import QueryExecutionError, QueryTimeout, QueryTooLarge
from federation_core.labels import Labels
from federation_core.plan import Shard
from federation_core.query import TimeRange
from federation_core.signals import Room
from federation_core.signals.metrics import KIND
from federation_core.signals.metrics.expr import Subquery
from federation_core.signals.metrics.frame import Grid, SampleColumns
from federation_core.signals.metrics.moments import resolve, subquery_grid
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.printer import to_text
from federation_core.tenancy import Limits
from tests.support.sample_store import (
    FAR_DEADLINE,
    MemoryConnector,
    answer_one,
    as_dict,
    evaluate_one,
    every,
    federate,
    query_of,
    scope_of,
    series,
)

#: One sample a minute whose value is its minute.
MINUTES = [series("x", every(60_000, [float(i) for i in range(61)]))]
HOUR_MS = 3_600_000


def at(minutes: float) -> TimeRange:
    return TimeRange(round(minutes * 60_000), round(minutes * 60_000))


def values(text: str, time_range: TimeRange) -> list[float]:
    (row,) = as_dict(evaluate_one(text, MINUTES, time_range)).values()
    return list(row.values())


def test_the_ends_of_the_range_and_missing_steps_are_written_out() -> None:
    asked = TimeRange(60_000, 180_000, 1_500)
    resolved = resolve(parse("max_over_time(x[5m:] @ start()) + x @ end() - x"), asked)
    assert to_text(resolved) == "max_over_time(x[5m:1m] @ 60.000) + x @ 180.000 - x"
    resolved = resolve(parse("start() + end() + range() * max_over_time(vector(step())[1h:])"), asked)
    assert to_text(resolved) == "60 + 180 + 120 * max_over_time(vector(1.5)[1h:1m])"


def test_a_fixed_selector_has_one_value_at_all_steps() -> None:
    assert values("x @ 600", TimeRange(0, HOUR_MS, 1_200_000)) == [10.0] * 4
    assert values("x @ 600 offset 2m", TimeRange(0, HOUR_MS, 1_200_000)) == [8.0] * 4
    assert values("x @ start() + x @ end()", TimeRange(60_000, 180_000, 60_000)) == [4.0] * 3


def test_an_instant_is_both_ends_of_its_range() -> None:
    assert values("x @ start() + x @ end()", at(5)) == [10.0]


def test_a_fixed_window_ends_where_it_is_fixed() -> None:
    assert values("sum_over_time(x[2m] @ 600)", TimeRange(0, HOUR_MS, HOUR_MS)) == [19.0, 19.0]


def test_the_steps_of_a_subquery_are_multiples_of_its_step_within_the_windows() -> None:
    node = resolve(parse("x[5m:2m]"), at(0))
    assert isinstance(node, Subquery)
    # A step on the left edge is outside, one on the right edge inside.
    assert subquery_grid(node, Grid(600_000, 0, 1)) == Grid(360_000, 120_000, 3)
    assert subquery_grid(node, Grid(660_000, 60_000, 3)) == Grid(480_000, 120_000, 3)
    assert subquery_grid(node, Grid(-660_000, 0, 1)) == Grid(-840_000, 120_000, 2)


def test_a_subquery_evaluates_its_expression_at_its_own_steps() -> None:
    assert values("sum_over_time((x * 2)[3m:1m])", at(10)) == [2 * (8 + 9 + 10)]
    assert values("count_over_time(x[3m:30s] offset 1m)", at(10)) == [6]
    assert values("max_over_time(sum_over_time(x[2m])[5m:1m] @ 600)", at(50)) == [19.0]
    assert values("min_over_time(x[4m:1m])", TimeRange(600_000, 720_000, 60_000)) == [7.0, 8.0, 9.0]


def test_a_subquery_whose_windows_hold_no_step_sees_nothing() -> None:
    assert as_dict(evaluate_one("sum_over_time(x[30s:7m])", MINUTES, at(10))) == {}
    assert as_dict(federate("sum_over_time(sum(x)[30s:7m])", {"dev": MINUTES}, at(10))[0]) == {}


def test_a_subquery_by_itself_is_a_range_vector() -> None:
    for payload in (answer_one("x[3m:1m]", MINUTES, at(10))[0], federate("x[3m:1m]", {"dev": MINUTES}, at(10))[0]):
        assert isinstance(payload, SampleColumns)
        assert payload.values.tolist() == [8.0, 9.0, 10.0]
        assert payload.t_ms.tolist() == [480_000, 540_000, 600_000]


def test_the_root_looks_at_the_steps_that_it_has_asked_for() -> None:
    stores = {"dev": MINUTES, "prod": MINUTES}
    found = as_dict(federate("max_over_time(sum(x)[3m:1m] offset 2m)", stores, at(10))[0])
    assert list(found.values()) == [{600_000: 16.0}]


def test_the_root_looks_at_raw_samples_where_a_parameter_spans_clusters() -> None:
    stores = {"dev": MINUTES, "prod": [series("y", [(540_000, 0.5)])]}
    found = as_dict(federate("quantile_over_time(scalar(sum(y)), x[4m] offset 1m)", stores, at(10))[0])
    assert list(found.values()) == [{600_000: 7.5}]


class TestRoom:
    def test_a_subquery_with_too_many_steps_is_refused_before_it_is_evaluated(self) -> None:
        for text in ("sum_over_time(x[10y:1ms])", "sum_over_time(vector(1)[10y:1ms])"):
            with pytest.raises(QueryTooLarge) as caught:
                evaluate_one(text, MINUTES, at(10))
            assert caught.value.limit == "max_values"
            assert caught.value.asked > caught.value.allowed == Limits().max_values

    def test_what_is_held_while_the_rest_is_evaluated_counts(self) -> None:
        asked = TimeRange(0, HOUR_MS, 60_000)
        answer_one("x + x", MINUTES, asked, limits=Limits(max_values=3 * 61))
        with pytest.raises(QueryTooLarge):
            answer_one("x + (x + (x + x))", MINUTES, asked, limits=Limits(max_values=3 * 61))

    def test_windows_of_the_root_are_counted_before_they_are_made(self) -> None:
        stores = {"dev": [series(f'y{{n="{n}"}}', [(1, 1.0)]) for n in range(1_000)], "prod": MINUTES}
        asked = TimeRange(0, 10_999_000, 1_000)
        with pytest.raises(QueryTooLarge) as caught:
            federate("quantile_over_time(scalar(sum(x)), y[5m])", stores, asked)
        assert (caught.value.limit, caught.value.asked) == ("max_values", 1_000 * 11_000)

    def test_the_root_has_the_room_that_the_scope_has(self) -> None:
        query = query_of("sum(x)", TimeRange(0, HOUR_MS, 60_000))
        parts = {"dev": {"a": evaluate_one("x", MINUTES, query.time_range)}}
        KIND.merge("sum(leaf:a)", query, parts, {}, Room(Limits(max_values=122)))
        with pytest.raises(QueryTooLarge):
            KIND.merge("sum(leaf:a)", query, parts, {}, Room(Limits(max_values=60)))

    def test_all_that_the_clusters_sent_counts_before_it_is_put_together(self) -> None:
        text, query = "sum(leaf:a) + sum(leaf:b)", query_of("sum(x) + sum(y)", at(1))
        sent = evaluate_one("x", [series(f'x{{n="{n}"}}', [(1, 1.0)]) for n in range(60)], at(1))
        parts = {"dev": {"a": sent, "b": sent}}
        KIND.merge(text, query, parts, {}, Room(Limits(max_values=120)))
        # The evaluation itself would never hold both leaves at once.
        with pytest.raises(QueryTooLarge) as caught:
            KIND.merge(text, query, parts, {}, Room(Limits(max_values=119)))
        assert caught.value.asked == 120

    def test_the_root_asks_whether_somebody_waits(self) -> None:
        def nobody() -> None:
            raise QueryTimeout("nobody waits")

        query = query_of("sum(x)", at(1))
        with pytest.raises(QueryTimeout):
            KIND.merge("sum(leaf:a)", query, {}, {}, Room(check=nobody))

    def test_all_leaves_of_a_cluster_are_held_together(self) -> None:
        text = " + ".join(f"stddev(x offset {n}m)" for n in range(1, 6))
        split = KIND.split(KIND.parse(text), query_of(text, TimeRange(0, HOUR_MS, 60_000)), ["dev"])
        for values_allowed, fits in ((6 * 61, True), (4 * 61, False)):
            limits = Limits(max_values=values_allowed)
            shard = Shard("q", "dev", "metrics", split.leaves["dev"], scope_of(["dev"], limits), FAR_DEADLINE.at_ms)
            with nullcontext() if fits else pytest.raises(QueryTooLarge):
                KIND.run(MemoryConnector(MINUTES), shard, FAR_DEADLINE)

    def test_a_subquery_over_clusters_has_no_more_steps_than_a_query(self) -> None:
        with pytest.raises(QueryTooLarge) as caught:
            federate("max_over_time(sum(x)[1d:1s])", {"dev": MINUTES}, at(10))
        assert (caught.value.limit, caught.value.asked) == ("steps", 86_400)


class TestPinned:
    def test_what_is_fixed_is_evaluated_once_and_shown_at_every_step(self) -> None:
        asked = TimeRange(0, 60_000 * 10_999, 60_000)
        # Evaluated at every step this would take more room than there is.
        found = values("avg_over_time(x[1h] @ 3600) + sum_over_time(x[50m:300ms] @ 3600)", asked)
        assert len(found) == 11_000
        assert len(set(found)) == 1

    def test_what_looks_at_the_time_of_the_step_is_not(self) -> None:
        asked = TimeRange(0, 120_000, 60_000)
        assert values("time() + 0 * max(x @ 60)", asked) == [0.0, 60.0, 120.0]
        assert values("predict_linear(x[5m] @ 300, 0)", asked) == pytest.approx([0.0, 1.0, 2.0])


def test_over_windows_series_that_become_one_are_an_error_though_they_never_meet() -> None:
    store = [series("a", every(60_000, [1.0, 2.0, 3.0])), series("b", every(60_000, [1.0, 2.0], 1_200_000))]
    asked = TimeRange(0, 1_300_000, 60_000)
    with pytest.raises(QueryExecutionError, match="same labelset"):
        evaluate_one('rate({__name__=~"a|b"}[5m])', store, asked)
    for text in ('abs({__name__=~"a|b"})', '-{__name__=~"a|b"}'):
        assert list(as_dict(evaluate_one(text, store, asked))) == [Labels()]


def test_of_many_annotations_ten_of_a_kind_are_shown_and_the_rest_is_counted() -> None:
    store = [series(f'b_bucket{{le="odd {i}"}}', [(0, 1.0)]) for i in range(25)]
    _, said = answer_one("histogram_quantile(0.5, b_bucket)", store, at(0))
    assert len(said) == 11
    assert said[-1] == "15 more warning annotations omitted"

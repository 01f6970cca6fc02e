"""The two ends of a leaf: what a worker fetches and answers, what the centre makes of the answers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from federation_core.connectors import Fetched
from federation_core.errors import Malformed, MergeConflict, QueryExecutionError, QueryTooLarge, TimedOut
from federation_core.labels import Labels
from federation_core.plan import Leaf, Shard
from federation_core.query import Deadline, TimeRange
from federation_core.signals import Silent, kind_named
from federation_core.signals.metrics import KIND
from federation_core.signals.metrics.cluster_label import attach, set_aside
from federation_core.signals.metrics.frame import Frame, Grid, SampleColumns
from federation_core.signals.metrics.prometheus_json import to_json
from federation_core.signals.metrics.run import run
from federation_core.signals.metrics.rungs import PROMQL
from federation_core.tenancy import Limits, Scope
from tests.support.sample_store import (
    FAR_DEADLINE,
    MemoryConnector,
    Series,
    every,
    federate,
    query_of,
    scope_of,
    series,
)

RANGE = TimeRange(600_000, 1_200_000, 60_000)
INSTANT = TimeRange(0, 600_000)
STORE = [series('x{a="1"}', every(15_000, range(100))), series('x{a="2"}', every(15_000, range(100)))]


def shard(*texts: str, time_range: TimeRange = RANGE, limits: Limits | None = None, cluster: str = "dev") -> Shard:
    leaves = tuple(Leaf(chr(97 + i), text, time_range) for i, text in enumerate(texts))
    return Shard("q", cluster, "metrics", leaves, scope_of([cluster], limits), FAR_DEADLINE.at_ms)


def asked(store: Sequence[Series], *texts: str, time_range: TimeRange = RANGE) -> list[tuple[str, int]]:
    """Return (text, instant) of everything a shard fetches."""
    connector = MemoryConnector(store)
    run(connector, shard(*texts, time_range=time_range), FAR_DEADLINE)
    return [(leaf.text, leaf.time_range.end_ms) for leaf in connector.asked]


class TestFetching:
    def test_a_window_is_fetched_once_for_the_whole_grid(self) -> None:
        assert asked(STORE, "rate(x[5m])") == [("x[15m]", 1_200_000)]

    def test_an_instant_vector_needs_five_minutes_more(self) -> None:
        assert asked(STORE, "x", time_range=INSTANT) == [("x[5m]", 600_000)]

    def test_an_offset_moves_what_is_fetched(self) -> None:
        assert asked(STORE, "x offset 1m", time_range=INSTANT) == [("x[5m]", 540_000)]

    def test_one_selector_is_fetched_once_for_all_leaves(self) -> None:
        texts = asked(STORE, "sum(rate(x[2m]))", "count(rate(x[2m]))", "max(x)", 'min(x{a="1"})')
        assert texts == [("x[15m]", 1_200_000), ('x{a="1"}[15m]', 1_200_000)]

    def test_windows_that_lie_apart_are_fetched_apart(self) -> None:
        texts = asked(STORE, "x - x offset 1w", time_range=INSTANT)
        assert texts == [("x[5m]", 600_000 - 604_800_000), ("x[5m]", 600_000)]

    def test_a_connector_that_pushes_down_and_is_no_engine_is_not_asked_for_samples(self) -> None:
        # It would leave out what tells where a series has ended.
        connector = MemoryConnector(STORE, pushes_down=frozenset({PROMQL}))
        with pytest.raises(TypeError, match="no Engine"):
            KIND.run(connector, shard("sum(x)"), FAR_DEADLINE)
        assert connector.asked == []

    def test_warnings_truncation_and_watermark_reach_the_leaves_that_rest_on_them(self) -> None:
        class Talking(MemoryConnector):
            def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
                fetched = super().fetch(leaf, scope, deadline)
                if leaf.text.startswith("x"):
                    return Fetched(fetched.payload, ("block missing",), "10 series", 5)
                return Fetched(fetched.payload, watermark_ms=7)

        answers = run(Talking(STORE), shard("sum(x) + sum(y)", "sum(y)"), FAR_DEADLINE)
        a, b = answers["a"], answers["b"]
        assert (a.warnings, a.truncated, a.watermark_ms) == (("block missing",), "10 series", 7)
        assert (b.warnings, b.truncated, b.watermark_ms) == ((), "", 7)

    @pytest.mark.parametrize(
        ("limits", "name"),
        [
            (Limits(max_series=1), "max_series"),
            (Limits(max_samples=50), "max_samples"),
            (Limits(max_values=10), "max_values"),
        ],
    )
    def test_a_limit_of_the_scope_is_an_error_that_names_it(self, limits: Limits, name: str) -> None:
        with pytest.raises(QueryTooLarge) as caught:
            run(MemoryConnector(STORE), shard("sum(x)", limits=limits), FAR_DEADLINE)
        assert caught.value.limit == name
        assert "cluster dev" in caught.value.message

    def test_work_stops_between_two_steps_when_the_deadline_has_passed(self) -> None:
        clock = iter([0, 0, 10])
        connector = MemoryConnector(STORE)
        with pytest.raises(TimedOut):
            run(connector, shard("x", "y", "z"), Deadline(5, lambda: next(clock)))
        assert len(connector.asked) == 2

    @pytest.mark.parametrize("text", ["sum_over_time(x[5m])", "quantile_over_time(0.5, x[5m])"])
    def test_long_work_on_windows_stops_when_the_deadline_has_passed(self, text: str) -> None:
        # Looked at before fetching, before evaluating, and then within.
        clock = iter([0, 0, 10])
        with pytest.raises(TimedOut):
            run(MemoryConnector(STORE), shard(text), Deadline(5, lambda: next(clock)))

    def test_a_sample_that_comes_twice_is_malformed_as_every_rate_would_be_wrong(self) -> None:
        with pytest.raises(Malformed, match="in order"):
            run(MemoryConnector([series("x", [(600_000, 1), (600_000, 1)])]), shard("x"), FAR_DEADLINE)

    def test_a_connector_that_answers_with_something_else_is_malformed(self) -> None:
        class Wrong(MemoryConnector):
            def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
                return Fetched([])

        with pytest.raises(Malformed):
            run(Wrong(STORE), shard("x"), FAR_DEADLINE)


class TestClusterLabel:
    def test_it_is_attached_on_arrival(self) -> None:
        frame, _ = federate("x", {"dev": STORE[:1], "prod": STORE[1:]}, INSTANT)
        assert isinstance(frame, Frame)
        assert [(row.get("cluster"), row.get("a")) for row in frame.labels] == [("dev", "1"), ("prod", "2")]

    def test_an_own_label_of_another_value_is_shown_as_exported(self) -> None:
        store = [series('x{cluster="eu-1"}', every(15_000, range(100)))]
        frame, _ = federate("x", {"dev": store}, INSTANT)
        assert isinstance(frame, Frame)
        assert [dict(row) for row in frame.labels] == [{"__name__": "x", "cluster": "dev", "exported_cluster": "eu-1"}]

    def test_an_own_label_of_the_same_value_is_the_same_label(self) -> None:
        store = [series('x{cluster="dev"}', every(15_000, range(100)))]
        frame, _ = federate('x{cluster="dev"}', {"dev": store}, INSTANT)
        assert isinstance(frame, Frame)
        assert [dict(row) for row in frame.labels] == [{"__name__": "x", "cluster": "dev"}]

    def test_conditions_and_groupings_see_the_exported_label(self) -> None:
        store = [
            series(f'x{{cluster="{name}",a="{a}"}}', every(15_000, range(100)))
            for name in ("eu-1", "eu-2")
            for a in "12"
        ]
        for text, want in {
            'count(x{exported_cluster="eu-1"})': [{}],
            'count(x{exported_cluster!="eu-1",a="1"})': [{}],
            "count by (exported_cluster) (x)": [{"exported_cluster": "eu-1"}, {"exported_cluster": "eu-2"}],
            'count by (cluster, exported_cluster) (x{cluster="dev",exported_cluster=~".*-2"})': [
                {"cluster": "dev", "exported_cluster": "eu-2"}
            ],
        }.items():
            frame, _ = federate(text, {"dev": store}, INSTANT)
            assert isinstance(frame, Frame)
            assert [dict(row) for row in frame.labels] == want, text

    def test_an_exported_label_that_exists_is_not_overwritten(self) -> None:
        labels = Labels.of({"cluster": "eu", "exported_cluster": "older"})
        assert dict(set_aside(labels, "dev")) == {"exported_cluster": "older", "exported_exported_cluster": "eu"}

    def test_a_series_both_with_and_without_it_is_a_conflict(self) -> None:
        store = [series("x", every(15_000, range(100))), series('x{cluster="dev"}', every(15_000, range(100)))]
        with pytest.raises(MergeConflict) as caught:
            federate("x", {"dev": store}, INSTANT)
        assert caught.value.labels == {"__name__": "x"}

    def test_a_pushed_leafs_own_label_is_moved_too(self) -> None:
        assert attach([Labels.of({"cluster": "eu"})], "dev") == (
            Labels.of({"cluster": "dev", "exported_cluster": "eu"}),
        )


class TestMerging:
    def test_a_number_is_answered_without_any_part(self) -> None:
        for text, answer in {"1 + 2": "3", "-(2)": "-2", "2 > bool 1": "1"}.items():
            query = query_of(text, TimeRange(0, 5000))
            split = KIND.split(KIND.parse(text), query, ["dev", "prod"])
            payload, warnings = KIND.merge(split.root, query, {}, {})
            assert to_json(payload) == {"resultType": "scalar", "result": [5, answer]}
            assert warnings == ()

    def test_no_part_at_all_is_an_empty_vector(self) -> None:
        payload, _ = KIND.merge(
            "sum(leaf:a) / sum(leaf:b)", query_of("x", INSTANT), {}, {"dev": Silent(frozenset("ab"))}
        )
        assert to_json(payload) == {"resultType": "vector", "result": []}

    def test_what_is_there_is_combined_when_a_cluster_is_silent(self) -> None:
        query = query_of("sum(x)", INSTANT)
        frame, _ = federate("sum(x)", {"dev": STORE}, INSTANT)
        payload, _ = KIND.merge("sum(leaf:a)", query, {"dev": {"a": frame}}, {"prod": Silent(frozenset("a"))})
        assert isinstance(payload, Frame)
        assert payload.values.tolist() == [[80.0]]

    def test_exact_step_values_are_not_looked_back_at(self) -> None:
        """A cluster that was dark for some steps adds nothing at those steps."""
        dark = [series("up", every(15_000, [1] * 20 + [None] * 40 + [1] * 20))]
        lit = [series("up", every(15_000, [1] * 80))]
        frame, _ = federate("count(up)", {"dev": dark, "prod": lit}, TimeRange(0, 1_185_000, 60_000))
        assert isinstance(frame, Frame)
        # Prometheus itself looks back five minutes once, inside the cluster, and never again.
        assert frame.values[0].tolist() == [2.0] * 10 + [1.0] * 5 + [2.0] * 5

    def test_a_part_on_another_grid_is_malformed(self) -> None:
        with pytest.raises(Malformed) as caught:
            KIND.merge("leaf:a", query_of("x", INSTANT), {"dev": {"a": Frame.empty(Grid(0, 1000, 2))}}, {})
        assert caught.value.cluster == "dev"

    def test_a_part_of_another_form_is_malformed(self) -> None:
        with pytest.raises(Malformed):
            KIND.merge("leaf:a", query_of("x", INSTANT), {"dev": {"a": SampleColumns.empty()}}, {})

    def test_a_join_over_clusters_that_is_many_to_many_is_an_error(self) -> None:
        store = [series("x", every(15_000, range(100))), series("y", every(15_000, range(100)))]
        with pytest.raises(QueryExecutionError, match="many-to-many"):
            federate("x + on () y", {"dev": store, "prod": store}, INSTANT)


def test_the_signal_is_registered_and_redacts_nothing() -> None:
    kind = kind_named("metrics")
    frame = Frame.empty(Grid.of(INSTANT))
    assert kind is KIND
    assert kind.redact(frame, scope_of(["dev"]), "dev") == (frame, 0)

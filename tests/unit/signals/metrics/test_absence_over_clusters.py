"""What makes a sample out of a missing series has none while a cluster that may hold the series is silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import pytest

from federation_core.connectors import Fetched
from federation_core.labels import Labels
from federation_core.plan import Shard
from federation_core.query import TimeRange
from federation_core.signals import Silent
from federation_core.signals.metrics import KIND
from tests.support.sample_store import (
    FAR_DEADLINE,
    MemoryConnector,
    Series,
    as_dict,
    every,
    federate,
    query_of,
    scope_of,
    series,
)

MINUTE_MS = 60_000
NOW = TimeRange(5 * MINUTE_MS, 5 * MINUTE_MS)
DNS = series('up{job="dns"}', every(MINUTE_MS, [1.0] * 6))
WEB = series('up{job="web"}', every(MINUTE_MS, [1.0] * 6))


def run(store: Sequence[Series], shard: Shard) -> Mapping[str, Fetched]:
    return KIND.run(MemoryConnector(store), shard, FAR_DEADLINE)


def answered_by(
    text: str, stores: Mapping[str, Sequence[Series]], silent: Sequence[str], asked: TimeRange = NOW
) -> tuple[dict[Labels, dict[int, float]], tuple[str, ...]]:
    """Answer with the clusters that are not silent."""
    query = query_of(text, asked)
    split = KIND.split(KIND.parse(text), query, sorted(stores))
    shards = {
        name: Shard("q", name, "metrics", leaves, scope_of([name]), FAR_DEADLINE.at_ms)
        for name, leaves in split.leaves.items()
    }
    parts = {
        name: {leaf: fetched.payload for leaf, fetched in run(stores[name], shard).items()}
        for name, shard in shards.items()
        if name not in silent
    }
    unanswered = {name: Silent(frozenset(leaf.id for leaf in shards[name].leaves)) for name in silent if name in shards}
    payload, said = KIND.merge(split.root, query, parts, unanswered)
    return as_dict(payload), said


@pytest.mark.parametrize("text", ['absent(up{job="dns"})', 'absent_over_time(up{job="dns"}[2m])'])
class TestAbsent:
    def test_a_series_in_any_cluster_decides(self, text: str) -> None:
        assert as_dict(federate(text, {"dev": [WEB], "prod": [DNS]}, NOW)[0]) == {}
        assert answered_by(text, {"dev": [WEB], "prod": [DNS]}, ["dev"]) == ({}, ())

    def test_the_labels_are_those_of_the_selector(self, text: str) -> None:
        found = as_dict(federate(text, {"dev": [WEB], "prod": [WEB]}, NOW)[0])
        assert found == {Labels.of({"job": "dns"}): {NOW.end_ms: 1.0}}

    def test_nothing_anywhere_is_undecided_while_a_cluster_is_silent(self, text: str) -> None:
        found, said = answered_by(text, {"dev": [WEB], "prod": [DNS]}, ["prod"])
        assert found == {}
        assert said == ("absent is undecided: whether there is no series cannot be known without prod",)

    def test_a_step_at_which_no_cluster_has_a_series_is_undecided_too(self, text: str) -> None:
        ended = series('up{job="dns"}', every(MINUTE_MS, [1.0]))
        asked = TimeRange(0, 20 * MINUTE_MS, 10 * MINUTE_MS)
        found, said = answered_by(text, {"dev": [ended], "prod": [DNS]}, ["prod"], asked)
        assert found == {}
        assert len(said) == 1


def test_several_metrics_are_present_though_they_are_equal_without_their_names() -> None:
    both = [
        series('up{job="dns"}', every(MINUTE_MS, [1.0] * 6)),
        series('down{job="dns"}', every(MINUTE_MS, [1.0] * 6)),
    ]
    for text in ('absent_over_time({__name__=~"up|down"}[5m])', 'absent_over_time({__name__=~"up|down"}[5m:1m])'):
        assert as_dict(federate(text, {"dev": both, "prod": []}, NOW)[0]) == {}


def test_a_condition_on_the_cluster_is_a_label_of_the_answer() -> None:
    found = as_dict(federate('absent(up{job="dns",cluster="prod"})', {"dev": [DNS], "prod": [WEB]}, NOW)[0])
    assert found == {Labels.of({"job": "dns", "cluster": "prod"}): {NOW.end_ms: 1.0}}


def test_what_is_absent_of_what_the_root_computes_is_undecided_too() -> None:
    stores = {"dev": [WEB], "prod": [WEB]}
    assert list(as_dict(federate("absent(sum(up) > 5)", stores, NOW)[0])) == [Labels()]
    found, said = answered_by("absent(sum(up) > 5)", stores, ["prod"])
    assert found == {}
    assert "prod" in said[0]


@pytest.mark.parametrize("text", ["sum(up) unless on () absent(errors)", "absent(absent(errors))"])
def test_what_looks_for_what_is_undecided_is_so_though_taking_either_for_empty_comes_to_the_same(text: str) -> None:
    stores = {"dev": [WEB], "prod": [series("errors", every(MINUTE_MS, [2.0] * 6))]}
    assert len(as_dict(federate(text, stores, NOW)[0])) == 1
    found, said = answered_by(text, stores, ["prod"])
    assert found == {}
    assert "is undecided" in said[0]
    assert as_dict(federate(text, {**stores, "prod": []}, NOW)[0]) == {}


class TestOtherSamplesOutOfNothing:
    STORES: ClassVar = {"dev": [WEB], "prod": [series("errors", every(MINUTE_MS, [2.0] * 6))]}

    def test_a_default_is_not_shown_where_the_value_may_be_in_a_silent_cluster(self) -> None:
        whole = as_dict(federate("sum(errors) or vector(0)", self.STORES, NOW)[0])
        assert list(whole.values()) == [{NOW.end_ms: 2.0}]
        found, said = answered_by("sum(errors) or vector(0)", self.STORES, ["prod"])
        assert found == {}
        assert "the right side of or is undecided" in said[0]
        assert "prod" in said[0]

    def test_a_default_that_is_hidden_anyway_is_no_matter(self) -> None:
        found, said = answered_by("sum(up) or vector(0)", self.STORES, ["prod"])
        assert list(found.values()) == [{NOW.end_ms: 1.0}]
        assert said == ()

    def test_a_default_that_no_series_of_a_cluster_can_hide_is_shown(self) -> None:
        found, said = answered_by("errors or vector(0)", self.STORES, ["prod"])
        assert found == {Labels(): {NOW.end_ms: 0.0}}
        assert said == ()

    def test_what_a_silent_cluster_may_take_away_is_not_shown(self) -> None:
        found, said = answered_by("up unless on () errors", self.STORES, ["prod"])
        assert found == {}
        assert "unless is undecided" in said[0]

    def test_what_a_silent_cluster_may_have_is_not_filled_in(self) -> None:
        text = "sum(up) + fill_right (0) sum(errors)"
        assert list(as_dict(federate(text, self.STORES, NOW)[0]).values()) == [{NOW.end_ms: 3.0}]
        found, said = answered_by(text, self.STORES, ["prod"])
        assert found == {}
        assert "fill_right is undecided" in said[0]

    def test_a_cluster_that_was_not_asked_for_the_leaf_decides_nothing(self) -> None:
        text = 'absent(up{job="dns",cluster="dev"}) + on () group_left () sum(errors)'
        found, said = answered_by(f"{text} or sum(up)", {**self.STORES, "stage": []}, ["stage"])
        assert len(found) == 2
        assert said == ()

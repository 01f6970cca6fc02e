"""Exemplars of clusters, united: as one Prometheus has them that holds every series with its label `cluster`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations

import pytest

from federation_core.config import Backend, Cluster
from federation_core.connectors import Fetched
from federation_core.errors import Malformed, WireVersionMismatch
from federation_core.federate import plan, run_shard
from federation_core.labels import Matcher, MatchOp
from federation_core.outcome import Verdict
from federation_core.plan import Leaf
from federation_core.query import Deadline, Query, TimeRange
from federation_core.signals.exemplars import KIND
from federation_core.signals.exemplars.payload import Exemplars, unite
from federation_core.tenancy import Scope
from tests.support.exemplar_store import ExemplarStore, exemplified
from tests.support.federations import NOW_MS, ask, scope_over

STORES: Mapping[str, ExemplarStore] = {
    "dev": ExemplarStore([exemplified('lat{job="api"}', (3000, "d3", "0.3"), (1000, "d1", "0.1"))]),
    "prod": ExemplarStore(
        [
            exemplified('lat{job="api"}', (2000, "p2", "2")),
            exemplified('lat{cluster="prod",job="api"}', (2000, "p2", "2"), (1000, "p1", "1")),
            exemplified('lat{cluster="eu",job="db"}', (1500, "e1", "NaN")),
        ]
    ),
    "stage": ExemplarStore(),
}


def rows(
    text: str, stores: Mapping[str, ExemplarStore] = STORES, **more: object
) -> list[tuple[dict[str, str], list[str]]]:
    payload = ask(stores, "exemplars", text, **more).payload  # type: ignore[arg-type]
    return [(row.labels.as_dict(), [one.labels.get("trace_id") for one in row.exemplars]) for row in payload.series]


def test_series_carry_the_cluster_and_exemplars_are_in_order_of_time() -> None:
    assert rows('lat{job="api"}') == [
        ({"__name__": "lat", "cluster": "dev", "job": "api"}, ["d1", "d3"]),
        ({"__name__": "lat", "cluster": "prod", "job": "api"}, ["p1", "p2"]),
    ]


def test_a_series_with_and_without_the_clusters_label_is_one_and_copies_are_removed() -> None:
    """The exemplar p2 is held under both."""
    (row,) = rows('lat{job="api",cluster="prod"}')
    assert row[1] == ["p1", "p2"]


def test_another_cluster_label_is_shown_as_exported_and_can_be_asked_for() -> None:
    (row,) = rows('lat{exported_cluster="eu"}')
    assert row == ({"__name__": "lat", "cluster": "prod", "exported_cluster": "eu", "job": "db"}, ["e1"])
    assert [found for _, found in rows('lat{exported_cluster=""}')] == [["d1", "d3"], ["p1", "p2"]]
    assert "exported_cluster" not in STORES["prod"].asked[-1].text


def test_a_cluster_that_every_selector_rejects_is_not_asked() -> None:
    result = ask(STORES, "exemplars", 'lat{cluster="dev"} or up{cluster=~"d.*|stage"}')
    verdicts = {row.cluster: row.verdict for row in result.coverage.clusters}
    assert verdicts == {"dev": Verdict.OK, "stage": Verdict.OK, "prod": Verdict.PRUNED}
    assert "cluster" not in STORES["dev"].asked[-1].text


def test_only_what_lies_within_the_times_is_shown() -> None:
    assert [found for _, found in rows("lat", start_ms=1000, end_ms=1500)] == [["d1"], ["e1"], ["p1"]]


def test_a_store_that_keeps_none_is_said_and_counts_as_answered() -> None:
    stores = {**STORES, "stage": ExemplarStore(warnings=("cluster stage: its store holds no exemplars",))}
    result = ask(stores, "exemplars", "lat")
    assert (result.status, result.warnings) == ("complete", ("cluster stage: its store holds no exemplars",))


def test_a_silent_cluster_costs_its_exemplars_and_no_more() -> None:
    result = ask(STORES, "exemplars", "lat", silent=["prod"])
    assert (result.status, len(result.payload.series)) == ("partial", 1)


def test_the_scope_is_asked_for_and_held_against_the_answer() -> None:
    """A backend that ignores the conditions shows nothing of another namespace all the same."""
    mine = exemplified('lat{namespace="shop"}', (1, "mine", "1"))
    theirs = exemplified('lat{namespace="bank"}', (1, "theirs", "1"), (2, "theirs", "1"))

    class Careless(ExemplarStore):
        def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
            self.asked.append(leaf)
            return replace(super().fetch(leaf, scope, deadline), payload=Exemplars((mine, theirs)))

    store = Careless()
    scope = scope_over(["prod"], Matcher("namespace", MatchOp.EQ, "shop"))
    result = ask({"prod": store}, "exemplars", 'lat or {job="x"}', scope=scope)
    assert store.asked[0].text.count('namespace="shop"') == 2
    assert [row.labels.get("namespace") for row in result.payload.series] == ["shop"]
    assert result.warnings == ("cluster prod: 2 rows outside this token's scope are not shown",)


def test_a_worker_refuses_a_question_that_lost_its_conditions() -> None:
    scope = Scope("team-a", {"prod": (Matcher("namespace", MatchOp.EQ, "shop"),)})
    cluster = Cluster("prod", "prod", (Backend("metrics", "memory", origin="t:1"),))
    query = Query("exemplars", "lat", TimeRange(0, NOW_MS), "team-a")
    (shard,) = plan(query, scope, [cluster], query_id="q", served={"prod"}, now_ms=NOW_MS).shards
    stripped = replace(shard, leaves=tuple(replace(leaf, text="lat") for leaf in shard.leaves))
    store = ExemplarStore()
    assert type(run_shard(stripped, store, lambda: 0).error).__name__ == "ScopeViolation"
    assert store.asked == []


@pytest.mark.parametrize(("start_ms", "asked_from_ms"), [(1, 6_000), (8_000, 8_000), (0, 0)])
def test_what_a_cluster_no_longer_keeps_is_not_asked_and_without_a_beginning_all_is(
    start_ms: int, asked_from_ms: int
) -> None:
    query = Query("exemplars", "lat", TimeRange(start_ms, 9_000), "team-a")
    (leaf,) = KIND.keep("lat", query, [Leaf("exemplars", "lat", query.time_range)], 6_000).leaves
    assert leaf.time_range.start_ms == asked_from_ms


def test_the_order_of_clusters_changes_nothing() -> None:
    parts = {name: {"exemplars": unite(store.series)} for name, store in STORES.items()}
    query = Query("exemplars", "lat", TimeRange(0, NOW_MS), "team-a")
    answers = {
        KIND.encode(KIND.merge("lat", query, {n: parts[n] for n in order}, {})[0]) for order in permutations(parts)
    }
    assert len(answers) == 1


def test_a_payload_travels_unchanged() -> None:
    sent = unite(
        [exemplified('lat{job="ü"}', (-1500, "", "+Inf"), (1, "a", "1e+21")), exemplified("up", (1, "a", "0"))]
    )
    assert KIND.decode(KIND.encode(sent)) == sent
    assert KIND.size(sent) == (2, 3)


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x80", KIND.encode(Exemplars()).replace(b"exemplars/1", b"exemplars/9")]
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(WireVersionMismatch):
        KIND.decode(data)


def test_another_payload_costs_its_cluster() -> None:
    class Odd(ExemplarStore):
        def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
            return Fetched([])

    result = ask({**STORES, "stage": Odd()}, "exemplars", "lat")
    (row,) = result.coverage.missing
    assert (row.cluster, type(row.error)) == ("stage", Malformed)


def test_the_native_answer_has_prometheus_rows() -> None:
    query = Query("exemplars", "lat", TimeRange(0, NOW_MS), "team-a")
    payload = unite([exemplified("lat", (1500, "a", "0.5"), (2000, "b", "1"))])
    assert KIND.to_json(payload, query) == {
        "resultType": "exemplars",
        "result": [
            {
                "seriesLabels": {"__name__": "lat"},
                "exemplars": [
                    {"labels": {"trace_id": "a"}, "value": "0.5", "timestamp": 1.5},
                    {"labels": {"trace_id": "b"}, "value": "1", "timestamp": 2},
                ],
            }
        ],
    }

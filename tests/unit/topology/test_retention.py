"""What is no longer kept is not asked for, and the cluster's row says so: logs, traces and what series there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from federation_core.config import SERVED_BY, Backend, Cluster
from federation_core.errors import CoverageTooLow, QueryTimeout, Unreachable
from federation_core.federate import combine, coverage_of, plan, without
from federation_core.labels import Labels
from federation_core.outcome import ClusterVerdict, Partial, Verdict
from federation_core.plan import Cut, Plan
from federation_core.query import Direction, Query, Requirement, TimeRange
from federation_core.signals import kind_named
from federation_core.signals.logs.payload import Entries, Entry
from federation_core.times import format_time
from federation_core.topology.retention import told_with
from federation_core.topology.routing import throttled
from tests.support.federations import scope_over

HOUR_MS = 3_600_000
NOW_MS = 400 * HOUR_MS
BOUND_MS = NOW_MS - 5 * HOUR_MS
SIGNALS = ("metrics", "logs", "traces")


def planned(signal: str, text: str, start_ms: int, end_ms: int = NOW_MS, kept: str = "backend") -> Plan:
    own = 5 * HOUR_MS if kept == "backend" else None
    whole = tuple(Backend(name, "memory", origin="t:1") for name in SIGNALS)
    cut = tuple(Backend(name, "memory", origin="t:1", retention_ms=own) for name in SIGNALS)
    # What a backend says of itself is nearer than what its cluster says.
    of_cluster = {"backend": HOUR_MS, "cluster": 5 * HOUR_MS, "unknown": None}[kept]
    clusters = [Cluster("dev", "e", whole), Cluster("prod", "e", cut, retention_ms=of_cluster)]
    query = Query(signal, text, TimeRange(start_ms, end_ms), "t")
    return plan(query, scope_over(["dev", "prod"]), clusters, query_id="q", served=["dev", "prod"], now_ms=NOW_MS)


@pytest.mark.parametrize("kept", ["backend", "cluster"])
@pytest.mark.parametrize(("signal", "text"), [("logs", "{}"), ("traces", "{ }"), ("series", "series {}")])
class TestWhatLiesInATime:
    def test_it_begins_where_something_is_kept(self, signal: str, text: str, kept: str) -> None:
        made = planned(signal, text, NOW_MS - 8 * HOUR_MS, kept=kept)
        assert made.shard_for("dev").leaves[0].time_range == TimeRange(NOW_MS - 8 * HOUR_MS, NOW_MS)
        assert made.shard_for("prod").leaves[0].time_range == TimeRange(BOUND_MS, NOW_MS)
        bound = format_time(BOUND_MS)
        assert made.cuts == {"prod": Cut(f"keeps 5h: nothing before {bound}; asked from {bound}", BOUND_MS)}
        assert f"retention of prod: keeps 5h: nothing before {bound}; asked from {bound}" in made.notes

    def test_what_is_kept_as_a_whole_is_not_cut(self, signal: str, text: str, kept: str) -> None:
        made = planned(signal, text, BOUND_MS, kept=kept)
        assert made.cuts == {}
        assert made.shard_for("prod").leaves == made.shard_for("dev").leaves

    @pytest.mark.parametrize("start_ms", [BOUND_MS - 9, 0])
    def test_of_what_is_older_as_a_whole_the_cluster_is_asked_nothing_and_is_missing(
        self, signal: str, text: str, kept: str, start_ms: int
    ) -> None:
        """It may have had some: that nobody can tell is no proof that it had none."""
        made = planned(signal, text, start_ms, BOUND_MS - 1, kept=kept)
        reason = f"keeps 5h: nothing before {format_time(BOUND_MS)}, and all that is asked for reaches further back"
        assert made.cuts == {"prod": Cut(reason, None)}
        assert made.left_out == (ClusterVerdict("prod", Verdict.PARTIAL, reason),)
        assert [shard.cluster_name for shard in made.shards] == ["dev"]


class TestNobodyKeepsIt:
    """An empty answer that says why: to ask again does not help, and there is no fault that would pass."""

    @staticmethod
    def asked(signal: str, text: str, require: str = "best_effort", whole: Sequence[str] = ()) -> Plan:
        clusters = [
            Cluster(name, "e", (Backend(SERVED_BY.get(signal, signal), "memory", origin="t:1"),), retention_ms=kept_ms)
            for name in ("dev", "prod", "stage")
            for kept_ms in (None if name in whole else 5 * HOUR_MS,)
        ]
        query = Query(signal, text, TimeRange(7, BOUND_MS - 1), "t", requirement=Requirement.parse(require))
        names = ("dev", "prod", "stage")
        return plan(query, scope_over(names), clusters, query_id="q", served=names, now_ms=NOW_MS)

    @pytest.mark.parametrize(
        ("signal", "text"),
        [("metrics", "x"), ("logs", "{}"), ("traces", "{ }"), ("series", "series {}"), ("exemplars", "x")],
    )
    def test_the_answer_is_empty_and_every_row_says_why(self, signal: str, text: str) -> None:
        made = self.asked(signal, text)
        assert made.shards == ()
        assert without(made, []) == made
        found = combine(made, {}, ["dev", "prod", "stage"])
        assert (found.status, found.coverage.header()) == ("partial", "0/3;missing=dev,prod,stage")
        assert kind_named(signal).size(found.payload) == (0, 0)
        assert [words.count("keeps 5h: nothing before") for words in found.warnings[:3]] == [1, 1, 1]
        kind_named(signal).to_json(found.payload, made.query)

    @pytest.mark.parametrize("require", ["all", "quorum:1", "quorum:0.1", "critical:dev"])
    def test_who_requires_clusters_is_refused_and_told_no_time_to_come_back(self, require: str) -> None:
        with pytest.raises(CoverageTooLow) as caught:
            without(self.asked("metrics", "x", require), [])
        assert caught.value.retry_after_s is None

    def test_one_that_was_asked_and_did_not_answer_is_no_empty_answer(self) -> None:
        made = self.asked("metrics", "x", whole=["dev"])
        assert [shard.cluster_name for shard in made.shards] == ["dev"]
        assert isinstance(combine(made, {}, ["dev", "prod", "stage"]).error, QueryTimeout)
        failed = {"dev": Partial("q", "dev", error=Unreachable("gone", cluster="dev"))}
        assert isinstance(combine(made, failed, ["dev", "prod", "stage"]).error, CoverageTooLow)
        with pytest.raises(CoverageTooLow, match="no cluster answered") as caught:
            without(made, [throttled("dev", "full", 4)])
        assert caught.value.retry_after_s == 4


@pytest.mark.parametrize(("signal", "text"), [("logs", "{}"), ("series", "series {}"), ("metrics", "x[300h]")])
def test_of_whom_nobody_has_said_what_it_keeps_everything_is_asked(signal: str, text: str) -> None:
    made = planned(signal, text, 1, kept="unknown")
    assert (made.cuts, made.left_out) == ({}, ())
    assert made.shard_for("prod").leaves == made.shard_for("dev").leaves


def test_a_trace_that_is_asked_for_by_its_id_is_asked_for_whenever_it_was() -> None:
    made = planned("traces", "ab" * 16, 0)
    assert made.cuts == {}
    assert made.shard_for("prod").leaves == made.shard_for("dev").leaves


@pytest.mark.parametrize(("signal", "text"), [("logs", "{}"), ("series", 'values "job" {}')])
def test_a_question_without_a_beginning_is_about_what_is_kept(signal: str, text: str) -> None:
    """Prometheus' API takes the beginning of time where none is named: nobody misses what was before."""
    made = planned(signal, text, 0)
    assert made.cuts == {}
    assert made.shard_for("prod").leaves[0].time_range.start_ms == 0


def test_an_answer_that_begins_later_is_partial_and_one_that_failed_has_failed() -> None:
    made = planned("logs", "{}", NOW_MS - 8 * HOUR_MS)
    there = {name: Partial("q", name, payloads={"entries": Entries()}) for name in ("dev", "prod")}
    found = combine(made, there, ["dev", "prod"])
    assert [(row.cluster, row.verdict) for row in found.coverage.missing] == [("prod", Verdict.PARTIAL)]
    assert "; asked from" in found.warnings[0]
    silent = combine(made, {"dev": there["dev"]}, ["dev", "prod"])
    assert [(row.cluster, row.verdict) for row in silent.coverage.missing] == [("prod", Verdict.TIMED_OUT)]


@pytest.mark.parametrize(
    ("found", "direction", "verdict"),
    [(2, "backward", Verdict.OK), (1, "backward", Verdict.PARTIAL), (2, "forward", Verdict.PARTIAL)],
)
def test_what_newer_entries_fill_needs_nothing_older(found: int, direction: Direction, verdict: Verdict) -> None:
    """Of the newest hundred lines none is older than what is kept, if so many are kept."""
    made = planned("logs", "{}", NOW_MS - 8 * HOUR_MS)
    made = replace(made, query=replace(made.query, limit=2, direction=direction, requirement=Requirement.parse("all")))
    lines = Entries.of([Entry(NOW_MS * 1_000_000 - age_ns, "x", Labels()) for age_ns in range(found)], more=True)
    there = {name: Partial("q", name, payloads={"entries": lines}) for name in ("dev", "prod")}
    assert coverage_of(made, there, ["dev", "prod"]).clusters[1].verdict is verdict
    # Before they are there, nobody knows.
    assert without(made, []) == made


def test_what_cut_an_answer_short_is_said_beside_what_was_not_asked() -> None:
    row = ClusterVerdict("prod", Verdict.PARTIAL, "5000 entries, above max_entries")
    told = told_with(row, {"prod": Cut("keeps 5h", 1)})
    assert (told.verdict, told.reason) == (Verdict.PARTIAL, "5000 entries, above max_entries; keeps 5h")
    assert told_with(row, {}) is row

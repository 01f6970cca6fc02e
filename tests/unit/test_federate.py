"""Plan, run a shard, combine: the ledger is true whatever the clusters do."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import pytest

from federation_core.config import Backend, Cluster
from federation_core.connectors import Fetched
from federation_core.errors import (
    CoverageTooLow,
    InternalError,
    Malformed,
    QueryExecutionError,
    QuerySyntaxError,
    QueryTimeout,
    Rejected,
    TimedOut,
    Unreachable,
)
from federation_core.federate import combine, explain, plan, run_shard, without
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.labels import Matcher, MatchOp
from federation_core.outcome import Partial, Result, Verdict
from federation_core.plan import Leaf, Plan, fingerprint
from federation_core.query import Deadline, Query, Requirement, TimeRange
from federation_core.tenancy import Scope
from federation_core.topology.presence import Presence
from federation_core.topology.routing import throttled
from tests.support.sample_store import MemoryConnector, as_dict, every, series

NOW = 600_000
NAMES = ("app-prod", "dev", "prod", "shared-services", "stage", "test")
CLUSTERS = [Cluster(name, "prod", (Backend("metrics", "memory", origin="t:1"),), retention_ms=10**15) for name in NAMES]
SCOPE = Scope("team-a", dict.fromkeys(NAMES, ()))


@dataclass
class FailingConnector:
    """Raises what it is given, whatever it is asked."""

    error: Exception
    kind: str = "failing"
    pushes_down: frozenset[str] = field(default_factory=frozenset)

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        raise self.error

    def inventory(self, deadline: Deadline) -> Inventory:
        raise self.error

    def ping(self, deadline: Deadline) -> None:
        raise self.error

    def about(self, deadline: Deadline) -> About:
        raise self.error


def store(value: float) -> MemoryConnector:
    return MemoryConnector([series('x{pod="a"}', every(15_000, [value] * 41))])


def planned(text: str = "sum(x)", require: str = "best_effort", served: Collection[str] = NAMES) -> Plan:
    query = Query("metrics", text, TimeRange(NOW, NOW), "team-a", requirement=Requirement.parse(require))
    return plan(query, SCOPE, CLUSTERS, query_id="q-1", served=served, now_ms=NOW)


def answer(
    failures: Mapping[str, Exception | None] = {}, served: Collection[str] = NAMES, require: str = "best_effort"
) -> Result:
    """Ask six clusters that hold 1, 10, 100, …; a failure of None is silence."""
    made = planned(require=require, served=served)
    partials: dict[str, Partial] = {}
    for shard in made.shards:
        name = shard.cluster_name
        connector = store(10.0 ** NAMES.index(name))
        if name in failures:
            error = failures[name]
            if error is not None:
                partials[name] = run_shard(shard, FailingConnector(error), lambda: NOW)
        else:
            partials[name] = run_shard(shard, connector, lambda: NOW)
    return combine(made, partials, served)


def total(result: Result) -> float:
    ((_, values),) = as_dict(result.payload).items()
    return values[NOW]


def verdicts(result: Result) -> dict[str, Verdict]:
    return {row.cluster: row.verdict for row in result.coverage.clusters}


def test_an_answer_of_all_clusters_is_complete_and_whole() -> None:
    result = answer()
    assert (result.status, total(result), result.warnings) == ("complete", 111_111.0, ())
    assert set(verdicts(result).values()) == {Verdict.OK}


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (None, Verdict.TIMED_OUT),
        (TimedOut("late"), Verdict.TIMED_OUT),
        (Unreachable("refused"), Verdict.FAILED),
        (Rejected("slow down", retry_after_s=2), Verdict.THROTTLED),
    ],
)
def test_a_cluster_at_fault_is_named_and_costs_only_its_own_share(error: Exception | None, verdict: Verdict) -> None:
    result = answer({"stage": error})
    assert (result.status, total(result)) == ("partial", 111_111.0 - 10_000.0)
    assert verdicts(result)["stage"] is verdict
    assert result.coverage.header() == "5/6;missing=stage"
    assert any("stage" in warning for warning in result.warnings)


def test_a_bug_in_one_worker_costs_that_clusters_share_and_tells_nothing_of_its_inside() -> None:
    result = answer({"stage": ZeroDivisionError("secret detail")})
    assert (result.status, total(result)) == ("partial", 111_111.0 - 10_000.0)
    (row,) = result.coverage.missing
    assert (row.cluster, row.verdict) == ("stage", Verdict.FAILED)
    assert isinstance(row.error, InternalError)
    assert "secret detail" not in json.dumps(row.to_wire())


def answer_with(stage: Mapping[str, object] | None, text: str = "sum(x)") -> Result:
    """Ask six clusters, of which stage's worker sends the given payloads, or those of another grid."""
    made = planned(text)
    partials = {
        s.cluster_name: run_shard(s, store(10.0 ** NAMES.index(s.cluster_name)), lambda: NOW) for s in made.shards
    }
    moved = replace(made.shard_for("stage"), leaves=(Leaf("a", "sum(x)", TimeRange(NOW - 1, NOW - 1)),))
    payloads = run_shard(moved, store(1), lambda: NOW).payloads if stage is None else stage
    return combine(made, {**partials, "stage": Partial("q-1", "stage", payloads=payloads)}, NAMES)


@pytest.mark.parametrize("payloads", [{}, {"b": None}, {"a": "no frame"}, None], ids=["none", "other", "type", "grid"])
def test_a_part_that_is_not_what_was_asked_costs_its_clusters_share(payloads: Mapping[str, object] | None) -> None:
    result = answer_with(payloads)
    assert (result.status, total(result)) == ("partial", 111_111.0 - 10_000.0)
    (row,) = result.coverage.missing
    assert (row.cluster, row.verdict) == ("stage", Verdict.FAILED)
    assert isinstance(row.error, Malformed)


def test_a_part_of_a_cluster_that_was_not_asked_is_not_looked_at() -> None:
    made = planned('sum(x{cluster!="stage"})')
    partials = {name: run_shard(planned().shard_for(name), store(1), lambda: NOW) for name in NAMES}
    result = combine(made, partials, NAMES)
    assert (result.status, total(result), verdicts(result)["stage"]) == ("complete", 5.0, Verdict.PRUNED)


def test_an_execution_error_of_one_engine_is_the_querys_error_whoever_else_answered() -> None:
    result = answer({"stage": QueryExecutionError("many-to-many matching", cluster="stage")})
    assert result.status == "failed"
    assert isinstance(result.error, QueryExecutionError)


def test_a_cluster_whose_worker_is_gone_when_planned_is_not_sent_anything_and_is_missing() -> None:
    served = [name for name in NAMES if name != "stage"]
    assert "stage" not in [shard.cluster_name for shard in planned(served=served).shards]
    result = answer(served=served)
    assert (result.status, verdicts(result)["stage"]) == ("partial", Verdict.NO_WORKER)


def test_a_worker_lost_while_the_query_ran_is_told_from_a_slow_one() -> None:
    made = planned()
    partials = {s.cluster_name: run_shard(s, store(1), lambda: NOW) for s in made.shards if s.cluster_name != "stage"}
    gone = combine(made, partials, set(NAMES) - {"stage"})
    assert verdicts(gone)["stage"] is Verdict.NO_WORKER
    slow = combine(made, partials, NAMES)
    assert verdicts(slow)["stage"] is Verdict.TIMED_OUT


def test_the_ledger_says_why_and_since_when_a_cluster_has_no_worker() -> None:
    absent = Presence(set(NAMES) - {"stage"}, {"stage": "its last worker was lost at noon"})
    reason = planned(served=absent).left_out[-1].reason
    assert reason == "no worker serves the queue cluster.stage: its last worker was lost at noon"
    row = next(row for row in combine(planned(), {}, absent).coverage.clusters if row.cluster == "stage")
    assert row.reason.endswith("while the query ran: its last worker was lost at noon")


def test_no_cluster_answering_is_never_an_empty_answer() -> None:
    silent = answer(dict.fromkeys(NAMES))
    assert isinstance(silent.error, QueryTimeout)
    broken = answer({name: Unreachable("refused") for name in NAMES})
    assert isinstance(broken.error, CoverageTooLow)
    unserved = answer(served=())
    assert isinstance(unserved.error, CoverageTooLow)
    assert set(unserved.error.clusters) == set(NAMES)


@pytest.mark.parametrize(
    ("require", "status"),
    [
        ("best_effort", "partial"),
        ("all", "failed"),
        ("quorum:5", "partial"),
        ("quorum:6", "failed"),
        ("critical:prod", "partial"),
        ("critical:stage", "failed"),
    ],
)
def test_a_requirement_decides_whether_a_part_is_good_enough(require: str, status: str) -> None:
    result = answer({"stage": None}, require=require)
    assert result.status == status
    if status == "failed":
        assert isinstance(result.error, CoverageTooLow)
        assert "stage" in result.error.clusters


@pytest.mark.parametrize(("require", "status"), [("quorum:0.7", "failed"), ("quorum:0.6", "partial")])
def test_a_share_is_of_the_weights_that_the_clusters_had_when_it_was_planned(require: str, status: str) -> None:
    # Stage has 3 of 8: five of six clusters are 0.625 of the weight.
    weighed = [replace(cluster, weight=3.0 if cluster.name == "stage" else 1.0) for cluster in CLUSTERS]
    query = Query("metrics", "sum(x)", TimeRange(NOW, NOW), "team-a", requirement=Requirement.parse(require))
    made = plan(query, SCOPE, weighed, query_id="q-1", served=NAMES, now_ms=NOW)
    made = Plan.from_wire(json.loads(json.dumps(made.to_wire())))
    partials = {s.cluster_name: run_shard(s, store(1), lambda: NOW) for s in made.shards if s.cluster_name != "stage"}
    assert combine(made, partials, NAMES).status == status


FULL = throttled("stage", "272 shards are on their way to it, the most it takes", 3)


def test_a_cluster_that_takes_no_shard_is_not_sent_one_and_is_in_the_ledger() -> None:
    made = without(planned(), [FULL])
    assert "stage" not in [shard.cluster_name for shard in made.shards]
    partials = {s.cluster_name: run_shard(s, store(1), lambda: NOW) for s in made.shards}
    result = combine(made, partials, NAMES)
    assert (result.status, verdicts(result)["stage"]) == ("partial", Verdict.THROTTLED)
    assert "cluster stage is missing (throttled): 272 shards" in result.warnings[0]


@pytest.mark.parametrize("require", ["all", "quorum:6", "quorum:0.9", "critical:stage"])
def test_what_cannot_be_met_without_a_refusing_cluster_is_refused_before_anything_is_sent(require: str) -> None:
    with pytest.raises(CoverageTooLow) as caught:
        without(planned(require=require), [FULL])
    assert (caught.value.clusters, caught.value.retry_after_s) == (["stage"], 3)


def test_a_cluster_that_refuses_while_the_query_runs_says_when_to_come_back() -> None:
    result = answer({"stage": Rejected("busy", retry_after_s=7)}, require="all")
    assert isinstance(result.error, CoverageTooLow)
    assert (result.error.clusters, result.error.retry_after_s) == (["stage"], 7)


def test_a_query_that_every_cluster_refuses_is_refused() -> None:
    with pytest.raises(CoverageTooLow, match="no cluster answered"):
        without(planned(), [throttled(name, "full", 1) for name in NAMES])


def test_a_shard_that_is_late_already_is_not_run() -> None:
    (shard, *_) = planned().shards
    connector = store(1)
    partial = run_shard(shard, connector, lambda: shard.deadline_ms)
    assert isinstance(partial.error, TimedOut)
    assert connector.asked == []


def test_a_constant_is_answered_with_no_cluster_up() -> None:
    made = planned("1 + 1", served=())
    assert made.shards == ()
    result = combine(made, {}, ())
    assert result.payload is not None
    assert result.payload.values.tolist() == [[2.0]]


def test_a_constant_needs_no_cluster_so_none_is_missing() -> None:
    assert combine(planned("1 + 1", served=()), {}, ()).status == "complete"


def test_a_selector_that_rejects_an_unserved_cluster_does_not_miss_it() -> None:
    served = [name for name in NAMES if name != "stage"]
    made = planned('x{cluster="prod"}', served=served)
    partials = {s.cluster_name: run_shard(s, store(1), lambda: NOW) for s in made.shards}
    result = combine(made, partials, served)
    assert (result.status, verdicts(result)["stage"]) == ("complete", Verdict.PRUNED)


@pytest.mark.parametrize("refuses", [False, True], ids=["no worker", "throttled"])
def test_a_cluster_that_is_sent_nothing_is_silent_about_what_it_would_have_been_asked_alone(refuses: bool) -> None:
    def ask(text: str) -> Result:
        made = planned(text, served=NAMES if refuses else set(NAMES) - {"stage"})
        made = without(made, [FULL]) if refuses else made
        return combine(made, {s.cluster_name: run_shard(s, store(1), lambda: NOW) for s in made.shards}, NAMES)

    decided = ask('absent(y{cluster="dev"}) * on () group_right () sum(x)')
    assert (total(decided), len(decided.warnings)) == (5.0, 1)
    undecided = ask("absent(y)")
    assert as_dict(undecided.payload) == {}
    assert "absent is undecided" in undecided.warnings[1]


@pytest.mark.parametrize(
    ("signal", "text", "asked"),
    [
        ("metrics", "x", False),
        ("metrics", "x + x offset 1h", False),
        ("metrics", "sum(x) / sum(x offset -1h)", False),
        ("metrics", "sum(x offset -1h)", True),
        ("logs", "{}", False),
        ("traces", "{ }", False),
        ("traces", "ab" * 16, True),
    ],
)
def test_a_cluster_is_asked_nothing_where_nothing_is_kept_of_all_that_is_looked_at(
    signal: str, text: str, asked: bool
) -> None:
    """And is missing: pruned without proof, it would be so from an answer that says it is complete."""
    kept_ms, now_ms = 3_600_000, 100_000_000
    backends = tuple(Backend(name, "memory", origin="t:1") for name in ("metrics", "logs", "traces"))
    cluster = Cluster("prod", "prod", backends, retention_ms=kept_ms)
    query = Query(signal, text, TimeRange(0, now_ms - kept_ms - 1), "team-a")
    made = plan(query, SCOPE, [cluster], query_id="q-1", served=NAMES, now_ms=now_ms)
    assert [shard.cluster_name for shard in made.shards] == ["prod"] * asked
    assert [row.verdict for row in made.left_out] == [Verdict.PARTIAL] * (not asked)


def test_text_that_does_not_parse_sends_nothing() -> None:
    with pytest.raises(QuerySyntaxError):
        planned("sum(")


def test_a_plan_survives_the_wire_and_prints_itself() -> None:
    made = planned("sum by (cluster) (rate(x[5m]))")
    back = Plan.from_wire(json.loads(json.dumps(made.to_wire())))
    assert back.explain() == made.explain()
    assert [row["cluster"] for row in made.explain()["shards"]] == list(NAMES)
    assert made.notes


def test_what_is_known_of_the_engines_is_explained_and_survives_the_wire() -> None:
    served = Presence(NAMES, engines={"dev": "ours", "prod": "Prometheus/2.42/eg", "elsewhere": "ours"})
    made = planned("sum(rate(x[5m]))", served=served)
    assert made.engines == {"dev": "ours", "prod": "Prometheus/2.42/eg"}
    said = explain(Plan.from_wire(json.loads(json.dumps(made.to_wire()))))
    assert said == explain(made)
    told = said["notes"][len(made.notes) :]
    assert [note.partition(":")[0] for note in told] == [
        "engine of app-prod, shared-services, stage, test",
        "engine of dev",
        "engine of prod",
        "windows differ",
    ]


def test_a_plan_that_an_older_release_wrote_knows_no_engines() -> None:
    wire = planned().to_wire()
    del wire["engines"]
    assert "not known yet" in explain(Plan.from_wire(wire))["notes"][-1]


def test_equal_questions_of_one_scope_have_one_fingerprint_and_all_others_differ() -> None:
    def digest(text: str = "sum(x)", end_ms: int = NOW, scope: Scope = SCOPE, **given: object) -> str:
        query = Query("metrics", text, TimeRange(NOW, end_ms), "team-a", **given)  # type: ignore[arg-type]
        return fingerprint(query, text, scope)

    narrowed = Scope("team-a", {**SCOPE.allowed, "prod": (Matcher("namespace", MatchOp.EQ, "a"),)})
    same = {digest(), digest()}
    different = {
        digest("sum(y)"),
        digest(end_ms=NOW + 1),
        digest(scope=narrowed),
        digest(clusters=("prod",)),
        digest(limit=5),
        digest(requirement=Requirement.parse("all")),
    }
    assert len(same) == 1
    assert len(same | different) == 7


def test_an_error_does_not_keep_the_answer_that_it_came_of() -> None:
    """A traceback's frames hold what was read; the errors of a few answers would fill a worker's memory."""
    try:
        raise ValueError("of the answer's reader") from OSError("below it")
    except ValueError as cause:
        error = Malformed("no answer", cluster="prod")
        error.__cause__ = cause
    shard = next(shard for shard in planned().shards if shard.cluster_name == "prod")
    kept = run_shard(shard, FailingConnector(error), lambda: NOW).error
    assert kept is not None
    assert (kept.__traceback__, kept.__cause__, kept.__context__) == (None, None, None)

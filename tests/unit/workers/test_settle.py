from dataclasses import replace
from threading import Thread
from typing import Any

import numpy as np
import pytest

from federation_core import federate
from federation_core.connectors.stores.jobs import Jobs
from federation_core.connectors.stores.sealed import seal
from federation_core.errors import (
    CoverageTooLow,
    InternalError,
    QueryCanceled,
    QueryExecutionError,
    QueryNotFound,
    QueryTimeout,
    QueryTooLarge,
)
from federation_core.labels import Labels
from federation_core.outcome import ClusterVerdict, Partial, Result, Stats, Verdict
from federation_core.plan import Plan
from federation_core.query import TimeRange
from federation_core.signals.metrics import KIND
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.wire import encode_partial
from tests.support.plans import NOW_MS, plan_of
from workers import settle as module
from workers.settle import settle

CLUSTERS = ("dev", "prod")


def frame(value: float, cluster: str) -> Frame:
    return Frame(
        labels=(Labels.of({"__name__": "up", "cluster": cluster}),),
        grid=Grid.of(TimeRange(NOW_MS, NOW_MS)),
        values=np.array([[value]]),
        present=np.array([[True]]),
        kind="vector",
    )


def partial_of(cluster: str, **changes: Any) -> Partial:
    return replace(Partial("q1", cluster, payloads={"a": frame(1.0, cluster)}, stats=Stats(1, 1)), **changes)


@pytest.fixture
def jobs(redis_url: str) -> Jobs:
    return Jobs(redis_url, clock=lambda: NOW_MS)


@pytest.fixture
def plan(jobs: Jobs) -> Plan:
    made = plan_of(clusters=CLUSTERS)
    # The root of a plan is the signal's own text; asking for one leaf is the smallest there is.
    split = KIND.split(KIND.parse("up"), made.query, list(CLUSTERS))
    made = replace(made, root=split.root)
    jobs.create(made)
    return made


def put(jobs: Jobs, cluster: str, data: bytes) -> None:
    jobs.parts.put("acme", "q1", cluster, data, ClusterVerdict(cluster, Verdict.OK))


def put_partial(jobs: Jobs, partial: Partial, cluster: str = "") -> bytes:
    data = seal(encode_partial(partial, KIND.encode))
    put(jobs, cluster or partial.cluster_id, data)
    return data


def end(jobs: Jobs, served: tuple[str, ...] = CLUSTERS) -> Result:
    return settle(jobs, "acme", "q1", lambda: served, lambda: NOW_MS)


def rows(result: Result) -> dict[str, str]:
    return {row.cluster: row.verdict.value for row in result.coverage.clusters}


def test_all_parts_make_a_complete_result(jobs: Jobs, plan: Plan) -> None:
    data = [put_partial(jobs, partial_of(name)) for name in CLUSTERS]
    result = end(jobs)
    assert (result.status, rows(result)) == ("complete", {"dev": "ok", "prod": "ok", "stage": "pruned"})
    assert [row.stats.bytes for row in result.coverage.clusters] == [len(data[0]), len(data[1]), 0]


def test_a_silent_cluster_has_timed_out_or_lost_its_worker(jobs: Jobs, plan: Plan) -> None:
    put_partial(jobs, partial_of("prod"))
    assert rows(end(jobs, served=("dev", "prod")))["dev"] == "timed_out"


def test_a_silent_cluster_without_a_living_worker_is_no_worker(jobs: Jobs, plan: Plan) -> None:
    put_partial(jobs, partial_of("prod"))
    assert rows(end(jobs, served=("prod",)))["dev"] == "no_worker"


def test_without_any_part_the_query_has_timed_out(jobs: Jobs, plan: Plan) -> None:
    result = end(jobs)
    assert (result.status, type(result.error)) == ("failed", QueryTimeout)


@pytest.mark.parametrize(
    "junk",
    [b"", b"junk", seal(b""), seal(b"junk"), seal(b"\x80"), seal(b"\x81\xa1v\x01"), seal(b"\x81\xa1v\x63")],
    ids=["empty", "junk", "sealed empty", "sealed junk", "no fields", "only version", "other version"],
)
def test_a_part_that_cannot_be_read_fails_its_cluster_only(jobs: Jobs, plan: Plan, junk: bytes) -> None:
    put_partial(jobs, partial_of("prod"))
    put(jobs, "dev", junk)
    result = end(jobs)
    assert (result.status, rows(result)) == ("partial", {"dev": "failed", "prod": "ok", "stage": "pruned"})


@pytest.mark.parametrize("forged", [partial_of("prod"), partial_of("dev", query_id="q2")], ids=["cluster", "query"])
def test_a_part_of_another_cluster_or_query_is_not_believed(jobs: Jobs, plan: Plan, forged: Partial) -> None:
    put_partial(jobs, partial_of("prod"))
    put_partial(jobs, forged, "dev")
    result = end(jobs)
    assert (result.status, rows(result)["dev"]) == ("partial", "failed")


def test_an_engines_refusal_fails_the_whole_query(jobs: Jobs, plan: Plan) -> None:
    error = QueryExecutionError("many-to-many matching", cluster="dev")
    put_partial(jobs, Partial("q1", "dev", error=error))
    put_partial(jobs, partial_of("prod"))
    result = end(jobs)
    assert (result.status, type(result.error)) == ("failed", QueryExecutionError)


def test_a_bug_in_a_worker_fails_its_cluster_only(jobs: Jobs, plan: Plan) -> None:
    put_partial(jobs, Partial("q1", "dev", error=InternalError("a bug")))
    put_partial(jobs, partial_of("prod"))
    assert (end(jobs).status, rows(end(jobs))["dev"]) == ("partial", "failed")


def test_no_usable_part_is_coverage_too_low(jobs: Jobs, plan: Plan) -> None:
    put(jobs, "dev", b"junk")
    put(jobs, "prod", b"junk")
    assert isinstance(end(jobs).error, CoverageTooLow)


def test_a_bug_in_merging_ends_the_job_too(jobs: Jobs, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(federate, "combine", fail)
    put_partial(jobs, partial_of("prod"))
    result = end(jobs)
    assert (result.status, type(result.error)) == ("failed", InternalError)
    assert rows(result)["prod"] == "ok"
    assert jobs.job("acme", "q1").state.value == "failed"


def test_a_bug_in_merging_leaves_no_cluster_out_of_the_ledger(
    jobs: Jobs, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_partial(jobs, partial_of("prod"))
    monkeypatch.setattr(federate, "combine", lambda *_: 1 / 0)
    assert rows(end(jobs)) == {"dev": "timed_out", "prod": "ok", "stage": "pruned"}


def test_settling_again_returns_the_stored_result(jobs: Jobs, plan: Plan) -> None:
    put_partial(jobs, partial_of("prod"))
    first = end(jobs)
    put_partial(jobs, partial_of("dev"))
    assert rows(end(jobs)) == rows(first)


def test_a_second_settler_waits_for_the_first_and_gets_its_result(
    jobs: Jobs, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_partial(jobs, partial_of("prod"))
    jobs.claim("acme", "q1")
    results: list[Result] = []
    second = Thread(target=lambda: results.append(end(jobs)))
    second.start()
    combined = federate.combine(plan, {"prod": partial_of("prod"), "dev": partial_of("dev")}, CLUSTERS)
    jobs.put_result("acme", "q1", seal(module.encode_result(combined, KIND.encode)), module.JobState.COMPLETE)
    second.join()
    assert results[0].status == "complete"


def test_a_settler_that_died_holds_nobody_up(jobs: Jobs, plan: Plan) -> None:
    put_partial(jobs, partial_of("prod"))
    jobs.claim("acme", "q1")
    assert end(jobs).status == "partial"


def test_a_job_that_is_not_there_is_not_found(jobs: Jobs) -> None:
    with pytest.raises(QueryNotFound):
        end(jobs)


def test_a_cancelled_job_has_one_result_that_says_so(jobs: Jobs, plan: Plan) -> None:
    put_partial(jobs, partial_of("prod"))
    assert module.cancel(jobs, plan)
    result = end(jobs)
    assert (result.status, type(result.error)) == ("failed", QueryCanceled)
    assert rows(result) == {"dev": "failed", "prod": "ok", "stage": "pruned"}
    assert jobs.job("acme", "q1").state is module.JobState.CANCELLED


def test_a_job_that_has_ended_cannot_be_cancelled(jobs: Jobs, plan: Plan) -> None:
    put_partial(jobs, partial_of("prod"))
    first = end(jobs)
    assert not module.cancel(jobs, plan)
    assert rows(end(jobs)) == rows(first)


def test_parts_after_the_result_are_counted_and_change_nothing(jobs: Jobs, plan: Plan) -> None:
    put_partial(jobs, partial_of("prod"))
    first = end(jobs)
    put_partial(jobs, partial_of("dev"))
    assert jobs.job("acme", "q1").late_parts == 1
    assert rows(end(jobs)) == rows(first)
    assert jobs.parts.read("acme", "q1", CLUSTERS) == {}
    put_partial(jobs, partial_of("dev"))
    assert jobs.job("acme", "q1").late_parts == 2


def test_no_part_is_late_while_the_job_is_open(jobs: Jobs, plan: Plan) -> None:
    put_partial(jobs, partial_of("prod"))
    assert jobs.parts.drop_late("acme", "q1", CLUSTERS) == 0
    assert jobs.job("acme", "q1").late_parts == 0
    assert list(jobs.parts.read("acme", "q1", CLUSTERS)) == ["prod"]


def test_a_result_above_the_cap_becomes_an_error_with_both_sizes(jobs: Jobs, plan: Plan) -> None:
    for name in CLUSTERS:
        put_partial(jobs, partial_of(name))
    result = settle(jobs, "acme", "q1", lambda: CLUSTERS, lambda: NOW_MS, max_bytes=100)
    assert isinstance(result.error, QueryTooLarge)
    assert (result.error.allowed, result.error.asked > 100) == (100, True)
    assert rows(result)["dev"] == "ok"
    stored = end(jobs)
    assert isinstance(stored.error, QueryTooLarge)


def test_a_merging_that_was_lost_twice_ends_as_failed(jobs: Jobs, plan: Plan) -> None:
    put_partial(jobs, partial_of("prod"))
    assert module.give_up(jobs, plan)
    result = end(jobs)
    assert (result.status, type(result.error)) == ("failed", InternalError)
    assert result.error is not None
    assert "lost twice" in result.error.message


def test_a_part_that_is_written_again_with_other_bytes_is_the_first_one(jobs: Jobs, plan: Plan) -> None:
    first = {name: put_partial(jobs, partial_of(name)) for name in CLUSTERS}
    put_partial(jobs, replace(partial_of("prod"), warnings=("said the second time",)))
    result = end(jobs)
    row = next(row for row in result.coverage.clusters if row.cluster == "prod")
    assert (rows(result), row.stats.bytes) == ({"dev": "ok", "prod": "ok", "stage": "pruned"}, len(first["prod"]))
    assert jobs.job("acme", "q1").late_parts == 0

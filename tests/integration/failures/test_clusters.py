"""A cluster that dies, hangs, drips, or has nobody who reads its queue."""

from __future__ import annotations

import pytest

from federation_core.connectors.stores.redis import connect
from tests.integration.failures.conftest import ALL_OK, Federation
from tests.support.stack import CLUSTERS, verdicts

pytestmark = pytest.mark.heavy
#: Until a few seconds after its last heartbeat a worker is taken to be slow.
LOST = ("timed_out", "no_worker")


@pytest.mark.parametrize("name", CLUSTERS)
@pytest.mark.parametrize("when", ["before", "during"])
def test_each_clusters_worker_may_be_killed_before_or_during_its_part(
    federation: Federation, name: str, when: str
) -> None:
    if when == "before":
        plan = federation.stack.plan(timeout_ms=1_200)
        federation.kill(name)
        federation.stack.dispatch.submit(plan)
    else:
        federation.stack.break_clusters({name: {"exit": True}})
        plan = federation.submitted(1_200)
        federation.workers[name].wait(10)
    found = verdicts(federation.answer(plan))
    assert found.pop(name) in LOST
    assert found == {other: "ok" for other in CLUSTERS if other != name}


@pytest.mark.parametrize("name", CLUSTERS)
def test_each_clusters_worker_may_be_killed_after_its_part(federation: Federation, name: str) -> None:
    other = next(cluster for cluster in CLUSTERS if cluster != name)
    federation.stack.break_clusters({other: {"hold": True}})
    # Killed before it could tell the chord, it makes the answer wait for the deadline; the answer is whole anyway.
    plan = federation.submitted(4_000)
    federation.stack.until(lambda: name in federation.parts(plan))
    federation.kill(name)
    federation.stack.break_clusters({})
    assert verdicts(federation.answer(plan)) == ALL_OK


def test_a_queue_that_nobody_reads_costs_its_cluster_at_the_deadline(federation: Federation) -> None:
    federation.kill("stage")
    federation.stack.until(lambda: "stage" not in federation.stack.dispatch.served())
    # Somebody says that he serves the queue and does not.
    federation.stack.dispatch.jobs.beats.beat(["stage"], "ghost:1", federation.stack.now_ms, alive_ms=60_000)
    plan = federation.submitted()
    assert verdicts(federation.answer(plan)) == {**ALL_OK, "stage": "timed_out"}
    # Beside it there may be what a killed worker had left.
    waiting = connect(federation.stack.url).lrange("cluster.stage", 0, -1)
    assert sum(plan.query_id.encode() in message for message in waiting) == 1
    federation.stack.dispatch.jobs.beats.beat(["stage"], "ghost:1", federation.stack.now_ms, alive_ms=0)


@pytest.mark.parametrize(
    ("fault", "verdict", "reason"),
    [
        ({"raise": "a bug"}, "failed", "RuntimeError in the worker of stage"),
        ({"write_garbage": True}, "failed", "not in a format"),
        ({"hold": True}, "timed_out", "no answer within 1500 ms"),
        ({"drip_s": 0.05}, "timed_out", "the cluster's deadline has passed"),
        ({"truncate": "the backend's limit"}, "partial", "the backend's limit"),
    ],
    ids=["crash", "garbage", "hang", "drip", "cut short"],
)
def test_the_ledger_names_what_a_backend_did(
    federation: Federation, fault: dict[str, object], verdict: str, reason: str
) -> None:
    federation.stack.break_clusters({"stage": fault})
    result = federation.stack.dispatch.wait(plan := federation.submitted())
    assert result is not None
    federation.check_end(plan)
    (row,) = [row for row in result.coverage.clusters if row.cluster == "stage"]
    assert (result.status, verdicts(result)) == ("partial", {**ALL_OK, "stage": verdict})
    assert reason in row.reason


def test_a_backlog_of_a_cluster_that_hangs_costs_the_others_nothing(federation: Federation) -> None:
    federation.stack.break_clusters({"stage": {"hold": True}})
    plans = [federation.submitted(2_500) for _ in range(20)]
    assert [verdicts(federation.answer(plan)) for plan in plans] == [{**ALL_OK, "stage": "timed_out"}] * 20

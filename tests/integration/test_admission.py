"""Admission in front of real workers: a cluster that hangs costs nobody else, and no place is lost with a process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.redis import connect
from tests.support.stack import CLUSTERS, COUNTS, METRIC, Stack, kill
from tests.support.web_server import Answer, WebServer

pytestmark = pytest.mark.heavy
OTHERS = tuple(name for name in CLUSTERS if name != "stage")
STAGE = "cluster.stage"


def limit(stack: Stack, rate_limit: str, **environ: str) -> None:
    """Give stage a rate limit, and the roles started from now on some settings."""
    file = stack.folder / "config" / "clusters.yaml"
    file.write_text(file.read_text().replace("name: stage\n", f"name: stage\n    rateLimit: {rate_limit}\n"))
    stack.environ.update(environ)


def post(web: WebServer, number: int, path: str = "/api/v1/queries", timeout: str = "20s") -> Answer:
    """Ask all clusters for a sum that no other query asks for, so that no two share an execution."""
    query = {"query": f"sum({METRIC}) + {number}", "time": web.stack.now_ms / 1000, "timeout": timeout}
    return web.post(path, query if path.endswith("metrics/query") else query | {"signal": "metrics"})


def value(answer: Answer) -> float:
    return float(answer.json["result"][0]["value"][1])


def rows(answer: Answer) -> dict[str, str]:
    return {row["cluster"]: row["verdict"] for row in answer.json["coverage"]["clusters"]}


def test_a_cluster_that_hangs_costs_neither_the_others_nor_the_tenants_cap(own_stack: Stack) -> None:
    limit(own_stack, "{maxConcurrent: 2, maxQueued: 6}", MAX_RUNNING_JOBS="12")
    own_stack.start_merge(with_beat=True)
    own_stack.start_worker(OTHERS)
    own_stack.start_worker(("stage",))
    redis = connect(own_stack.url)
    with WebServer(own_stack) as web:
        assert post(web, 0, "/api/v1/metrics/query", "30s").json["status"] == "complete"
        own_stack.break_clusters({"stage": {"hold": True}})
        # Six of stage's eight places are one tenant's; these wait for it.
        stuck = [post(web, number, timeout="5m") for number in range(1, 7)]
        assert [answer.status_code for answer in stuck] == [202] * 6
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda number: post(web, number, "/api/v1/metrics/query"), range(7, 101)))
        assert [answer.status_code for answer in answers] == [200] * 94
        assert all(rows(answer) == {**dict.fromkeys(CLUSTERS, "ok"), "stage": "throttled"} for answer in answers)
        alone = sum(COUNTS[name] for name in OTHERS)
        assert [value(answer) for answer in answers] == [alone + number for number in range(7, 101)]
        assert redis.zcard(keys.in_flight("stage")) == 6
        assert redis.llen(STAGE) <= 6
        own_stack.break_clusters({})
        for answer in stuck:
            path = f"/api/v1/queries/{answer.json['queryId']}/result"
            assert web.get(path, Prefer="wait=20").json["status"] == "complete"
        assert post(web, 101, "/api/v1/metrics/query").json["status"] == "complete"
    assert redis.keys("inflight:*") + redis.keys("running:*") == []


@pytest.mark.parametrize(("rate_limit", "at_once"), [("{maxConcurrent: 16}", 5), ("{maxConcurrent: 2}", 4)])
def test_a_worker_of_several_clusters_gives_one_that_hangs_its_own_threads_only(
    own_stack: Stack, rate_limit: str, at_once: int
) -> None:
    limit(own_stack, rate_limit)
    own_stack.start_merge()
    own_stack.start_worker()
    assert own_stack.ask(timeout_ms=30_000).status == "complete"
    own_stack.break_clusters({"stage": {"hold": True}})
    plans = [own_stack.plan(f"sum({METRIC}) + {number}", timeout_ms=120_000) for number in range(40)]
    for plan in plans:
        own_stack.dispatch.submit(plan)
    redis = connect(own_stack.url)
    # All others' parts are there though forty tasks hang, which is more than the worker has threads.
    jobs = own_stack.dispatch.jobs
    own_stack.until(lambda: all(len(jobs.parts.read("acme", plan.query_id, CLUSTERS)) == len(OTHERS) for plan in plans))
    assert redis.llen(STAGE) == 40 - at_once
    own_stack.break_clusters({})
    results = [own_stack.dispatch.wait(plan) for plan in plans]
    assert [result.status for result in results if result is not None] == ["complete"] * 40


def test_a_web_role_that_is_killed_keeps_no_place(own_stack: Stack) -> None:
    # Nobody merges and nobody reaps: the leases alone must give the places back.
    limit(own_stack, "{maxConcurrent: 2, maxQueued: 0}", MAX_RUNNING_JOBS="2")
    own_stack.start_worker(OTHERS)
    own_stack.start_worker(("stage",))
    own_stack.break_clusters({name: {"hold": True} for name in CLUSTERS})
    with WebServer(own_stack) as web:
        assert [post(web, number, timeout="7s").status_code for number in (1, 2)] == [202, 202]
        kill(web.process)
    own_stack.break_clusters({})
    with WebServer(own_stack) as web:
        refused = post(web, 3)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 5
        own_stack.until(lambda: post(web, 3).status_code == 202)

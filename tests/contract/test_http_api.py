"""The native HTTP API as a client meets it: gunicorn, real Redis, real workers, six embedded stores."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection
from typing import Any

import jwt
import pytest

from federation_core.config import Auth, Settings
from federation_core.connectors.otlp.ingest import Ingest
from federation_core.connectors.stores.segments import SegmentStore
from tests.support.openapi import mismatches
from tests.support.otlp_requests import attributes
from tests.support.stack import CLUSTERS, COUNTS, METRIC, Stack
from tests.support.web_server import WebServer
from webapp import create_app

pytestmark = pytest.mark.heavy
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SUM = {"query": f"sum({METRIC})"}
EVERYTHING = str(sum(COUNTS.values()))
JSON = {"Content-Type": "application/json"}
KEY = "a-secret-of-at-least-thirty-two-bytes"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("http")) as stack:
        _add_trace_and_logs(stack)
        stack.start_merge()
        stack.start_worker(set(CLUSTERS) - {"stage"})
        yield stack


@pytest.fixture(scope="module")
def web(stack: Stack) -> Iterator[WebServer]:
    with WebServer(stack) as web:
        yield web


@pytest.fixture(autouse=True)
def _faults_end_with_the_test(stack: Stack) -> Iterator[None]:
    yield
    stack.break_clusters({})


@pytest.fixture(scope="class")
def six(stack: Stack, web: WebServer) -> Iterator[WebServer]:
    """The server while every cluster has its worker."""
    worker = stack.start_worker({"stage"})
    yield web
    worker.terminate()
    worker.wait(10)
    stack.until(lambda: "stage" not in stack.dispatch.served())


def _add_trace_and_logs(stack: Stack) -> None:
    """One trace that crosses prod and app-prod, and a log line of it in each."""
    start_ns = (stack.now_ms - 60_000) * 1_000_000
    for index, (cluster, parent) in enumerate((("prod", ""), ("app-prod", "a" * 16))):
        resource = {"attributes": attributes({"service.name": cluster + "-shop", "k8s.namespace.name": "shop"})}
        span = {
            "traceId": TRACE_ID,
            "spanId": "ab"[index] * 16,
            "parentSpanId": parent,
            "name": f"GET /{cluster}",
            "kind": 2,
            "startTimeUnixNano": str(start_ns + index * 1_000_000),
            "endTimeUnixNano": str(start_ns + 50_000_000 - index * 1_000_000),
        }
        record = {
            "timeUnixNano": str(start_ns + index),
            "severityText": "ERROR",
            "body": {"stringValue": f"timeout in {cluster}"},
            "traceId": TRACE_ID,
        }
        with SegmentStore(stack.folder / "stores" / cluster, cluster=cluster) as store:
            ingest = Ingest(store)
            ingest.add({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]})
            ingest.add({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]})
            ingest.flush()


@pytest.fixture(scope="module")
def document(web: WebServer) -> dict[str, Any]:
    return web.get("/api/openapi.json").json


class TestSixClusters:
    """While every cluster has its worker."""

    def test_metrics_of_six_clusters_are_one_answer(self, six: WebServer, document: dict[str, Any]) -> None:
        answer = six.post("/api/v1/metrics/query", SUM)
        assert (answer.status_code, answer.json["status"]) == (200, "complete")
        assert answer.json["result"][0]["value"][1] == EVERYTHING
        assert answer.headers["X-Federation-Coverage"] == "6/6"
        assert [part.partition(";")[0] for part in answer.headers["Server-Timing"].split(", ")] == [
            f"cl-{name}" for name in CLUSTERS
        ]
        assert mismatches(document, "post", "/api/v1/metrics/query", answer) == []

    def test_a_range_over_http_keeps_its_grid(self, six: WebServer) -> None:
        body = {"query": METRIC, "start": "-5m", "step": "1m", "clusters": ["prod"]}
        (row,) = six.post("/api/v1/metrics/query", body).json["result"]
        assert [value for _, value in row["values"]] == [str(COUNTS["prod"])] * 6
        assert row["metric"]["cluster"] == "prod"

    def test_a_trace_crosses_clusters(self, six: WebServer, document: dict[str, Any]) -> None:
        answer = six.get(f"/api/v1/traces/{TRACE_ID}")
        assert answer.json["clusters"] == ["app-prod", "prod"]
        assert [span["cluster"] for span in answer.json["spans"]] == ["prod", "app-prod"]
        assert (answer.json["rootService"], answer.json["durationNano"]) == ("prod-shop", "50000000")
        assert mismatches(document, "get", f"/api/v1/traces/{TRACE_ID}", answer) == []

    def test_a_trace_is_found_by_what_its_spans_are(self, six: WebServer, document: dict[str, Any]) -> None:
        path = "/api/v1/traces?service=app-prod-shop&minDuration=1ms"
        answer = six.get(path)
        assert [trace["traceId"] for trace in answer.json["traces"]] == [TRACE_ID]
        assert mismatches(document, "get", path, answer) == []

    def test_a_trace_that_no_cluster_has_is_404_once_all_have_answered(self, six: WebServer) -> None:
        answer = six.get("/api/v1/traces/" + "cd" * 16)
        assert (answer.status_code, answer.json["type"]) == (404, "/api/problems/trace-not-found")
        assert answer.headers["X-Federation-Coverage"] == "6/6"

    def test_logs_of_all_clusters_are_in_one_order(self, six: WebServer, document: dict[str, Any]) -> None:
        answer = six.post("/api/v1/logs/search", {"text": "timeout", "traceId": TRACE_ID, "level": "error"})
        assert [entry["cluster"] for entry in answer.json["entries"]] == ["app-prod", "prod"]
        assert mismatches(document, "post", "/api/v1/logs/search", answer) == []

    @pytest.mark.parametrize(
        ("rows", "body"),
        [
            ("entries", {"signal": "logs", "query": '{level="error"}'}),
            ("spans", {"signal": "traces", "query": TRACE_ID}),
        ],
    )
    def test_logs_and_spans_come_in_pages_of_their_own_order(
        self, six: WebServer, document: dict[str, Any], rows: str, body: dict[str, Any]
    ) -> None:
        where = six.post("/api/v1/queries", body).headers["Location"] + "/result"
        whole = six.get(where, Prefer="wait=20").json[rows]
        first = six.get(where + "?limit=1")
        second = six.get(f"{where}?cursor={first.json['cursor']}")
        assert first.headers["Link"] == f'<{where}?cursor={first.json["cursor"]}>; rel="next"'
        assert (len(whole), first.json[rows] + second.json[rows], second.json["cursor"]) == (2, whole, None)
        assert mismatches(document, "get", where, first) == []

    def test_a_job_is_submitted_watched_and_collected(self, six: WebServer, document: dict[str, Any]) -> None:
        submitted = six.post("/api/v1/queries", {"signal": "metrics", **SUM})
        assert submitted.status_code == 202
        where = submitted.headers["Location"]
        end = time.monotonic() + 20
        while (job := six.get(where)).json["percent"] != 100:
            assert time.monotonic() < end
            assert "Retry-After" in job.headers
        assert (job.json["state"], {row["state"] for row in job.json["progress"]}) == ("complete", {"ok"})
        assert six.get(where, If_None_Match=job.headers["ETag"]).status_code == 304
        result = six.get(where + "/result")
        assert (result.status_code, result.json["result"][0]["value"][1]) == (200, EVERYTHING)
        assert where in {listed["links"]["self"] for listed in six.get("/api/v1/queries").json["queries"]}
        for rest, answer in (("", job), ("/result", result), ("/explain", six.get(where + "/explain"))):
            assert mismatches(document, "get", where + rest, answer) == []

    def test_a_held_job_shows_who_is_still_running_and_can_be_waited_for(self, stack: Stack, six: WebServer) -> None:
        stack.break_clusters({"dev": {"hold": True}})
        where = six.post("/api/v1/queries", {"signal": "metrics", **SUM}).headers["Location"]
        stack.until(lambda: six.get(where).json["percent"] == 83)

        def states() -> dict[str, str]:
            return {row["cluster"]: row["state"] for row in six.get(where).json["progress"]}

        # That a shard has begun is said once it has run for a moment.
        stack.until(lambda: states() == {**dict.fromkeys(CLUSTERS, "ok"), "dev": "running"})
        running = six.get(where + "/result", Prefer="wait=1")
        assert (running.status_code, running.headers["Preference-Applied"]) == (202, "wait=1")
        with ThreadPoolExecutor() as pool:
            waiters = [pool.submit(six.get, where + "/result", Prefer="wait=20") for _ in range(4)]
            stack.break_clusters({})
            assert {waiter.result().json["result"][0]["value"][1] for waiter in waiters} == {EVERYTHING}

    def test_a_slow_cluster_costs_its_own_share_and_no_more_than_the_deadline(
        self, stack: Stack, six: WebServer
    ) -> None:
        stack.break_clusters({"dev": {"hold": True}})
        answer = six.post("/api/v1/metrics/query", SUM | {"timeout": "1s"})
        assert (answer.status_code, answer.headers["X-Federation-Coverage"]) == (200, "5/6;missing=dev")
        assert answer.json["result"][0]["value"][1] == str(sum(COUNTS.values()) - COUNTS["dev"])
        verdicts = {row["cluster"]: row["verdict"] for row in answer.json["coverage"]["clusters"]}
        assert verdicts == {**dict.fromkeys(CLUSTERS, "ok"), "dev": "timed_out"}


def test_a_cluster_without_a_worker_is_named_at_once(web: WebServer, document: dict[str, Any]) -> None:
    answer = web.post("/api/v1/metrics/query", SUM)
    assert (answer.json["status"], answer.headers["X-Federation-Coverage"]) == ("partial", "5/6;missing=stage")
    stage = next(row for row in answer.json["coverage"]["clusters"] if row["cluster"] == "stage")
    assert (stage["verdict"], stage["error"]["class"]) == ("no_worker", "Unserved")
    assert any("stage" in warning for warning in answer.json["warnings"])
    assert mismatches(document, "post", "/api/v1/metrics/query", answer) == []


def test_a_requirement_that_is_not_met_is_503_with_the_ledger(web: WebServer, document: dict[str, Any]) -> None:
    answer = web.post("/api/v1/metrics/query", SUM | {"require": "critical:stage"})
    assert (answer.status_code, answer.json["clusters"]) == (503, ["stage"])
    assert len(answer.json["coverage"]["clusters"]) == 6
    assert mismatches(document, "post", "/api/v1/metrics/query", answer) == []


def test_clusters_say_whether_a_worker_serves_them(web: WebServer, document: dict[str, Any]) -> None:
    answer = web.get("/api/v1/clusters")
    alive = {cluster["name"]: cluster["worker"]["alive"] for cluster in answer.json["clusters"]}
    assert alive == {**dict.fromkeys(CLUSTERS, True), "stage": False}
    assert web.get("/ready").json == {"status": "ready", "clusters": 6, "served": 5}
    assert mismatches(document, "get", "/api/v1/clusters", answer) == []


def test_how_a_cluster_is_was_seen_by_its_workers(stack: Stack, web: WebServer, document: dict[str, Any]) -> None:
    path = "/api/v1/clusters/prod/health"
    stack.until(lambda: web.get(path).json["status"] == "healthy")
    answer = web.get(path)
    rows = {row["signal"]: row for row in answer.json["backends"]}
    assert {"metrics", "logs", "traces"} <= set(rows)
    assert {row["status"] for row in rows.values()} == {"up"}
    assert all(row["checkedAgeMs"] < 60_000 and row["latencyMs"] is not None for row in rows.values())
    stack.until(lambda: all(row["newestMs"] for row in web.get(path).json["backends"]))
    (logs,) = (row for row in web.get(path).json["backends"] if row["signal"] == "logs")
    assert (logs["newestMs"], logs["version"][:9]) == (stack.now_ms - 60_000, "AppSentry")
    assert mismatches(document, "get", path, answer) == []


def test_a_cluster_that_nobody_serves_is_down_and_says_since_when(web: WebServer, document: dict[str, Any]) -> None:
    path = "/api/v1/clusters/stage/health"
    answer = web.get(path)
    assert (answer.json["status"], answer.json["worker"]["alive"]) == ("down", False)
    assert mismatches(document, "get", path, answer) == []
    found = {cluster["name"]: cluster for cluster in web.get("/api/v1/clusters").json["clusters"]}
    assert next(iter(found["stage"]["errors"])) == "worker"


def test_the_web_role_logs_json_with_query_and_trace_ids(web: WebServer) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    answer = web.post("/api/v1/metrics/query", SUM, traceparent=f"00-{trace_id}-b7ad6b7169203331-01")
    lines = [line for line in web.log().splitlines() if answer.json["queryId"] in line]
    assert lines
    assert all(f'"trace_id": "{trace_id}"' in line and '"role": "web"' in line for line in lines)


def test_a_body_in_chunks_is_held_to_the_same_cap(web: WebServer) -> None:
    """Cut at the cap, this body would be valid JSON."""
    for spaces, status in ((1_000, 200), (600_000, 413)):
        connection = HTTPConnection(web.url.removeprefix("http://"))
        connection.request("POST", "/api/v1/metrics/query", iter([b'{"query":', b'"1+1"}', b" " * spaces]), JSON)
        assert connection.getresponse().status == status
        connection.close()


def test_hostile_queries_leave_the_server_standing(web: WebServer) -> None:
    for text in ("(" * 60_000, "-" * 60_000, "up" + "+up" * 20_000, "\x00" * 10_000):
        assert web.post("/api/v1/metrics/query", {"query": text}).status_code in (400, 422)
    assert web.process.poll() is None


def _tokens(settings: Settings) -> Settings:
    return replace(settings, auth=Auth(enabled=True, key=KEY))


def _bearer(tenant: str, clusters: Any) -> dict[str, str]:
    claims = {"tenant": tenant, "clusters": clusters, "exp": int(time.time()) + 60}
    return {"Authorization": f"Bearer {jwt.encode(claims, KEY, 'HS256')}"}


def test_tenants_share_a_store_and_see_nothing_of_each_other(stack: Stack) -> None:
    client = create_app(_tokens(stack.settings)).test_client()
    ours, theirs = _bearer("a", ["prod", "dev"]), _bearer("a:", ["prod"])
    answer = client.post("/api/v1/metrics/query", json=SUM, headers=ours)
    assert answer.json["result"][0]["value"][1] == str(COUNTS["prod"] + COUNTS["dev"])
    where = f"/api/v1/queries/{answer.json['queryId']}"
    assert client.get(where + "/result", headers=ours).status_code == 200
    for path in (where, where + "/result", where + "/explain"):
        assert client.get(path, headers=theirs).status_code == 404
    assert client.get("/api/v1/queries", headers=theirs).json == {"queries": []}


def test_a_namespace_outside_the_claim_is_not_seen(stack: Stack) -> None:
    client = create_app(_tokens(stack.settings)).test_client()
    body = {"text": "timeout"}
    shop = client.post("/api/v1/logs/search", json=body, headers=_bearer("a", {"prod": ["shop"]}))
    other = client.post("/api/v1/logs/search", json=body, headers=_bearer("a", {"prod": ["other"]}))
    assert ([len(answer.json["entries"]) for answer in (shop, other)]) == [1, 0]
    trace = client.get(f"/api/v1/traces/{TRACE_ID}", headers=_bearer("a", {"prod": ["other"]}))
    assert trace.status_code == 404


def test_without_redis_every_query_is_503_and_the_probe_tells(stack: Stack) -> None:
    client = create_app(replace(stack.settings, redis_url="redis://127.0.0.1:1/0")).test_client()
    for answer in (
        client.post("/api/v1/metrics/query", json=SUM),
        client.post("/api/v1/queries", json={"signal": "metrics", **SUM}),
        client.get("/api/v1/queries"),
        client.get("/api/v1/clusters"),
        client.get("/api/v1/clusters/prod/health"),
        client.get("/ready"),
    ):
        assert (answer.status_code, answer.json["type"]) == (503, "/api/problems/store-unavailable")
        assert answer.headers["Retry-After"] == "1"
    assert client.get("/health").status_code == 200

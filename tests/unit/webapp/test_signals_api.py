"""The synchronous routes: metrics, traces, logs."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.unit.webapp.conftest import NOW_MS, TRACE_ID
from tests.unit.webapp.in_process import InProcess


def asked(federation: InProcess) -> Any:
    (plan,) = federation.plans.values()
    return plan.query


def test_metrics_without_a_time_are_an_instant_now(client: FlaskClient) -> None:
    answer = client.post("/api/v1/metrics/query", json={"query": "sum(http_requests_total)"}).json
    assert answer["resultType"] == "vector"
    assert answer["result"] == [{"metric": {}, "value": [NOW_MS / 1000, "3600"]}]


def test_metrics_with_a_start_are_a_range_with_a_default_step(client: FlaskClient, federation: InProcess) -> None:
    answer = client.post("/api/v1/metrics/query", json={"query": "sum(http_requests_total)", "start": "-2h"}).json
    assert answer["resultType"] == "matrix"
    assert (asked(federation).time_range.step_ms, asked(federation).time_range.end_ms) == (30_000, NOW_MS)


def test_a_constant_is_answered_with_no_cluster_alive(client: FlaskClient, federation: InProcess) -> None:
    federation.served_clusters.clear()
    answer = client.post("/api/v1/metrics/query", json={"query": "1+1"})
    assert (answer.status_code, answer.json["result"][1]) == (200, "2")


def test_the_structured_form_shows_the_promql_it_became(client: FlaskClient) -> None:
    body = {
        "metric": "http_requests_total",
        "labels": {"namespace": "shop"},
        "matchers": [{"label": "service", "op": "=~", "value": "ca.*"}],
        "function": "increase",
        "range": "10m",
        "aggregation": "sum",
        "groupBy": ["cluster"],
    }
    answer = client.post("/api/v1/metrics/query", json=body).json
    text = 'sum by (cluster) (increase(http_requests_total{namespace="shop",service=~"ca.*"}[10m]))'
    assert answer["query"] == text
    assert [row["metric"]["cluster"] for row in answer["result"]] == ["app-prod", "prod", "stage"]


def test_a_synchronous_answer_is_never_202(client: FlaskClient, federation: InProcess) -> None:
    federation.held = True
    response = client.post("/api/v1/metrics/query", json={"query": "up"}, headers={"Prefer": "respond-async"})
    assert response.status_code == 200
    assert federation.waits_ms == [None]


def test_a_wait_that_ends_a_moment_early_is_taken_up_again(client: FlaskClient, federation: InProcess) -> None:
    federation.late = 2
    assert client.post("/api/v1/metrics/query", json={"query": "up"}).status_code == 200
    assert federation.waits_ms == [None, None, None]


def test_no_answer_in_time_is_a_timeout_problem(client: FlaskClient, federation: InProcess) -> None:
    federation.silent = {"app-prod", "prod", "stage"}
    response = client.post("/api/v1/metrics/query", json={"query": "up"})
    assert (response.status_code, response.json["type"]) == (503, "/api/problems/query-timeout")
    assert response.json["clusters"] == ["app-prod", "prod", "stage"]
    assert response.headers["X-Federation-Coverage"] == "0/3;missing=app-prod,prod,stage"


def test_an_answer_names_its_query_in_a_header(client: FlaskClient) -> None:
    response = client.post("/api/v1/metrics/query", json={"query": "up"})
    assert response.headers["X-Query-Id"] == response.json["queryId"]
    assert response.headers["X-Federation-Coverage"] == "3/3"


def test_a_trace_is_put_together_from_all_clusters(client: FlaskClient) -> None:
    answer = client.get(f"/api/v1/traces/{TRACE_ID}").json
    assert (answer["traceId"], answer["clusters"]) == (TRACE_ID, ["app-prod", "prod", "stage"])


def test_a_trace_can_be_asked_for_in_capitals(client: FlaskClient) -> None:
    assert client.get(f"/api/v1/traces/{TRACE_ID.upper()}").json["traceId"] == TRACE_ID


def test_a_trace_nobody_has_is_not_found_if_all_answered(client: FlaskClient) -> None:
    response = client.get("/api/v1/traces/" + "ab" * 16)
    assert (response.status_code, response.json["type"]) == (404, "/api/problems/trace-not-found")
    assert response.json["traceId"] == "ab" * 16
    assert response.json["coverage"]["complete"] is True


def test_a_trace_nobody_has_is_open_while_a_cluster_is_silent(client: FlaskClient, federation: InProcess) -> None:
    federation.silent = {"stage"}
    response = client.get("/api/v1/traces/" + "ab" * 16)
    assert (response.status_code, response.json["status"], response.json["spans"]) == (200, "partial", [])


def test_a_trace_is_looked_up_whenever_it_was(client: FlaskClient, federation: InProcess) -> None:
    client.get(f"/api/v1/traces/{TRACE_ID}")
    assert asked(federation).time_range.start_ms == 0


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ("service=cart", '{ resource.service.name = "cart" }'),
        (
            "service=cart&minDuration=100ms&maxDuration=2",
            '{ resource.service.name = "cart" && duration >= 100ms && duration <= 2s }',
        ),
        ("operation=GET%20/prod&tags=b=c&status=error", '{ name = "GET /prod" && .b = "c" && status = error }'),
        ('q={ resource.service.name = "cart" }', '{ resource.service.name = "cart" }'),
        ("", "{  }"),
    ],
)
def test_traces_are_searched_by_parameters_or_traceql(
    client: FlaskClient, federation: InProcess, parameters: str, text: str
) -> None:
    response = client.get(f"/api/v1/traces?{parameters}&limit=5&clusters=prod&start=-1h")
    assert response.status_code == 200, response.text
    assert response.json["query"].split() == text.split()
    assert (asked(federation).limit, asked(federation).clusters) == (5, ("prod",))


def test_a_search_finds_the_trace_with_its_clusters(client: FlaskClient) -> None:
    (found,) = client.get("/api/v1/traces?service=cart").json["traces"]
    assert (found["traceId"], found["clusters"]) == (TRACE_ID, ["app-prod", "prod", "stage"])


def test_logs_are_merged_newest_first(client: FlaskClient) -> None:
    answer = client.post("/api/v1/logs/search", json={"query": '{} |= "timeout"'}).json
    assert [entry["line"] for entry in answer["entries"]] == [
        "timeout in app-prod",
        "timeout in prod",
        "timeout in stage",
    ]
    assert answer["entries"][0]["cluster"] == "app-prod"


@pytest.mark.parametrize(
    "body",
    [
        {"text": "timeout"},
        {"regex": "time(out|d)"},
        {"labels": {"service": "cart"}},
        {"labels": {"service": "cart"}, "text": "timeout", "direction": "forward"},
    ],
    ids=str,
)
def test_logs_are_searched_by_fields(client: FlaskClient, body: dict[str, Any]) -> None:
    lines = [entry["line"] for entry in client.post("/api/v1/logs/search", json=body).json["entries"]]
    newest_first = ["timeout in app-prod", "timeout in prod", "timeout in stage"]
    assert lines == (newest_first[::-1] if "direction" in body else newest_first)


def test_logs_keep_to_their_limit_and_say_so(client: FlaskClient) -> None:
    answer = client.post("/api/v1/logs/search", json={"limit": 1}).json
    assert len(answer["entries"]) == 1
    assert any("limit" in warning for warning in answer["warnings"])


def test_a_text_with_quotes_cannot_become_syntax(client: FlaskClient) -> None:
    hostile = '"} |= "timeout'
    assert client.post("/api/v1/logs/search", json={"text": hostile}).json["entries"] == []
    assert client.post("/api/v1/logs/search", json={"labels": {"service": hostile}}).json["entries"] == []
    assert client.get("/api/v1/traces", query_string={"service": '" || true'}).json["traces"] == []
    body = {"metric": "http_requests_total", "labels": {"service": '"} or up{a="'}}
    assert client.post("/api/v1/metrics/query", json=body).json["result"] == []


@pytest.mark.parametrize("signal", ["metrics", "logs"])
def test_two_forms_at_once_are_refused(client: FlaskClient, signal: str) -> None:
    path = {"metrics": "/api/v1/metrics/query", "logs": "/api/v1/logs/search"}[signal]
    other = {"metrics": {"metric": "up"}, "logs": {"text": "a"}}[signal]
    response = client.post(path, json={"query": "{}", **other})
    assert (response.status_code, "exclude" in response.json["detail"]) == (400, True)

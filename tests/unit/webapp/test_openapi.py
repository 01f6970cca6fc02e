"""The OpenAPI document, and the pages drawn from it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.openapi import mismatches
from tests.unit.webapp.conftest import TRACE_ID
from tests.unit.webapp.in_process import InProcess

PAGES = Path(__file__).parents[3] / "webapp" / "pages"


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    return client.get("/api/openapi.json").json


def test_the_document_is_openapi_3_1_and_has_every_native_route(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert {
        f"{method} {path}" for path, item in document["paths"].items() for method in item if method != "parameters"
    } == {
        "post /api/v1/queries",
        "get /api/v1/queries",
        "post /api/v1/queries:explain",
        "get /api/v1/queries/{query_id}",
        "get /api/v1/queries/{query_id}/result",
        "get /api/v1/queries/{query_id}/explain",
        "delete /api/v1/queries/{query_id}",
        "get /api/v1/queries/{query_id}/events",
        "post /api/v1/queries/{query_id}/extend",
        "post /api/v1/metrics/query",
        "get /api/v1/traces",
        "get /api/v1/traces/{trace_id}",
        "post /api/v1/logs/search",
        "get /api/v1/clusters",
        "get /api/v1/clusters/{name}",
        "get /api/v1/clusters/{name}/health",
        "get /health",
        "get /ready",
        "get /-/healthy",
        "get /-/ready",
    }


def test_every_reference_of_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        node: Any = document
        for part in reference.split("/"):
            node = node[part]


def test_every_operation_has_a_summary_and_says_whether_it_wants_a_token(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for method in item.keys() & {"get", "post", "delete"}:
            assert item[method]["summary"]
            assert item[method]["security"] == ([{"bearer": []}] if path.startswith("/api/v1") else [{}])


def test_every_field_of_a_request_is_described_with_a_type(document: dict[str, Any]) -> None:
    for name in ("Submission", "MetricsBody", "LogSearch", "MatcherBody"):
        for field, schema in document["components"]["schemas"][name]["properties"].items():
            assert schema.get("description"), (name, field)
            assert schema.get("type"), (name, field)


CALLS = [
    ("post", "/api/v1/queries", {"signal": "metrics", "query": "up"}),
    ("get", "/api/v1/queries", None),
    ("post", "/api/v1/queries:explain", {"signal": "logs", "query": "{}"}),
    ("post", "/api/v1/metrics/query", {"query": "http_requests_total"}),
    ("post", "/api/v1/metrics/query", {"query": "http_requests_total", "start": "-5m"}),
    ("post", "/api/v1/metrics/query", {"query": "("}),
    ("get", "/api/v1/traces?service=cart", None),
    ("get", f"/api/v1/traces/{TRACE_ID}", None),
    ("get", "/api/v1/traces/" + "ab" * 16, None),
    ("post", "/api/v1/logs/search", {"text": "timeout"}),
    ("post", "/api/v1/logs/search", {"require": "critical:stage"}),
    ("get", "/api/v1/clusters", None),
    ("get", "/api/v1/clusters/prod", None),
    ("get", "/api/v1/clusters/prod/health", None),
    ("get", "/api/v1/clusters/stage/health", None),
    ("get", "/api/v1/clusters/nowhere/health", None),
    ("get", "/health", None),
    ("get", "/ready", None),
]


@pytest.mark.parametrize("served", [{"app-prod", "prod", "stage"}, {"prod"}], ids=["all", "one"])
@pytest.mark.parametrize(("method", "path", "body"), CALLS, ids=lambda value: str(value)[:40])
def test_what_is_answered_is_what_the_document_says(
    client: FlaskClient,
    federation: InProcess,
    document: dict[str, Any],
    method: str,
    path: str,
    body: Any,
    served: set[str],
) -> None:
    federation.served_clusters = served
    response = client.open(path, method=method, json=body)
    assert mismatches(document, method, path, response) == []


def test_the_answers_about_a_job_are_what_the_document_says(client: FlaskClient, document: dict[str, Any]) -> None:
    where = client.post("/api/v1/queries", json={"signal": "metrics", "query": "up"}).headers["Location"]
    for rest in ("", "/explain", "/result"):
        assert mismatches(document, "get", where + rest, client.get(where + rest)) == []
    assert (
        mismatches(document, "get", where + "/result", client.get(where + "/result", headers={"Prefer": "wait=1"}))
        == []
    )


def test_the_answers_that_change_a_job_are_what_the_document_says(
    client: FlaskClient, federation: InProcess, document: dict[str, Any]
) -> None:
    federation.held = True
    where = client.post("/api/v1/queries", json={"signal": "metrics", "query": "up"}).headers["Location"]
    extended = client.post(where + "/extend", json={"keep": "2h"})
    assert mismatches(document, "post", where + "/extend", extended) == []
    assert mismatches(document, "post", where + "/extend", client.post(where + "/extend", json={"keep": "9d"})) == []
    assert mismatches(document, "delete", where, client.delete(where)) == []
    assert mismatches(document, "get", where + "/result", client.get(where + "/result")) == []
    stream = client.get(where + "/events")
    declared = document["paths"]["/api/v1/queries/{query_id}/events"]["get"]["responses"]["200"]["content"]
    assert list(declared) == [stream.mimetype] == ["text/event-stream"]


def test_a_drifting_answer_would_be_noticed(client: FlaskClient, document: dict[str, Any]) -> None:
    document["components"]["schemas"]["ClustersDocument"]["required"].append("nonsense")
    assert mismatches(document, "get", "/api/v1/clusters", client.get("/api/v1/clusters")) == ["body: lacks nonsense"]


@pytest.mark.parametrize("path", ["/", "/api/docs"])
def test_pages_load_nothing_from_elsewhere(client: FlaskClient, path: str) -> None:
    page = client.get(path)
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    for asset in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert asset.startswith("/")
        assert client.get(asset).status_code == 200, asset


def test_scripts_load_nothing_from_elsewhere() -> None:
    for script in PAGES.glob("*.js"):
        assert not re.search(r"https?://|\binnerHTML\b|\beval\b", script.read_text()), script


@pytest.mark.parametrize("name", ["__init__.py", "..%2f__init__.py", "index.html", "nothing.js"])
def test_only_assets_are_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/pages/{name}").status_code == 404


def test_the_document_is_revalidated(client: FlaskClient) -> None:
    etag = client.get("/api/openapi.json").headers["ETag"]
    assert client.get("/api/openapi.json", headers={"If-None-Match": etag}).status_code == 304


def test_all_problem_types_are_listed(client: FlaskClient) -> None:
    assert {"QueryTooLarge", "CoverageTooLow"} <= {row["class"] for row in client.get("/api/problems").json}
    assert client.get("/api/problems/nonsense").status_code == 404

"""Refusals of admission as HTTP answers, on every route that asks."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from federation_core.errors import QuotaExceeded
from federation_core.topology.routing import throttled
from tests.unit.webapp.conftest import TRACE_ID
from tests.unit.webapp.in_process import InProcess

QUERY = {"query": "sum(http_requests_total)"}
ROUTES = [
    ("POST", "/api/v1/queries", {"signal": "metrics"} | QUERY),
    ("POST", "/api/v1/metrics/query", QUERY),
    ("POST", "/api/v1/logs/search", {"text": "timeout"}),
    ("GET", "/api/v1/traces?service=cart", None),
    ("GET", f"/api/v1/traces/{TRACE_ID}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_a_tenant_above_its_cap_is_told_when_to_come_back(
    client: FlaskClient, federation: InProcess, method: str, path: str, body: Any
) -> None:
    federation.refused = QuotaExceeded("2 queries of this tenant are running", retry_after_s=3)
    response = client.open(path, method=method, json=body)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "3")
    assert response.json["type"] == "/api/problems/quota-exceeded"
    assert response.json["retryAfterS"] == 3
    assert federation.plans == {}


def test_a_cluster_without_a_place_is_throttled_and_the_others_answer(
    client: FlaskClient, federation: InProcess
) -> None:
    federation.refusing = (throttled("stage", "272 shards are on their way to it", 2),)
    answer = client.post("/api/v1/metrics/query", json=QUERY)
    rows = {row["cluster"]: row for row in answer.json["coverage"]["clusters"]}
    assert (answer.status_code, rows["prod"]["verdict"], rows["stage"]["verdict"]) == (200, "ok", "throttled")
    assert rows["stage"]["reason"] == "272 shards are on their way to it"
    assert rows["stage"]["error"]["class"] == "Rejected"
    assert answer.headers["X-Federation-Coverage"] == "2/3;missing=stage"


def test_a_requirement_that_throttling_breaks_is_503_with_the_time_to_come_back(
    client: FlaskClient, federation: InProcess
) -> None:
    federation.refusing = (throttled("stage", "full", 2), throttled("prod", "full", 4))
    answer = client.post("/api/v1/metrics/query", json=QUERY | {"require": "all"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "4")
    assert answer.json["clusters"] == ["prod", "stage"]
    assert federation.plans == {}


def test_explaining_takes_no_place(client: FlaskClient, federation: InProcess) -> None:
    federation.refused = QuotaExceeded("2 queries of this tenant are running", retry_after_s=3)
    response = client.post("/api/v1/queries:explain", json={"signal": "metrics"} | QUERY)
    assert response.status_code == 200

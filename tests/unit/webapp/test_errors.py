"""The table of errors, and the one shape of every error answer."""

from __future__ import annotations

import logging

import pytest
from flask import Flask
from flask.testing import FlaskClient

from federation_core import errors
from federation_core.errors import FederationError, subclasses
from tests.unit.webapp.in_process import InProcess
from webapp.errors import TABLE, problem, slug

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def answered(app: Flask, error: FederationError):
    with app.test_request_context("/api/v1/queries"):
        return problem(error)


def test_every_class_of_the_tree_has_a_row() -> None:
    missing = set(subclasses().values()) - set(TABLE)
    assert not missing


@pytest.mark.parametrize("cls", TABLE, ids=lambda cls: cls.__name__)
def test_every_class_answers_as_a_problem(app: Flask, cls: type[FederationError]) -> None:
    response = answered(app, cls("what happened"))
    body = response.get_json()
    assert response.content_type == "application/problem+json"
    assert response.status_code == body["status"] == TABLE[cls].status
    assert body["instance"] == "/api/v1/queries"
    assert {"type", "title", "detail", "trace_id"} <= body.keys()


@pytest.mark.parametrize("cls", TABLE, ids=lambda cls: cls.__name__)
def test_the_type_of_a_problem_can_be_followed(client: FlaskClient, cls: type[FederationError]) -> None:
    explained = client.get(f"/api/problems/{slug(cls)}").json
    assert (explained["class"], explained["status"]) == (cls.__name__, TABLE[cls].status)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            errors.InvalidRequest("end is before start", field="end", got="1", expected="at least 2"),
            {"errors": [{"field": "end", "got": "1", "expected": "at least 2", "detail": "end is before start"}]},
        ),
        (
            errors.QuerySyntaxError("unexpected )", line=1, column=7),
            {"errors": [{"field": "query", "detail": "unexpected )", "line": 1, "column": 7}]},
        ),
        (errors.UnsupportedQuery("no", construct="absent"), {"construct": "absent"}),
        (
            errors.QueryTooLarge("no", limit="steps", asked=12, allowed=11),
            {"limit": "steps", "asked": 12, "allowed": 11},
        ),
        (errors.ScopeViolation("no", cluster="prod"), {"clusters": ["prod"]}),
        (errors.QueryExecutionError("many-to-many", cluster="prod"), {"clusters": ["prod"]}),
        (
            errors.CoverageTooLow("no", clusters=["stage"], requirement="all"),
            {"clusters": ["stage"], "requirement": "all"},
        ),
        (errors.QueryNotFound("no", query_id="q-1"), {"queryId": "q-1"}),
        (errors.TraceNotFound("no", trace_id="ab"), {"traceId": "ab"}),
        (errors.QuotaExceeded("no", retry_after_s=7), {"retryAfterS": 7}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_facts_of_an_error_are_members(app: Flask, error: FederationError, expected: dict) -> None:
    assert expected.items() <= answered(app, error).get_json().items()


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (errors.QuotaExceeded("no", retry_after_s=7), "7"),
        (errors.QuotaExceeded("no"), "1"),
        (errors.QuotaExceeded("no", retry_after_s=0.2), "1"),
        (errors.StoreUnavailable("no"), "1"),
        (errors.QueryTimeout("no"), "1"),
        (errors.QueryNotFound("no"), None),
        (errors.UnsupportedQuery("no"), None),
    ],
    ids=str,
)
def test_retry_after_stands_where_a_retry_may_help(app: Flask, error: FederationError, seconds: str | None) -> None:
    assert answered(app, error).headers.get("Retry-After") == seconds


def test_addresses_of_the_inside_go_to_the_log_and_not_to_the_caller(
    client: FlaskClient, federation: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    federation.broken = errors.StoreUnavailable("Redis does not answer: redis-7.internal:6379")
    response = client.get("/ready")
    assert response.status_code == 503
    assert "internal" not in response.text
    assert "redis-7.internal" in caplog.text


def test_a_bug_shows_an_id_that_the_log_has_beside_its_traceback(
    client: FlaskClient, federation: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    federation.broken = ZeroDivisionError("secret of the inside")
    response = client.post("/api/v1/metrics/query", json={"query": "up"})
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (response.status_code, response.json["type"]) == (500, "/api/problems/internal-error")
    assert response.json["errorId"] == record.error_id  # type: ignore[attr-defined]
    assert "secret" not in response.text
    assert record.exc_info[0] is ZeroDivisionError


def test_a_failure_inside_a_worker_keeps_its_own_id(app: Flask) -> None:
    assert answered(app, errors.InternalError("a bug", error_id="ab12")).get_json()["errorId"] == "ab12"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/api/v1/services", 404),
        ("GET", "/graphql", 404),
        ("PUT", "/api/v1/queries", 405),
        ("GET", "/api/v1/logs/search", 405),
    ],
)
def test_flasks_own_errors_take_the_same_shape(client: FlaskClient, method: str, path: str, status: int) -> None:
    response = client.open(path, method=method)
    assert (response.status_code, response.content_type) == (status, "application/problem+json")
    assert {"type", "title", "status", "detail", "instance", "trace_id"} == response.json.keys()


def test_a_redirect_is_no_problem(client: FlaskClient) -> None:
    response = client.get("/api//v1/clusters")
    assert (response.status_code, response.headers["Location"]) == (308, "http://localhost/api/v1/clusters")


def test_a_wrong_method_is_told_the_right_ones(client: FlaskClient) -> None:
    response = client.get("/api/v1/logs/search")
    assert "POST" in response.headers["Allow"]
    assert "POST" in response.json["detail"]


def test_a_problem_carries_the_trace_id_of_the_caller(client: FlaskClient) -> None:
    response = client.get("/nowhere", headers={"traceparent": TRACEPARENT})
    assert response.json["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def test_long_values_are_cut_where_they_are_shown(app: Flask) -> None:
    error = errors.InvalidRequest("x" * 9000, field="clusters", got="y" * 9000)
    assert len(answered(app, error).data) < 2500


def test_a_problem_is_never_cached(client: FlaskClient) -> None:
    assert client.get("/nowhere").headers["Cache-Control"] == "no-store"

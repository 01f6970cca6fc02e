"""Input that no honest client sends, and input that honest clients get wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from webapp import MAX_BODY_BYTES

METRICS = {"signal": "metrics", "query": "up"}
BODY_ROUTES = ("/api/v1/queries", "/api/v1/queries:explain", "/api/v1/metrics/query", "/api/v1/logs/search")


def refused(client: FlaskClient, path: str, body: Any, status: int = 400) -> dict[str, Any]:
    response = client.post(path, json=body)
    assert (response.status_code, response.content_type) == (status, "application/problem+json"), response.text
    return response.json


def wrong_field(client: FlaskClient, body: dict[str, Any], path: str = "/api/v1/queries") -> dict[str, Any]:
    (error,) = refused(client, path, body)["errors"]
    assert error["detail"]
    return error


@pytest.mark.parametrize("path", BODY_ROUTES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe\x00",
        b"\x00" * 100,
        b'{"query": NaN}',
        b'{"limit": Infinity}',
        b'{"query": "a", "query": "b"}',
        b'{"a":' * 100_00 + b"1" + b"}" * 100_00,
        b"[" * 100_000,
        b'{"limit": ' + b"9" * 5000 + b"}",
        b'{"query": "\\ud800"}',
        b'{"query": 1e999}',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_a_body_that_is_no_plain_json_object_is_400(client: FlaskClient, path: str, body: bytes) -> None:
    response = client.post(path, data=body, content_type="application/json")
    assert (response.status_code, response.content_type) == (400, "application/problem+json")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_has_not_is_named(client: FlaskClient, number: str) -> None:
    response = client.post("/api/v1/queries", data=f'{{"limit": {number}}}', content_type="application/json")
    assert f"{number} is no JSON number" in response.json["detail"]


@pytest.mark.parametrize("path", BODY_ROUTES)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_another_content_type_is_415(client: FlaskClient, path: str, kind: str | None) -> None:
    response = client.post(path, data=json.dumps(METRICS), content_type=kind)
    assert (response.status_code, response.json["status"]) == (415, 415)
    assert "application/json" in response.json["detail"]


def test_json_with_a_charset_is_json(client: FlaskClient) -> None:
    response = client.post("/api/v1/queries", data=json.dumps(METRICS), content_type="application/json; charset=utf-8")
    assert response.status_code == 202


def test_a_body_above_the_cap_is_413(client: FlaskClient) -> None:
    assert str(MAX_BODY_BYTES) in refused(client, "/api/v1/queries", {"query": "x" * MAX_BODY_BYTES}, 413)["detail"]


@pytest.mark.parametrize("signal", ["metrics", "traces", "logs"])
@pytest.mark.parametrize(
    "text",
    ["up" + "+up" * 21_000, "(" * 60_000, "-" * 60_000, "{" * 60_000, "\x00" * 60_000, "🦀" * 15_000, "a" * 65_536],
    ids=lambda text: repr(text[:3]),
)
def test_a_64_kb_query_is_refused_and_the_process_lives(client: FlaskClient, signal: str, text: str) -> None:
    response = client.post("/api/v1/queries", json={"signal": signal, "query": text})
    assert response.status_code in (400, 413, 422)
    assert len(response.data) < 4000
    assert client.get("/health").status_code == 200


def test_an_unknown_field_is_named_with_those_that_exist(client: FlaskClient) -> None:
    error = wrong_field(client, METRICS | {"begin": "-1h"})
    assert (error["field"], "start" in error["expected"]) == ("begin", True)


def test_every_wrong_field_is_told_at_once(client: FlaskClient) -> None:
    fields = refused(client, "/api/v1/queries", {"signal": 1, "limit": 0, "x": 1})["errors"]
    assert {error["field"] for error in fields} == {"signal", "query", "limit", "x"}


def test_thousands_of_wrong_fields_make_no_large_answer(client: FlaskClient) -> None:
    response = client.post("/api/v1/queries", json=METRICS | {f"x{i}": 1 for i in range(9000)})
    assert (response.status_code, len(response.json["errors"])) == (400, 20)
    assert response.json["detail"].startswith("9000 fields are wrong")


def test_no_field_takes_half_of_a_surrogate_pair(client: FlaskClient) -> None:
    for body in (
        b'{"metric": "\\ud800"}',
        b'{"metric": "up", "labels": {"a": "\\ud800"}}',
        b'{"metric": "up", "matchers": [{"label": "a", "value": "\\ud800"}]}',
        b'{"metric": "up", "aggregation": "sum", "groupBy": ["\\ud800"]}',
        b'{"query": "up", "clusters": ["\\ud800"]}',
        b'{"query": "up", "\\ud800": 1}',
    ):
        response = client.post("/api/v1/metrics/query", data=body, content_type="application/json")
        assert response.status_code == 400, body


def test_the_value_of_a_matcher_may_be_empty(client: FlaskClient) -> None:
    body = {"metric": "up", "matchers": [{"label": "a", "value": ""}]}
    assert client.post("/api/v1/metrics/query", json=body).json["query"] == 'up{a=""}'


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"signal": "profiles"}, "signal"),
        ({"query": ""}, "query"),
        ({"query": "  "}, "query"),
        ({"query": None}, "query"),
        ({"query": ["up"]}, "query"),
        ({"start": "yesterday"}, "start"),
        ({"start": "2026-11-24T05:00:00"}, "start"),
        ({"start": True}, "start"),
        ({"start": 1e300}, "start"),
        ({"start": 10**30}, "start"),
        ({"start": {}}, "start"),
        ({"start": "-1h", "end": "-2h"}, "end"),
        ({"end": "9" * 40}, "end"),
        ({"step": "0"}, "step"),
        ({"step": 0}, "step"),
        ({"step": -1}, "step"),
        ({"step": "1"[:1] + "parsec"}, "step"),
        ({"start": "-30d", "step": "1s"}, "step"),
        ({"time": "-5m", "start": "-1h"}, "time"),
        ({"timeout": "0"}, "timeout"),
        ({"timeout": "11m"}, "timeout"),
        ({"timeout": "forever"}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"limit": 5}, "limit"),
        ({"direction": "forward"}, "direction"),
        ({"clusters": "prod"}, "clusters"),
        ({"clusters": [1]}, "clusters"),
        ({"clusters": [""]}, "clusters"),
        ({"clusters": ["nowhere"]}, "clusters"),
        ({"clusters": [f"c{i}" for i in range(101)]}, "clusters"),
        ({"environments": ["moon"]}, "environments"),
        ({"clusters": ["stage"], "environments": ["prod"]}, "environments"),
        ({"require": "most"}, "require"),
        ({"require": "quorum:0"}, "require"),
        ({"require": "critical:nowhere"}, "require"),
        ({"require": 1}, "require"),
    ],
    ids=str,
)
def test_a_wrong_value_is_400_and_names_its_field(client: FlaskClient, change: dict[str, Any], field: str) -> None:
    assert wrong_field(client, METRICS | change)["field"] == field


@pytest.mark.parametrize("limit", [0, -1, 5001, 1.5, "5", True, None, 10**400], ids=lambda value: str(value)[:9])
def test_a_limit_is_a_whole_number_in_its_range(client: FlaskClient, limit: Any) -> None:
    assert wrong_field(client, {"signal": "logs", "query": "{}", "limit": limit})["field"] == "limit"


def test_the_error_of_too_many_steps_says_which_step_fits(client: FlaskClient) -> None:
    error = wrong_field(client, METRICS | {"start": "-30d", "step": "1s"})
    assert "2592001 steps, above 11001" in error["detail"]
    assert error["expected"].startswith("at least 235")


def test_a_range_of_11000_steps_is_still_fine(client: FlaskClient) -> None:
    """It has 11,001 moments, as in Prometheus."""
    assert client.post("/api/v1/queries", json=METRICS | {"start": "-11000s", "step": "1s"}).status_code == 202
    assert client.post("/api/v1/queries", json=METRICS | {"start": "-11001s", "step": "1s"}).status_code == 400


def test_a_syntax_error_says_where(client: FlaskClient) -> None:
    body = {"signal": "logs", "query": '{service="cart"} |='}
    error = wrong_field(client, body)
    assert (error["field"], error["line"]) == ("query", 1)
    assert error["column"] > 17


def test_an_unsupported_construct_is_422_and_named(client: FlaskClient) -> None:
    body = {"signal": "logs", "query": '{service="cart"} | json'}
    assert refused(client, "/api/v1/queries", body, 422)["construct"] == "json"


def test_url_parameters_on_a_route_without_any_are_refused(client: FlaskClient) -> None:
    response = client.post("/api/v1/queries?clusters=prod", json=METRICS)
    assert (response.status_code, response.json["errors"][0]["field"]) == (400, "clusters")


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ("service=a&service=b", "service"),
        ("limit=x", "limit"),
        ("limit=1.0", "limit"),
        ("limit=%C2%B2", "limit"),
        ("tags=x", "tags"),
        ("tags=a=1&tags=a=2", "tags"),
        ("minDuration=fast", "minDuration"),
        ("minDuration=2s&maxDuration=1s", "maxDuration"),
        ("q=%7B%7D&service=a", "service"),
        ("status=bad", "status"),
        ("step=15s", "step"),
        ("clusters=prod,,stage", "clusters"),
        ("start=-1h&end=-2h", "end"),
        ("nonsense=1", "nonsense"),
        ("service=", "service"),
    ],
)
def test_a_wrong_url_parameter_is_400_and_names_it(client: FlaskClient, parameters: str, field: str) -> None:
    response = client.get(f"/api/v1/traces?{parameters}")
    assert (response.status_code, response.json["errors"][0]["field"]) == (400, field)


@pytest.mark.parametrize("trace_id", ["nope", "12", "0" * 32, "a" * 33, "%00", "{}", "a" * 5000])
def test_a_trace_id_that_is_none_is_400(client: FlaskClient, trace_id: str) -> None:
    response = client.get(f"/api/v1/traces/{trace_id}")
    assert (response.status_code, response.content_type) == (400, "application/problem+json")


@pytest.mark.parametrize("prefer", ["wait=-1", "wait=x", "wait", "wait=1e3", "=", ",,;", "wait=" + "9" * 400, "\xff"])
def test_a_preference_that_is_not_understood_is_ignored(client: FlaskClient, prefer: str) -> None:
    response = client.post("/api/v1/queries", json=METRICS, headers={"Prefer": prefer})
    assert (response.status_code, "Preference-Applied" in response.headers) == (202, False)

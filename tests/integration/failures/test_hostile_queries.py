"""Queries that no honest client sends, over HTTP: refused with a reason, no job is left, the next query works."""

from __future__ import annotations

from http.client import HTTPConnection
from typing import Any

import pytest

from federation_core.connectors.stores.redis import connect
from tests.integration.failures.conftest import Federation
from tests.support.stack import COUNTS, METRIC
from tests.support.web_server import WebServer

pytestmark = pytest.mark.heavy
SIXTY_FOUR_KB = 65_536
HOSTILE: dict[str, tuple[dict[str, Any], int, str]] = {
    "64 KB": ({"query": "up" + "+up" * (SIXTY_FOUR_KB // 3)}, 422, "query"),
    "64 KB in one word": ({"query": "a" * SIXTY_FOUR_KB}, 422, "query"),
    "10,000 nested parentheses": ({"query": "(" * 10_000 + "up" + ")" * 10_000}, 422, "nest"),
    "binary bytes": ({"query": "\x00\x01\x7f\ufffd"}, 400, "query"),
    "NaN for a time": ({"query": "up", "time": "NaN"}, 400, "time"),
    "an unknown cluster": ({"query": "up", "clusters": ["nowhere"]}, 400, "clusters"),
    "end before start": ({"query": "up", "start": 2000, "end": 1000, "step": "15s"}, 400, "end"),
    "step 0": ({"query": "up", "start": 1000, "end": 2000, "step": "0s"}, 400, "step"),
    "over 11,000 points": ({"query": "up", "start": 1000, "end": 13_000, "step": "1s"}, 400, "step"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_query_is_refused_with_its_reason_and_leaves_no_job(
    federation: Federation, web: WebServer, name: str
) -> None:
    body, status, said = HOSTILE[name]
    client = connect(federation.stack.url)
    before = client.zcard("jobs:local")
    answer = web.post("/api/v1/queries", {"signal": "metrics", **body})
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json"), answer.text[:500]
    assert said in answer.text
    assert len(answer.text) < 4_000
    assert client.zcard("jobs:local") == before
    _next_query_works(federation, web)


@pytest.mark.parametrize("number", ["NaN", "Inf", "-Inf"])
def test_a_number_that_json_cannot_write_is_answered_as_prometheus_writes_it(
    federation: Federation, web: WebServer, number: str
) -> None:
    answer = web.post("/api/v1/metrics/query", {"query": number})
    assert answer.status_code == 200, answer.text
    assert number.replace("Inf", "+Inf").replace("-+", "-") in answer.text
    _next_query_works(federation, web)


def test_bytes_that_are_no_text_are_refused(federation: Federation, web: WebServer) -> None:
    host, _, port = web.url.removeprefix("http://").partition(":")
    connection = HTTPConnection(host, int(port), timeout=10)
    connection.request("POST", "/api/v1/queries", b'{"query": "\xff\xfe"}', {"Content-Type": "application/json"})
    assert connection.getresponse().status == 400
    connection.close()
    _next_query_works(federation, web)


def _next_query_works(federation: Federation, web: WebServer) -> None:
    body = {"query": f"sum({METRIC})", "time": federation.stack.now_ms / 1000}
    answer = web.post("/api/v1/metrics/query", body)
    assert (answer.json["status"], answer.json["result"][0]["value"][1]) == ("complete", str(sum(COUNTS.values())))

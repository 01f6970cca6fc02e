"""One line per request, with ids and without what was asked."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import pytest
from flask.testing import FlaskClient

from federation_core import structured_logging
from federation_core.errors import StoreUnavailable
from tests.unit.webapp.in_process import InProcess

QUERY = {"query": 'sum(http_requests_total{service="very-private"})'}
TRACE = "0af7651916cd43dd8448eb211c80319c"


def lines(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.name == "webapp.request_log"]


def test_a_request_leaves_one_line_with_its_ids(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    response = client.post("/api/v1/metrics/query", json=QUERY)
    (line,) = lines(caplog)
    assert (line.method, line.path, line.status) == ("POST", "/api/v1/metrics/query", 200)
    assert (line.query_id, line.tenant_id) == (response.json["queryId"], "local")
    assert line.elapsed_ms >= 0


def test_no_line_holds_what_was_asked(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client.post("/api/v1/metrics/query", json=QUERY)
    client.get("/api/v1/traces?service=very-private", headers={"Authorization": "Bearer very-private"})
    assert not any("very-private" in str(record.__dict__) for record in caplog.records)


def test_lines_inside_a_query_carry_its_id_and_the_trace(
    client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    structured_logging.configure("web", "INFO", sys.stderr)
    try:
        answer = client.post("/api/v1/metrics/query", json=QUERY, headers={"traceparent": f"00-{TRACE}-{'1' * 16}-01"})
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    submitted = next(line for line in capsys.readouterr().err.splitlines() if "query submitted" in line)
    assert answer.json["queryId"] in submitted
    assert f'"trace_id": "{TRACE}"' in submitted


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        f"00-{'0' * 32}-{'1' * 16}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{'1' * 16}-01",
        f"00-{TRACE}",
    ],
)
def test_without_a_valid_traceparent_the_request_gets_an_id_of_its_own(client: FlaskClient, traceparent: str) -> None:
    trace_id = client.get("/nowhere", headers={"traceparent": traceparent}).json["trace_id"]
    assert re.fullmatch("[0-9a-f]{32}", trace_id)
    assert trace_id not in (TRACE, "0" * 32)


def test_a_later_version_of_traceparent_is_understood(client: FlaskClient) -> None:
    header = f"01-{TRACE}-{'1' * 16}-01-more"
    assert client.get("/nowhere", headers={"traceparent": header}).json["trace_id"] == TRACE


@pytest.mark.parametrize("path", ["/ready", "/-/ready", "/prometheus/-/ready", "/strict/prometheus/-/ready"])
def test_probes_are_quiet_unless_they_fail(
    client: FlaskClient, federation: InProcess, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level(logging.INFO)
    client.get(path)
    assert lines(caplog) == []
    federation.broken = StoreUnavailable("down")
    client.get(path)
    assert [line.status for line in lines(caplog)] == [503]

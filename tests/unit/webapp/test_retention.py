"""Questions about times that no cluster keeps any more, as tools ask them: answered with nothing, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.unit.webapp.conftest import NOW_MS, SETTINGS, in_front_of
from tests.unit.webapp.in_process import Clock, InProcess

HOUR_MS = 3_600_000
OLD_S = (NOW_MS - 3 * HOUR_MS) // 1000
KEEPS = replace(SETTINGS, clusters=tuple(replace(c, retention_ms=2 * HOUR_MS) for c in SETTINGS.clusters))
API = "/prometheus/api/v1"
STRICT = f"/strict{API}"
#: Paths of the façade, and what they answer where there is nothing.
NOTHING: list[tuple[str, Any]] = [
    (f"query?query=up&time={OLD_S}", {"resultType": "vector", "result": []}),
    (f"query_range?query=up&start={OLD_S - 60}&end={OLD_S}&step=30", {"resultType": "matrix", "result": []}),
    (f"series?match[]=up&start={OLD_S - 60}&end={OLD_S}", []),
    (f"label/job/values?start=0&end={OLD_S}", []),
    (f"query_exemplars?query=up&start={OLD_S - 60}&end={OLD_S}", []),
]


@pytest.fixture
def client(apps: Callable[..., Flask], federation: InProcess, clock: Clock) -> FlaskClient:
    return in_front_of(federation, apps(SETTINGS), KEEPS, clock).test_client()


@pytest.mark.parametrize(("path", "data"), NOTHING)
def test_prometheus_facade_answers_with_nothing_and_says_so_of_every_cluster(
    client: FlaskClient, path: str, data: object
) -> None:
    response: Any = client.get(f"{API}/{path}")
    assert (response.status_code, response.json["status"], response.json["data"]) == (200, "success", data)
    assert response.headers["X-Federation-Coverage"] == "0/3;missing=app-prod,prod,stage"
    told = [words for words in response.json["warnings"] if "keeps 2h: nothing before 2026-11-24T03:00:00" in words]
    assert len(told) == 3


@pytest.mark.parametrize("path", [path for path, _ in NOTHING])
def test_the_strict_facade_refuses_and_names_who_is_missing(client: FlaskClient, path: str) -> None:
    response: Any = client.get(f"{STRICT}/{path}")
    assert (response.status_code, response.json["status"]) == (503, "error")
    assert response.json["error"].startswith("the answer needs all and lacks app-prod, prod, stage")


@pytest.mark.parametrize(
    ("path", "body"), [("logs/search", {"text": "timeout"}), ("traces", None)], ids=["logs", "traces"]
)
def test_a_search_of_ours_finds_nothing_and_says_why(
    client: FlaskClient, path: str, body: dict[str, Any] | None
) -> None:
    times = {"start": str(OLD_S - 60), "end": str(OLD_S)}
    asked = {"json": {**body, **times}} if body else {"query_string": {"service": "cart", **times}}
    response: Any = client.open(f"/api/v1/{path}", method="POST" if body else "GET", **asked)  # type: ignore[arg-type]
    assert (response.status_code, response.json["status"]) == (200, "partial"), response.text
    assert {row["verdict"] for row in response.json["coverage"]["clusters"]} == {"partial"}

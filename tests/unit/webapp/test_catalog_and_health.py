"""Clusters and probes."""

from __future__ import annotations

from flask.testing import FlaskClient

from federation_core.connectors.stores.jobs_beats import NEVER_SEEN
from federation_core.errors import StoreUnavailable
from federation_core.health import BackendHealth
from tests.unit.webapp.conftest import NOW_MS
from tests.unit.webapp.in_process import InProcess
from tests.unit.webapp.test_auth import bearer, claims


def test_clusters_are_listed_with_their_backends_and_worker(client: FlaskClient, federation: InProcess) -> None:
    federation.served_clusters.discard("stage")
    found = {cluster["name"]: cluster for cluster in client.get("/api/v1/clusters").json["clusters"]}
    assert list(found) == ["app-prod", "prod", "stage"]
    assert found["prod"]["backends"] == {"metrics": "memory", "traces": "memory", "logs": "memory"}
    alive = {"alive": True, "lastSeenMs": NOW_MS - 200, "clockSkewMs": 3, "missingSinceMs": None, "reason": ""}
    assert found["prod"]["worker"] == alive
    never = dict.fromkeys(("lastSeenMs", "clockSkewMs", "missingSinceMs"))
    assert found["stage"]["worker"] == {"alive": False, **never, "reason": NEVER_SEEN}


def test_a_cluster_shows_no_address_of_its_backends(client: FlaskClient) -> None:
    response = client.get("/api/v1/clusters/prod")
    assert response.json["name"] == "prod"
    assert "/prod" not in response.text


def test_clusters_say_in_words_what_is_wrong_with_their_backends(client: FlaskClient, federation: InProcess) -> None:
    refused = "the backend refuses our credentials (401)"
    federation.healths_said["prod"] = {"logs": BackendHealth("logs", "memory", False, NOW_MS, 3, refused)}
    found = {cluster["name"]: cluster for cluster in client.get("/api/v1/clusters").json["clusters"]}
    assert (found["prod"]["status"], found["prod"]["errors"]) == ("degraded", {"logs": refused})
    assert (found["stage"]["status"], found["stage"]["errors"]) == ("healthy", {})
    assert client.get("/api/v1/clusters/prod").json == found["prod"]


def test_the_health_of_a_cluster_has_a_row_per_backend(client: FlaskClient) -> None:
    health = client.get("/api/v1/clusters/prod/health").json
    assert (health["name"], health["environment"], health["status"]) == ("prod", "prod", "healthy")
    assert [(row["signal"], row["status"], row["newestAgeMs"]) for row in health["backends"]] == [
        ("metrics", "up", 12_000),
        ("traces", "up", 12_000),
        ("logs", "up", 12_000),
    ]


def test_the_health_of_a_cluster_nobody_serves_is_told_all_the_same(client: FlaskClient, federation: InProcess) -> None:
    federation.served_clusters.discard("stage")
    health = client.get("/api/v1/clusters/stage/health").json
    assert (health["status"], health["worker"]["reason"]) == ("down", NEVER_SEEN)
    assert {row["status"] for row in health["backends"]} == {"unknown"}


def test_the_health_of_a_cluster_that_the_token_does_not_open_is_404(tokens: FlaskClient) -> None:
    opened = bearer(claims(clusters=["prod"]))
    assert tokens.get("/api/v1/clusters/prod/health", headers=opened).status_code == 200
    hidden = tokens.get("/api/v1/clusters/stage/health", headers=opened)
    nowhere = tokens.get("/api/v1/clusters/nowhere/health", headers=opened)
    assert (hidden.status_code, nowhere.status_code) == (404, 404)
    assert hidden.json["detail"].replace("stage", "nowhere") == nowhere.json["detail"]
    assert tokens.get("/api/v1/clusters/prod/health").status_code == 401


def test_ready_counts_clusters_and_does_not_name_them(client: FlaskClient, federation: InProcess) -> None:
    federation.served_clusters.discard("stage")
    assert client.get("/ready").json == {"status": "ready", "clusters": 3, "served": 2}


def test_without_the_store_we_are_alive_and_not_ready(client: FlaskClient, federation: InProcess) -> None:
    federation.broken = StoreUnavailable("Redis does not answer")
    for path in ("/health", "/-/healthy"):
        assert client.get(path).status_code == 200
    for path in ("/ready", "/-/ready"):
        response = client.get(path)
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")


def test_probes_answer_whoever_asks(client: FlaskClient) -> None:
    for path in ("/health", "/ready"):
        assert client.get(path, environ_base={"REMOTE_ADDR": "10.0.0.5"}).status_code == 200

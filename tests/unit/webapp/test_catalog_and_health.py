"""Clusters and probes."""

from __future__ import annotations

from flask.testing import FlaskClient

from federation_core.connectors.stores.jobs_beats import NEVER_SEEN
from federation_core.errors import StoreUnavailable
from tests.unit.webapp.conftest import NOW_MS
from tests.unit.webapp.in_process import InProcess


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

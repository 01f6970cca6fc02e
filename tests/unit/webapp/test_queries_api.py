"""Queries as jobs: submit, watch, collect, explain."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from federation_core.connectors.stores.jobs import Progress
from federation_core.errors import StoreUnavailable
from tests.unit.webapp.conftest import NOW_MS
from tests.unit.webapp.in_process import Clock, InProcess
from webapp.answers import json_answer
from webapp.query_ids import is_query_id
from webapp.schemas.answers import percent

METRICS = {"signal": "metrics", "query": "sum by (cluster) (http_requests_total)"}


def submit(client: FlaskClient, body: dict | None = None, **headers: str):
    return client.post("/api/v1/queries", json=body or METRICS, headers=headers)


def test_a_submission_is_accepted_at_once_with_its_address(client: FlaskClient, federation: InProcess) -> None:
    response = submit(client)
    assert response.status_code == 202
    assert is_query_id(response.json["queryId"])
    assert response.headers["Location"] == f"/api/v1/queries/{response.json['queryId']}"
    assert response.headers["Retry-After"] == "1"
    assert federation.waits_ms == []


def test_prefer_wait_answers_with_the_result(client: FlaskClient) -> None:
    response = submit(client, Prefer="wait=5")
    assert response.status_code == 200
    assert response.headers["Preference-Applied"] == "wait=5"
    values = {row["metric"]["cluster"]: row["value"][1] for row in response.json["result"]}
    assert values == {"app-prod": "1200", "prod": "1200", "stage": "1200"}


def test_prefer_wait_that_runs_out_answers_202(client: FlaskClient, federation: InProcess) -> None:
    federation.held = True
    response = submit(client, Prefer="respond-async, wait=2")
    assert response.status_code == 202
    assert response.headers["Preference-Applied"] == "respond-async, wait=2"
    assert federation.waits_ms == [2000]


def test_a_running_job_shows_every_cluster_and_a_percentage(client: FlaskClient, federation: InProcess) -> None:
    federation.served_clusters.discard("stage")
    job = client.get(submit(client).headers["Location"])
    states = {row["cluster"]: row["state"] for row in job.json["progress"]}
    assert states == {"app-prod": "running", "prod": "running", "stage": "no_worker"}
    assert (job.json["state"], job.json["percent"]) == ("running", 33)
    assert job.headers["X-Federation-Coverage"] == "0/3;missing=app-prod,prod,stage"


def test_a_finished_job_is_at_100_percent_without_retry_after(client: FlaskClient) -> None:
    where = f"/api/v1/queries/{submit(client, Prefer='wait=1').json['queryId']}"
    job = client.get(where)
    assert (job.json["state"], job.json["percent"]) == ("complete", 100)
    assert "Retry-After" not in job.headers


def test_an_unchanged_job_is_answered_with_304(client: FlaskClient) -> None:
    where = submit(client).headers["Location"]
    etag = client.get(where).headers["ETag"]
    again = client.get(where, headers={"If-None-Match": etag})
    assert (again.status_code, again.data) == (304, b"")


def test_a_changed_job_has_another_etag(client: FlaskClient, federation: InProcess) -> None:
    where = submit(client).headers["Location"]
    etag = client.get(where).headers["ETag"]
    federation.settle("local", where.rpartition("/")[2])
    assert client.get(where, headers={"If-None-Match": etag}).status_code == 200


def test_the_result_of_a_running_job_is_202_with_its_state(client: FlaskClient) -> None:
    response = client.get(submit(client).headers["Location"] + "/result")
    assert (response.status_code, response.json["state"]) == (202, "running")
    assert response.headers["Retry-After"] == "1"


def test_the_result_can_be_waited_for(client: FlaskClient) -> None:
    response = client.get(submit(client).headers["Location"] + "/result", headers={"Prefer": "wait=3"})
    assert (response.status_code, response.json["status"]) == (200, "complete")


def test_looking_at_a_result_after_the_deadline_ends_the_job(
    client: FlaskClient, federation: InProcess, clock: Clock
) -> None:
    where = submit(client).headers["Location"] + "/result"
    federation.silent = {"prod", "stage", "app-prod"}
    clock.now_ms += 30_000
    assert client.get(where).status_code == 503


def test_a_result_without_a_cluster_says_so_in_body_header_and_warnings(
    client: FlaskClient, federation: InProcess
) -> None:
    federation.served_clusters.discard("stage")
    response = submit(client, Prefer="wait=5")
    assert response.json["status"] == "partial"
    assert response.headers["X-Federation-Coverage"] == "2/3;missing=stage"
    assert response.json["coverage"]["complete"] is False
    stage = next(row for row in response.json["coverage"]["clusters"] if row["cluster"] == "stage")
    assert stage["verdict"] == "no_worker"
    assert any("stage" in warning for warning in response.json["warnings"])


def test_a_requirement_that_is_not_met_is_a_problem_with_the_ledger(client: FlaskClient, federation: InProcess) -> None:
    federation.served_clusters.discard("stage")
    response = submit(client, METRICS | {"require": "all"}, Prefer="wait=5")
    assert (response.status_code, response.content_type) == (503, "application/problem+json")
    assert response.json["type"] == "/api/problems/coverage-too-low"
    assert response.json["clusters"] == ["stage"]
    assert response.json["coverage"]["answered"] == ["app-prod", "prod"]
    assert response.headers["Retry-After"] == "1"
    assert response.headers["X-Federation-Coverage"] == "2/3;missing=stage"


def test_the_time_of_each_cluster_is_in_server_timing(client: FlaskClient) -> None:
    timings = submit(client, Prefer="wait=5").headers["Server-Timing"].split(", ")
    assert timings == ["cl-app-prod;dur=0", "cl-prod;dur=0", "cl-stage;dur=0"]


def test_queries_are_listed_newest_first(client: FlaskClient, clock: Clock) -> None:
    first = submit(client).json["queryId"]
    clock.now_ms += 5
    second = submit(client).json["queryId"]
    listed = [job["queryId"] for job in client.get("/api/v1/queries").json["queries"]]
    assert listed == [second, first]
    assert len(client.get("/api/v1/queries?limit=1").json["queries"]) == 1


def test_an_unknown_id_is_not_found(client: FlaskClient) -> None:
    for query_id in ("q-local-0123456789abcdefghjkmnpqrs", "nonsense", "q-local-%00", "x" * 500):
        for rest in ("", "/result", "/explain"):
            response = client.get(f"/api/v1/queries/{query_id}{rest}")
            assert (response.status_code, response.json["title"]) == (404, "No such query")


def test_what_cannot_be_an_id_never_reaches_the_store(client: FlaskClient, federation: InProcess) -> None:
    federation.broken = StoreUnavailable("down")
    assert client.get("/api/v1/queries/nonsense").status_code == 404
    assert client.get("/api/v1/queries/q-local-0123456789abcdefghjkmnpqrs").status_code == 503


def test_all_clusters_ended_is_not_yet_100_percent() -> None:
    assert percent([Progress("a", "ok"), Progress("b", "timed_out")]) == 99
    assert percent([Progress("a", "ok"), Progress("b", "queued"), Progress("c", "pruned")]) == 50
    assert percent([]) == 99


def test_a_number_that_json_cannot_write_is_never_sent() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        json_answer({"value": float("nan")})


def test_an_expired_result_is_gone(client: FlaskClient, federation: InProcess) -> None:
    where = submit(client).headers["Location"]
    federation.expired.add(where.rpartition("/")[2])
    response = client.get(where + "/result")
    assert (response.status_code, response.json["type"]) == (410, "/api/problems/query-expired")


def test_explain_shows_leaves_root_and_who_is_left_out_and_runs_nothing(
    client: FlaskClient, federation: InProcess
) -> None:
    body = {"signal": "metrics", "query": "sum(rate(http_requests_total[5m]))", "environments": ["prod"]}
    plan = client.post("/api/v1/queries:explain", json=body).json
    assert [shard["cluster"] for shard in plan["shards"]] == ["app-prod", "prod"]
    assert "rate(http_requests_total[5m])" in plan["shards"][0]["leaves"][0]["text"]
    assert [(row["cluster"], row["verdict"]) for row in plan["leftOut"]] == [("stage", "pruned")]
    assert federation.plans == {}


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        (
            "1 + on () max_over_time(sum(x)[1d:1s])",
            422,
            "sum(x)[1d:1s]: a subquery over what spans clusters has 86400 steps, above 11001, because clusters are"
            " asked for sum(x) at every one of them; take a longer step or a shorter range",
        ),
        ("x @ start() [5m]", 400, "1:3: no @ modifiers allowed before range"),
        ("x offset 5m [5m]", 400, "1:3: no offset modifiers allowed before range"),
        ("sum(x) and 1", 400, "1:8: set operator 'and' not allowed in binary scalar expression"),
        ("sum(rate(x))", 400, "1:5: expected type matrix in call to function 'rate', got vector"),
        ("info(x)", 422, "function info is not supported"),
    ],
)
def test_the_plan_of_a_query_that_is_refused_is_a_problem_that_names_the_node_and_why(
    client: FlaskClient, query: str, status: int, said: str
) -> None:
    response = client.post("/api/v1/queries:explain", json={"signal": "metrics", "query": query})
    assert (response.status_code, response.mimetype) == (status, "application/problem+json")
    assert response.json["detail"] == said


def test_an_explained_plan_says_what_is_known_of_the_engines(client: FlaskClient) -> None:
    body = {"signal": "metrics", "query": "sum(rate(http_requests_total[5m]))"}
    notes = client.post("/api/v1/queries:explain", json=body).json["notes"]
    assert notes[-1].startswith("engine of app-prod, prod, stage: not known yet")
    assert client.post("/api/v1/queries:explain", json={"signal": "logs", "query": "{}"}).status_code == 200


def test_the_plan_of_a_submitted_query_can_be_read(client: FlaskClient) -> None:
    where = submit(client).headers["Location"]
    plan = client.get(where + "/explain")
    assert plan.json["queryId"] == plan.headers["X-Query-Id"] == where.rpartition("/")[2]
    assert plan.headers["X-Federation-Coverage"] == "0/3;missing=app-prod,prod,stage"


def test_a_submission_keeps_what_was_asked(client: FlaskClient, federation: InProcess) -> None:
    body = {
        "signal": "logs",
        "query": "{}",
        "start": "-2h",
        "end": "2026-11-24T04:59:00Z",
        "clusters": ["prod"],
        "require": "critical:prod",
        "limit": 7,
        "direction": "forward",
        "timeout": "1m",
    }
    submit(client, body)
    query = next(iter(federation.plans.values())).query
    assert (query.time_range.start_ms, query.time_range.end_ms) == (NOW_MS - 7_200_000, NOW_MS - 60_000)
    assert (query.clusters, str(query.requirement), query.limit) == (("prod",), "critical:prod", 7)
    assert (query.direction, query.timeout_ms, query.tenant_id) == ("forward", 60_000, "local")


def test_a_cancelled_query_answers_499_and_cancelling_again_does_no_harm(
    client: FlaskClient, federation: InProcess
) -> None:
    federation.held = True
    where = submit(client).headers["Location"]
    cancelled = client.delete(where)
    assert (cancelled.status_code, cancelled.json["state"], cancelled.json["percent"]) == (202, "cancelled", 100)
    assert client.delete(where).json["state"] == client.get(where).json["state"] == "cancelled"
    result = client.get(where + "/result")
    assert (result.status_code, result.json["type"]) == (499, "/api/problems/query-canceled")
    assert result.json["queryId"] == where.rpartition("/")[2]
    assert result.headers["X-Federation-Coverage"] == "0/3;missing=app-prod,prod,stage"


def test_cancelling_what_has_ended_shows_how_it_ended(client: FlaskClient) -> None:
    where = f"/api/v1/queries/{submit(client, Prefer='wait=1').json['queryId']}"
    answer = client.delete(where)
    assert (answer.status_code, answer.json["state"]) == (200, "complete")
    assert client.get(where + "/result").status_code == 200


@pytest.mark.parametrize("method", ["delete", "get"])
def test_an_unknown_job_cannot_be_cancelled_or_listened_to(client: FlaskClient, method: str) -> None:
    where = "/api/v1/queries/q-local-00000000000000000000000000"
    answer = client.open(where + ("/events" if method == "get" else ""), method=method)
    assert (answer.status_code, answer.json["type"]) == (404, "/api/problems/query-not-found")


class TestKeeping:
    """`POST …/extend`."""

    def test_a_result_is_kept_for_longer(self, client: FlaskClient, federation: InProcess) -> None:
        where = submit(client).headers["Location"]
        assert client.post(where + "/extend", json={"keep": "2h"}).status_code == 200
        assert federation.kept_ms == {where.rpartition("/")[2]: 7_200_000}

    @pytest.mark.parametrize("keep", ["0s", "23h59m45s", "2d"])
    def test_beyond_a_day_after_submission_is_refused_with_what_is_possible(
        self, client: FlaskClient, federation: InProcess, keep: str
    ) -> None:
        """The job may run for 30 s, and is kept from its end on."""
        where = submit(client).headers["Location"]
        (error,) = client.post(where + "/extend", json={"keep": keep}).json["errors"]
        assert (error["field"], error["got"]) == ("keep", keep)
        assert "at most 23h59m30s" in error["expected"]
        assert federation.kept_ms == {}

    def test_without_a_duration_it_says_which_field_is_missing(self, client: FlaskClient) -> None:
        answer = client.post(submit(client).headers["Location"] + "/extend", json={})
        assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "keep")

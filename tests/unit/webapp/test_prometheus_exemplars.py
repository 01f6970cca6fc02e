"""The Prometheus façade's exemplars, as Grafana asks for them; the native API answers the same."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from federation_core.errors import StoreUnavailable
from tests.unit.webapp.conftest import NOW_MS
from tests.unit.webapp.in_process import InProcess
from tests.unit.webapp.test_auth import bearer, claims
from tests.unit.webapp.test_prometheus_facade import API, BOTH, refused

PATH = f"{API}/query_exemplars"
NOW_S = NOW_MS // 1000
CART = 'http_requests_total{service="cart"}'


def texts(federation: InProcess) -> list[str]:
    return [plan.query.text for plan in federation.plans.values()]


def trace_ids(response: Any) -> list[str]:
    assert response.json["status"] == "success"
    return [one["labels"]["trace_id"] for row in response.json["data"] for one in row["exemplars"]]


@BOTH
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_answers_in_prometheus_shape(client: FlaskClient, api: str, method: str) -> None:
    fields = {"query": f'rate({CART[:-1]},cluster="prod"}}[5m])', "start": NOW_S - 600, "end": f"{NOW_S + 10}"}
    place = {"query_string" if method == "GET" else "data": fields}
    response = client.open(f"{api}/query_exemplars", method=method, **place)
    labels = {"__name__": "http_requests_total", "namespace": "shop", "pod": "cart-prod", "service": "cart"}
    assert response.json == {
        "status": "success",
        "data": [
            {
                "seriesLabels": {**labels, "cluster": "prod"},
                "exemplars": [
                    {"labels": {"trace_id": "shop-prod"}, "value": "0.25", "timestamp": NOW_S - 60},
                    {"labels": {"trace_id": "late-prod"}, "value": "1", "timestamp": NOW_S + 1.5},
                ],
            }
        ],
    }
    assert response.headers["X-Federation-Coverage"] == "1/1"


def test_an_expression_is_asked_about_by_its_selectors(client: FlaskClient, federation: InProcess) -> None:
    query = f"histogram_quantile(0.9, sum by (le) (rate({CART}[5m]))) / on () group_left () {CART} > 0 * bank offset 1h"
    client.get(PATH, query_string={"query": query})
    assert texts(federation) == ['{__name__="http_requests_total",service="cart"} or {__name__="bank"}']


def test_without_times_it_is_all_there_is(client: FlaskClient) -> None:
    assert trace_ids(client.get(PATH, query_string={"query": CART + ' and on (a) x{cluster="none"}'}))[:2] == [
        "shop-app-prod",
        "late-app-prod",
    ]


@BOTH
def test_grafanas_probe_is_a_success_whoever_is_there(client: FlaskClient, api: str, federation: InProcess) -> None:
    """It asks for `test` with milliseconds where seconds belong, and takes an error for "no exemplars here"."""
    federation.served_clusters.clear()
    probe = {"query": "test", "start": str(NOW_MS - 600_000), "end": str(NOW_MS)}
    for method, place in (("GET", "query_string"), ("POST", "data")):
        response = client.open(f"{api}/query_exemplars", method=method, **{place: probe})
        assert (response.status_code, response.json) == (200, {"status": "success", "data": []})
    assert texts(federation) == []


def test_an_end_after_all_time_is_the_end_of_what_there_is(client: FlaskClient) -> None:
    fields = {"query": CART, "start": NOW_S, "end": "9" * 15}
    assert trace_ids(client.get(PATH, query_string=fields)) == ["late-app-prod", "late-prod", "late-stage"]


@pytest.mark.parametrize("query", ["1 + 1", "vector(time())", '"text"'])
def test_an_expression_without_series_has_no_exemplars(client: FlaskClient, query: str) -> None:
    assert client.get(PATH, query_string={"query": query}).json == {"status": "success", "data": []}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "no expression found in input"),
        ({"query": "sum("}, 'invalid parameter "query": 1:'),
        ({"query": "up", "start": "yesterday"}, "yesterday"),
        ({"query": "up", "start": "10", "end": "5"}, "end"),
    ],
)
def test_what_cannot_be_read_is_the_callers_mistake(client: FlaskClient, fields: dict[str, str], words: str) -> None:
    assert words in refused(client.get(PATH, query_string=fields), 400, "bad_data")


def test_a_missing_cluster_is_named(client: FlaskClient, federation: InProcess) -> None:
    federation.served_clusters.discard("stage")
    response = client.get(PATH, query_string={"query": CART})
    assert response.json["warnings"][0].startswith("cluster stage is missing (no_worker)")
    assert response.headers["X-Federation-Coverage"] == "2/3;missing=stage"
    assert len(response.json["data"]) == 2


def test_an_outage_inside_says_nothing_of_the_inside(client: FlaskClient, federation: InProcess) -> None:
    federation.broken = StoreUnavailable("redis://10.0.0.1 refused")
    assert "10.0.0.1" not in refused(client.get(PATH, query_string={"query": CART}), 503, "unavailable")


def test_a_token_shows_the_exemplars_of_its_scope(tokens: FlaskClient) -> None:
    shown = bearer(claims(clusters={"prod": ["bank"]}))
    assert trace_ids(tokens.get(PATH, query_string={"query": "http_requests_total"}, headers=shown)) == ["bank-prod"]


def test_the_native_api_takes_selectors_and_answers_alike(client: FlaskClient) -> None:
    body = {"signal": "exemplars", "query": CART, "start": "-10m", "clusters": ["prod", "stage"]}
    response = client.post("/api/v1/queries", json=body, headers={"Prefer": "wait=5"})
    assert response.status_code == 200
    native = response.json
    assert (native["resultType"], native["coverage"]["complete"]) == ("exemplars", True)
    fields = {"query": CART, "start": NOW_S - 600, "end": NOW_S, "clusters": "prod,stage"}
    assert native["result"] == client.get(PATH, query_string=fields).json["data"]
    assert [row["exemplars"][0]["labels"]["trace_id"] for row in native["result"]] == ["shop-prod", "shop-stage"]


def test_the_native_api_refuses_what_means_nothing_for_exemplars(client: FlaskClient) -> None:
    for field, value in (("step", "15s"), ("limit", 5), ("time", "now")):
        response = client.post("/api/v1/queries", json={"signal": "exemplars", "query": "up", field: value})
        assert response.status_code == 400
        assert f"{field} means nothing for exemplars" in response.json["detail"]

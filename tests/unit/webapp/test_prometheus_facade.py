"""The Prometheus façade: parameters, envelope and errors, as tools that know Prometheus expect them."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_to_bytes, urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient

from federation_core.errors import FederationError, QuotaExceeded, StoreUnavailable
from tests.unit.webapp.conftest import NOW_MS
from tests.unit.webapp.in_process import InProcess
from tests.unit.webapp.test_auth import bearer, claims
from webapp.errors import TABLE
from webapp.facades.prometheus_discovery import unescaped
from webapp.facades.prometheus_envelope import federation_error

API = "/prometheus/api/v1"
STRICT = "/strict/prometheus/api/v1"
NOW_S = NOW_MS // 1000
FORM = "application/x-www-form-urlencoded"
BOTH = pytest.mark.parametrize("api", [API, STRICT])


def asked(federation: InProcess) -> Any:
    """The one query that was planned."""
    (plan,) = federation.plans.values()
    return plan.query


def refused(response: Any, status: int, kind: str) -> str:
    assert (response.status_code, response.content_type) == (status, "application/json"), response.text
    assert (response.json["status"], response.json["errorType"]) == ("error", kind)
    assert response.json.keys() == {"status", "errorType", "error"}
    return str(response.json["error"])


class TestQuery:
    @BOTH
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_it_answers_in_prometheus_envelope(self, client: FlaskClient, api: str, method: str) -> None:
        fields = {"query": "sum(http_requests_total)", "time": str(NOW_S)}
        place = {"query_string" if method == "GET" else "data": fields}
        response = client.open(f"{api}/query", method=method, **place)
        assert response.json == {
            "status": "success",
            "data": {"resultType": "vector", "result": [{"metric": {}, "value": [NOW_S, "3600"]}]},
        }
        assert response.headers["X-Federation-Coverage"] == "3/3"

    def test_without_a_time_it_is_now(self, client: FlaskClient, federation: InProcess) -> None:
        client.get(f"{API}/query?query=up")
        assert (asked(federation).time_range.end_ms, asked(federation).time_range.step_ms) == (NOW_MS, 0)

    @pytest.mark.parametrize(
        ("text", "at_ms"),
        [
            ("4", 4000),
            ("1435781430.781", 1_435_781_430_781),
            ("1.4357814e9", 1_435_781_400_000),
            ("-1.5", -1500),
            ("2015-07-01T20:10:30.781Z", 1_435_781_430_781),
            ("0.0005", 1),
            ("2015-07-01T22:10:30.781999999+02:00", 1_435_781_430_781),
        ],
    )
    def test_times_are_seconds_or_rfc_3339_and_keep_their_milliseconds(
        self, client: FlaskClient, federation: InProcess, text: str, at_ms: int
    ) -> None:
        answer = client.get(f"{API}/query?" + urlencode({"query": "time()", "time": text})).json
        assert asked(federation).time_range.end_ms == at_ms
        assert answer["data"]["result"][0] == at_ms / 1000

    @pytest.mark.parametrize(
        "text",
        [
            *("yesterday", "now", "-1h", "2015-07-01", "2015-07-01T20:10:30", "NaN", "Inf", "1e99"),
            *("2015-07-01t20:10:30z", "2015-07-01T20:10:30.1234567891Z", "2015-02-29T00:00:00Z"),
        ],
    )
    def test_another_time_is_refused(self, client: FlaskClient, text: str) -> None:
        said = refused(client.get(f"{API}/query?" + urlencode({"query": "up", "time": text})), 400, "bad_data")
        assert said.startswith('invalid parameter "time": ')

    @pytest.mark.parametrize(
        ("text", "kind", "value"),
        [("1+1", "scalar", "2"), ("vector(1)+vector(1)", "vector", "2"), ('"text"', "string", "text")],
    )
    def test_constants_are_answered_with_no_cluster_up(
        self, client: FlaskClient, federation: InProcess, text: str, kind: str, value: str
    ) -> None:
        federation.served_clusters.clear()
        for api in (API, STRICT):
            data = client.post(f"{api}/query", data={"query": text, "time": "4"}).json["data"]
            result = [{"metric": {}, "value": [4, value]}] if kind == "vector" else [4, value]
            assert data == {"resultType": kind, "result": result}

    def test_a_query_that_does_not_parse_is_bad_data_with_its_place(self, client: FlaskClient) -> None:
        said = refused(client.get(f"{API}/query?query=sum(up"), 400, "bad_data")
        assert said.startswith('invalid parameter "query": ')
        assert "parse error" in said

    @pytest.mark.parametrize(
        ("query", "place"), [("sum(\nup) + rate(up)", "2:7"), ('up{job=~"("}', "1:9"), ("1e400", "1:1")]
    )
    def test_the_place_of_a_syntax_error_is_told_once(self, client: FlaskClient, query: str, place: str) -> None:
        said = refused(client.post(f"{API}/query", data={"query": query}), 400, "bad_data")
        assert (said.partition("parse error: ")[0], said.count(place)) == (f'invalid parameter "query": {place}: ', 1)

    @pytest.mark.parametrize("url", [f"{API}/query", f"{API}/query?query=", f"{API}/format_query"])
    def test_no_query_is_bad_data(self, client: FlaskClient, url: str) -> None:
        assert "no expression found in input" in refused(client.get(url), 400, "bad_data")

    def test_what_cannot_be_evaluated_is_an_execution_error(self, client: FlaskClient) -> None:
        text = "http_requests_total * on () http_requests_total"
        refused(client.post(f"{API}/query", data={"query": text}), 422, "execution")

    def test_the_body_wins_over_the_url(self, client: FlaskClient, federation: InProcess) -> None:
        client.post(f"{API}/query?query=up&time=5&timeout=7", data={"query": "down", "time": "6"})
        query = asked(federation)
        assert (query.text, query.time_range.end_ms, query.timeout_ms) == ("down", 6000, 7000)

    def test_infos_are_apart_from_warnings(self, client: FlaskClient) -> None:
        unlike_a_counter = 'rate(label_replace(http_requests_total, "__name__", "requests", "", "")[5m:])'
        answer = client.get(f"{API}/query", query_string={"query": unlike_a_counter}).json
        assert "warnings" not in answer
        (said,) = answer["infos"]
        assert said.startswith("PromQL info: ")
        answer = client.get(f"{API}/query", query_string={"query": "quantile(2, http_requests_total)"}).json
        assert "infos" not in answer
        (said,) = answer["warnings"]
        assert said.startswith("PromQL warning: ")

    @pytest.mark.parametrize(("limit", "rows"), [("", 6), ("0", 6), ("6", 6), ("2", 2)])
    def test_a_limit_cuts_and_says_so(self, client: FlaskClient, limit: str, rows: int) -> None:
        answer = client.get(f"{API}/query", query_string={"query": "http_requests_total", "limit": limit}).json
        assert len(answer["data"]["result"]) == rows
        assert answer.get("warnings", []) == (["results truncated due to limit"] if rows < 6 else [])

    @pytest.mark.parametrize("limit", ["-1", "many", "1.5", "9" * 400])
    def test_another_limit_is_refused(self, client: FlaskClient, limit: str) -> None:
        response = client.get(f"{API}/query", query_string={"query": "up", "limit": limit})
        assert 'invalid parameter "limit"' in refused(response, 400, "bad_data")

    @pytest.mark.parametrize(("text", "ms"), [("", 30_000), ("5", 5000), ("1m", 60_000), ("2h", 600_000)])
    def test_a_timeout_is_kept_up_to_the_longest(
        self, client: FlaskClient, federation: InProcess, text: str, ms: int
    ) -> None:
        client.get(f"{API}/query", query_string={"query": "up", "timeout": text})
        assert asked(federation).timeout_ms == ms

    def test_another_timeout_is_refused(self, client: FlaskClient) -> None:
        for text in ("0", "soon"):
            refused(client.get(f"{API}/query?query=up&timeout={text}"), 400, "bad_data")

    def test_what_would_change_the_answer_and_is_not_supported_is_refused(self, client: FlaskClient) -> None:
        for name in ("storeMatch[]", "replicaLabels[]", "extra_label", "extra_filters[]"):
            response = client.get(f"{API}/query", query_string={"query": "up", name: '{a="b"}'})
            assert name in refused(response, 400, "bad_data")
        refused(client.get(f"{API}/query?query=up&lookback_delta=1m"), 422, "execution")

    def test_what_changes_nothing_is_ignored(self, client: FlaskClient) -> None:
        known = "dedup=true&stats=all&max_source_resolution=0s&nocache=1&lookback_delta=5m&_=17"
        assert client.get(f"{API}/query?query=up&{known}").status_code == 200

    def test_clusters_can_be_chosen(self, client: FlaskClient, federation: InProcess) -> None:
        response = client.get(f"{API}/query?query=up&clusters=prod&clusters=stage,prod")
        assert asked(federation).clusters == ("prod", "stage")
        assert response.headers["X-Federation-Coverage"] == "2/2"
        said = refused(client.get(f"{API}/query?query=up&clusters=nowhere"), 400, "bad_data")
        assert "nowhere" in said


class TestQueryRange:
    RANGE = f"query=sum(http_requests_total)&start={NOW_S - 60}&end={NOW_S}"

    @BOTH
    def test_it_is_a_matrix_on_the_grid_of_start(self, client: FlaskClient, api: str) -> None:
        answer = client.get(f"{api}/query_range?{self.RANGE}&step=30").json
        (row,) = answer["data"]["result"]
        assert answer["data"]["resultType"] == "matrix"
        assert [t for t, _ in row["values"]] == [NOW_S - 60, NOW_S - 30, NOW_S]

    @pytest.mark.parametrize(
        ("text", "ms"), [("15", 15_000), ("0.5", 500), ("1.0009", 1000), ("1m30s", 90_000), ("250ms", 250)]
    )
    def test_a_step_is_seconds_or_a_duration(
        self, client: FlaskClient, federation: InProcess, text: str, ms: int
    ) -> None:
        client.post(f"{API}/query_range?{self.RANGE}&step={text}")
        assert asked(federation).time_range.step_ms == ms

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            (
                {"step": "0"},
                'invalid parameter "step": zero or negative query resolution step widths are not accepted.',
            ),
            ({"step": "-1"}, 'invalid parameter "step": zero or negative'),
            ({"step": "0.0009"}, 'invalid parameter "step": zero or negative'),
            ({"step": "9223372037"}, 'invalid parameter "step": cannot parse "9223372037" to a valid duration. It'),
            ({"step": ""}, 'invalid parameter "step": cannot parse "" to a valid duration'),
            ({"step": "often"}, 'invalid parameter "step": cannot parse "often" to a valid duration'),
            ({"start": ""}, 'invalid parameter "start": cannot parse "" to a valid timestamp'),
            ({"end": "1"}, 'invalid parameter "end": end timestamp must not be before start time'),
            (
                {"end": str(NOW_S + 11_001)},
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing",
            ),
            ({"query": "up[5m]"}, 'invalid parameter "query": '),
        ],
    )
    def test_a_range_that_is_none_is_refused_as_prometheus_does(
        self, client: FlaskClient, changes: dict[str, str], said: str
    ) -> None:
        fields = {"query": "up", "start": str(NOW_S), "end": str(NOW_S + 60), "step": "1"} | changes
        assert refused(client.post(f"{API}/query_range", data=fields), 400, "bad_data").startswith(said)


class TestMissingClusters:
    @pytest.fixture(autouse=True)
    def _without_stage(self, federation: InProcess) -> None:
        federation.served_clusters.discard("stage")

    def test_a_missing_cluster_is_named_in_the_warnings_and_a_header(self, client: FlaskClient) -> None:
        response = client.get(f"{API}/query?query=sum(http_requests_total)")
        assert response.json["data"]["result"][0]["value"][1] == "2400"
        (said,) = response.json["warnings"]
        assert said.startswith("cluster stage is missing (no_worker)")
        assert response.headers["X-Federation-Coverage"] == "2/3;missing=stage"

    @pytest.mark.parametrize(
        "url",
        [
            f"{STRICT}/query?query=up",
            f"{STRICT}/query?query=up&partial_response=1&require=best_effort",
            f"{STRICT}/query_range?query=up&start={NOW_S}&end={NOW_S}&step=1",
            f"{STRICT}/series?match[]=up",
            f"{STRICT}/labels",
            f"{STRICT}/label/job/values",
            f"{STRICT}/metadata",
            f"{STRICT}/query_exemplars?query=up",
            f"{API}/query?query=up&partial_response=0",
            f"{API}/query?query=up&partial_response=false",
            f"{API}/query?query=up&deny_partial_response=1",
            f"{API}/query?query=up&require=all",
        ],
    )
    def test_where_all_is_needed_it_is_an_error_that_names_it(self, client: FlaskClient, url: str) -> None:
        response = client.get(url)
        assert refused(response, 503, "unavailable") == "the answer needs all and lacks stage"
        assert response.headers["X-Federation-Coverage"] == "2/3;missing=stage"
        assert response.headers["Retry-After"] == "1"

    def test_a_query_that_does_not_need_it_is_complete(self, client: FlaskClient) -> None:
        assert client.get(f'{STRICT}/query?query=http_requests_total{{cluster!="stage"}}').status_code == 200

    def test_silence_of_all_is_a_timeout(self, client: FlaskClient, federation: InProcess) -> None:
        federation.served_clusters.add("stage")
        federation.silent = {"app-prod", "prod", "stage"}
        refused(client.get(f"{API}/query?query=up"), 503, "timeout")


class TestDiscovery:
    def test_series_of_all_clusters(self, client: FlaskClient) -> None:
        answer = client.get(f"{API}/series", query_string={"match[]": '{namespace="shop"}'}).json
        assert [row["cluster"] for row in answer["data"]] == ["app-prod", "prod", "stage"]
        assert answer["data"][0]["__name__"] == "http_requests_total"
        assert answer.keys() == {"status", "data"}

    def test_matches_in_body_and_url_are_united(self, client: FlaskClient) -> None:
        matches = [f'http_requests_total{{cluster="{name}",service="cart"}}' for name in ("prod", "stage")]
        answer = client.post(f"{API}/series?" + urlencode({"match[]": matches[0]}), data={"match[]": matches[1]}).json
        assert [row["cluster"] for row in answer["data"]] == ["prod", "stage"]

    def test_series_without_a_match_are_refused(self, client: FlaskClient) -> None:
        assert refused(client.get(f"{API}/series"), 400, "bad_data") == "no match[] parameter provided"

    @pytest.mark.parametrize("match", ["sum(up)", "up[5m]", "up offset 5m", "1", "{", "{}", "up @ 5"])
    def test_what_is_no_selector_is_refused(self, client: FlaskClient, match: str) -> None:
        for path in ("series", "labels", "label/job/values"):
            response = client.get(f"{API}/{path}", query_string={"match[]": match})
            assert 'invalid parameter "match[]"' in refused(response, 400, "bad_data")

    def test_labels_have_the_cluster(self, client: FlaskClient) -> None:
        names = ["__name__", "cluster", "namespace", "pod", "service"]
        assert client.post(f"{API}/labels", data={"match[]": "{__name__!=''}"}).json["data"] == names
        assert client.get(f"{API}/labels").json["data"] == names

    def test_label_values(self, client: FlaskClient) -> None:
        assert client.get(f"{API}/label/service/values").json["data"] == ["cart", "ledger"]
        assert client.get(f"{API}/label/cluster/values").json["data"] == ["app-prod", "prod", "stage"]
        assert client.get(f"{API}/label/no.such/values").json["data"] == []
        assert client.post(f"{API}/label/service/values").status_code == 405
        assert refused(client.get(f"{API}/label/U__/values"), 400, "bad_data") == 'invalid label name: "U__"'

    def test_a_limit_holds_after_the_union(self, client: FlaskClient) -> None:
        answer = client.get(f"{API}/label/pod/values?limit=4").json
        assert answer["data"] == ["cart-app-prod", "cart-prod", "cart-stage", "ledger-app-prod"]
        assert answer["warnings"] == ["results truncated due to limit"]

    def test_start_and_end_are_those_that_were_asked(self, client: FlaskClient, federation: InProcess) -> None:
        client.get(f"{API}/labels?start=1.5&end=2015-07-01T20:10:30.781Z")
        span = asked(federation).time_range
        assert (span.start_ms, span.end_ms) == (1500, 1_435_781_430_781)

    def test_the_ends_of_time_as_prometheus_own_client_sends_them(self, client: FlaskClient) -> None:
        ends = {"start": "-292273086-05-16T16:47:06Z", "end": "292277025-08-18T07:12:54.999999999Z"}
        assert client.get(f"{API}/labels", query_string=ends).json["data"]

    def test_an_end_before_the_start_is_refused(self, client: FlaskClient) -> None:
        refused(client.get(f"{API}/labels?start=2&end=1"), 400, "bad_data")

    def test_metadata_by_metric(self, client: FlaskClient) -> None:
        fact = {"type": "counter", "help": "", "unit": ""}
        for query in ("", "?metric=http_requests_total", "?limit=1", "?limit_per_metric=1"):
            assert client.get(f"{API}/metadata{query}").json["data"] == {"http_requests_total": [fact]}
        for query in ("?metric=other", "?metric=http_requests", "?limit=0"):
            assert client.get(f"{API}/metadata{query}").json["data"] == {}

    @pytest.mark.parametrize(
        ("escaped", "name"),
        [
            ("U__a_2e_b", "a.b"),
            ("U__a__b", "a_b"),
            ("U___fc_", "ü"),
            ("U__a_1F600_", "a😀"),
            ("U__", ""),
            ("job", "job"),
            ("a_2e_b", "a_2e_b"),
            ("U__a_2e", "U__a_2e"),
            ("U__a_110000_", "U__a_110000_"),
            ("U__a_d800_", "U__a_d800_"),
        ],
    )
    def test_escaped_names(self, escaped: str, name: str) -> None:
        assert unescaped(escaped) == name


class TestScope:
    """The token's scope holds wherever a query comes in."""

    def test_queries_and_discovery_see_the_scope_and_no_more(self, tokens: FlaskClient) -> None:
        token = bearer(claims(clusters={"prod": ["shop"]}))
        for place in ("query_string", "data"):
            method = "GET" if place == "query_string" else "POST"

            def data(path: str, place: str = place, method: str = method, **fields: str) -> Any:
                return tokens.open(f"{API}/{path}", method=method, headers=token, **{place: fields}).json["data"]

            assert [row["metric"]["service"] for row in data("query", query="http_requests_total")["result"]] == [
                "cart"
            ]
            assert [row["service"] for row in data("series", **{"match[]": '{__name__=~".+"}'})] == ["cart"]
            assert data("series", **{"match[]": '{namespace="bank"}'}) == []
        for path, expected in (("service", ["cart"]), ("cluster", ["prod"]), ("namespace", ["shop"])):
            assert tokens.get(f"{API}/label/{path}/values", headers=token).json["data"] == expected

    def test_metadata_of_what_is_not_seen_is_not_told(self, tokens: FlaskClient) -> None:
        token = bearer(claims(clusters={"prod": ["other"]}))
        assert tokens.get(f"{API}/metadata", headers=token).json["data"] == {}

    def test_another_tenants_cluster_is_as_one_that_is_not_there(self, tokens: FlaskClient) -> None:
        token = bearer(claims(clusters=["prod"]))
        for name in ("stage", "nowhere"):
            for place in ("query_string", "data"):
                fields = {"query": "up", "clusters": name}
                said = refused(tokens.post(f"{API}/query", headers=token, **{place: fields}), 400, "bad_data")
                expected = f"there is no cluster '{name}' in your scope; expected one of prod"
                assert said == f'invalid parameter "clusters": {expected}'

    @BOTH
    def test_no_token_is_401_in_prometheus_shape(self, tokens: FlaskClient, api: str) -> None:
        response = tokens.get(f"{api}/query?query=up")
        refused(response, 401, "bad_data")
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="appsentry"'


class TestHostileParameters:
    @pytest.mark.parametrize("text", ["1e400", "-1e400", "9" * 400, "0x10", "1__000", "٣", "1;2", "\x00", "1e-400"])
    def test_numbers_that_are_none_or_too_large(self, client: FlaskClient, text: str) -> None:
        whole = {"query": "up", "start": str(NOW_S), "end": str(NOW_S), "step": "1"}
        for name in ("start", "step", "timeout", "limit"):
            refused(client.post(f"{API}/query_range", data=whole | {name: text}), 400, "bad_data")

    @pytest.mark.parametrize("query", ['a{b="%FF"}', "%FF", "time()%FF", 'a{b=~"%ED%A0%80"}', '"%EF%BF%BD"'])
    def test_bytes_that_are_no_text_are_refused(self, client: FlaskClient, query: str) -> None:
        for path, name in (("query", "query"), ("parse_query", "query"), ("series", "match[]"), ("labels", "match[]")):
            said = f'invalid parameter "{name}": invalid UTF-8 rune'
            assert refused(client.get(f"{API}/{path}?{name}={query}"), 400, "bad_data") == said
            for body in (f"{name}={query}".encode(), unquote_to_bytes(f"{name}={query}")):
                response = client.post(f"{API}/{path}", data=body, content_type=FORM)
                assert refused(response, 400, "bad_data") == said
        assert "invalid label name" in refused(client.get(f"{API}/label/%FF/values"), 400, "bad_data")

    def test_a_percent_sign_is_one_and_other_bytes_elsewhere_are_ignored(
        self, client: FlaskClient, federation: InProcess
    ) -> None:
        client.post(f'{API}/query?x=%FF&query=a{{b="%25FF"}}', data=b"\xff=1&y=\xff&%ff=%", content_type=FORM)
        assert asked(federation).text == 'a{b="%FF"}'

    def test_a_form_in_parts_is_a_form(self, client: FlaskClient) -> None:
        parts = {"data": {"query": "1+1", "time": "4"}, "content_type": "multipart/form-data"}
        assert client.post(f"{API}/query", **parts).json["data"]["result"] == [4, "2"]

    def test_names_of_labels_and_matches_of_any_kind(self, client: FlaskClient) -> None:
        for name in ("a-b", "a.b", "%00", "%F0%9F%A6%80", "a%22b", "a%5C", "%0A", "x" * 5000):
            assert client.get(f"{API}/label/{name}/values").json["data"] == []
        selector = '{"odd \\" name"="\\\\",__name__!=""}'
        assert client.get(f"{API}/series", query_string={"match[]": selector}).json["data"] == []
        many = {"match[]": [f'up{{a="{number}"}}' for number in range(5000)]}
        refused(client.post(f"{API}/series", data=many), 422, "execution")


#: The types of Prometheus' API (documentation, "HTTP API / Format overview", and its source).
ERROR_TYPES = {"timeout", "canceled", "execution", "bad_data", "internal", "unavailable", "not_found"}


class TestShapeOfErrors:
    @pytest.mark.parametrize("cls", TABLE, ids=lambda cls: cls.__name__)
    def test_every_class_has_a_type_of_prometheus(self, app: Flask, cls: type[FederationError]) -> None:
        assert TABLE[cls].error_type in ERROR_TYPES
        with app.test_request_context(f"{API}/query"):
            refused(federation_error(cls("what happened")), TABLE[cls].status, TABLE[cls].error_type)

    def test_an_unknown_path_and_another_method(self, client: FlaskClient) -> None:
        assert "/prometheus/api/v1/nosuch" in refused(client.get(f"{API}/nosuch"), 404, "not_found")
        response = client.delete(f"{API}/series")
        refused(response, 405, "bad_data")
        assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
        refused(client.post(f"{API}/query", data={"query": "x" * 300_000}), 413, "bad_data")

    def test_a_client_that_accepts_problems_gets_problems(self, client: FlaskClient) -> None:
        for url in (f"{API}/query?query=(", f"{API}/nosuch"):
            response = client.get(url, headers={"Accept": "application/problem+json"})
            assert response.content_type == "application/problem+json"

    @pytest.mark.parametrize("path", ["/prometheus", "/prometheus/", "/strict/prometheus", "/strict/prometheus/"])
    def test_the_bare_path_of_a_facade_belongs_to_it(self, client: FlaskClient, path: str) -> None:
        refused(client.get(path), 404, "not_found")

    def test_other_paths_keep_their_problems(self, client: FlaskClient) -> None:
        assert client.get("/prometheusx").content_type == "application/problem+json"

    def test_too_many_queries_say_when_to_come_again(self, client: FlaskClient, federation: InProcess) -> None:
        federation.refused = QuotaExceeded("too many", retry_after_s=2.5)
        response = client.get(f"{API}/query?query=up")
        refused(response, 429, "unavailable")
        assert response.headers["Retry-After"] == "3"

    def test_a_bug_shows_an_id_and_nothing_else(self, client: FlaskClient, federation: InProcess) -> None:
        federation.broken = RuntimeError("secret")
        assert "secret" not in refused(client.get(f"{API}/query?query=up"), 500, "internal")

    def test_an_outage_inside_says_nothing_of_the_inside(self, client: FlaskClient, federation: InProcess) -> None:
        federation.broken = StoreUnavailable("redis://10.0.0.1 refused")
        for path in (f"{API}/query?query=up", f"{API}/labels", "/prometheus/-/ready"):
            assert "10.0.0.1" not in refused(client.get(path), 503, "unavailable")


@BOTH
def test_what_tools_ask_about_the_server(client: FlaskClient, api: str) -> None:
    assert client.get(f"{api}/rules").json["data"] == {"groups": []}
    assert client.get(f"{api}/alerts").json["data"] == {"alerts": []}
    build = client.get(f"{api}/status/buildinfo").json["data"]
    assert build["version"].startswith("3.")
    assert "features" not in build


def test_a_query_is_formatted(client: FlaskClient) -> None:
    answer = client.post(f"{API}/format_query", data={"query": "sum(  up ) by (a)"})
    assert answer.json == {"status": "success", "data": "sum by (a) (up)"}
    refused(client.get(f"{API}/format_query?query=sum("), 400, "bad_data")


@BOTH
def test_it_tells_what_can_be_done_here(client: FlaskClient, api: str) -> None:
    data = client.get(f"{api}/features").json["data"]
    assert all(re.fullmatch("[a-z_]+", category) for category in data)
    functions, operators = data["promql_functions"], data["promql_operators"]
    assert (functions["rate"], functions["mad_over_time"], functions["info"]) == (True, True, False)
    assert {name for name, there in operators.items() if there} >= {"+", "atan2", "unless", "=~", "!=", "@", "topk"}
    assert "=" not in operators
    for name, there in functions.items():
        response = client.post(f"{api}/format_query", data={"query": f"{name}(x)"})
        assert ("not supported" in response.text) is not there, response.text


@pytest.mark.parametrize(
    ("query", "feature"),
    [
        ("x @ 5", "at_modifier"), ("x == bool 1", "bool"), ("sum by (a) (x)", "by"), ("x + fill (0) y", "fill"),
        ("x + fill_left (0) y", "fill_left"), ("x + fill_right (0) y", "fill_right"), ("x[5m:1m]", "subqueries"),
        ("x / on (a) group_left () y", "group_left"), ("x / on (a) group_right () y", "group_right"),
        ("x + on (a) y", "on"),
        ("x / ignoring (a) y", "ignoring"), ("x offset -5m", "negative_offset"), ("x offset 5m", "offset"),
        ("sum without (a) (x)", "without"), ("x[5m] anchored", "anchored"), ("x[5m] smoothed", "smoothed"),
        ("x[5m + 1m]", "duration_expr"),
    ],
)  # fmt: skip
def test_the_features_of_the_language_are_as_it_says(client: FlaskClient, query: str, feature: str) -> None:
    there = client.get(f"{API}/features").json["data"]["promql"][feature]
    assert (client.post(f"{API}/format_query", data={"query": query}).status_code == 200) is there


@BOTH
@pytest.mark.parametrize("path", ["status/tsdb", "status/config", "status/flags", "status/runtimeinfo", "targets"])
def test_what_belongs_to_one_server_is_not_made_up(client: FlaskClient, api: str, path: str) -> None:
    assert "a federation is none: ask that of a cluster" in refused(client.get(f"{api}/{path}"), 404, "not_found")


@pytest.mark.parametrize("prefix", ["/prometheus", "/strict/prometheus"])
def test_probes_are_open(tokens: FlaskClient, prefix: str) -> None:
    for probe in ("healthy", "ready"):
        response = tokens.get(f"{prefix}/-/{probe}")
        assert (response.status_code, response.mimetype) == (200, "text/plain")

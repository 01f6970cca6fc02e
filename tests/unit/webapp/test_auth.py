"""Tokens, scopes, and the open scope of a single machine."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from hmac import digest
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask.testing import FlaskClient

from federation_core.config import Auth, Settings
from federation_core.errors import InvalidConfig
from federation_core.labels import compile_regex
from tests.unit.webapp.conftest import KEY, SETTINGS, TRACE_ID
from tests.unit.webapp.in_process import Clock, InProcess
from webapp import create_app

QUERY = {"query": "sum by (namespace, cluster) (http_requests_total)"}
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_PUBLIC = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Return good claims with some changed; None removes one."""
    good = {
        "iss": "https://idp.example",
        "aud": "appsentry",
        "exp": int(time.time()) + 3600,
        "tenant": "team-a",
        "clusters": ["prod", "stage"],
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def bearer(payload: Mapping[str, Any], key: Any = KEY, algorithm: str = "HS256", **header: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {jwt.encode(dict(payload), key, algorithm, headers=header or None)}"}


def client_of(settings: Settings, federation: InProcess, clock: Clock) -> FlaskClient:
    return create_app(settings, federation, clock).test_client()  # type: ignore[arg-type]


def namespaces_seen(response: Any) -> set[tuple[str, str]]:
    return {(row["metric"]["cluster"], row["metric"]["namespace"]) for row in response.json["result"]}


def test_a_good_token_opens_its_clusters_and_no_other(tokens: FlaskClient) -> None:
    response = tokens.post("/api/v1/metrics/query", json=QUERY, headers=bearer(claims()))
    assert response.json["coverage"]["asked"] == ["prod", "stage"]
    assert {cluster for cluster, _ in namespaces_seen(response)} == {"prod", "stage"}


def unsigned(payload: Mapping[str, Any]) -> dict[str, str]:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "none"}, payload)
    ]
    return {"Authorization": f"Bearer {parts[0]}.{parts[1]}."}


DEEP = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 5000 + b"]" * 5000 + b"}").rstrip(b"=").decode()
FORGED_KEY = "another-secret-of-thirty-two-bytes!!"
FAULTS = {
    "no token": {},
    "another scheme": {"Authorization": "Basic YTpi"},
    "no jwt": {"Authorization": "Bearer nonsense"},
    "empty": {"Authorization": "Bearer "},
    "two parts": {"Authorization": "Bearer a b"},
    "not ascii": {"Authorization": "Bearer \xe4\xf6.\xfc.\xdf"},
    "unsigned": unsigned(claims()),
    "another key": bearer(claims(), FORGED_KEY),
    "another hmac": bearer(claims(), KEY * 2, "HS512"),
    "another algorithm": bearer(claims(), RSA_KEY, "RS256"),
    "expired": bearer(claims(exp=int(time.time()) - 1)),
    "without exp": bearer(claims(exp=None)),
    "exp is text": bearer(claims(exp="soon")),
    "not yet": bearer(claims(nbf=int(time.time()) + 1800)),
    "another issuer": bearer(claims(iss="https://evil.example")),
    "without issuer": bearer(claims(iss=None)),
    "another audience": bearer(claims(aud="else")),
    "without audience": bearer(claims(aud=None)),
    "a refresh token": bearer(claims(type="refresh")),
    "a header nested without end": {"Authorization": f"Bearer {DEEP}.e30.AA"},
    "crit": bearer(claims(), crit=["x"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_of_a_token_looks_the_same(tokens: FlaskClient, fault: str) -> None:
    response = tokens.get("/api/v1/clusters", headers=FAULTS[fault])
    body = dict(response.json)
    body.pop("trace_id")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="appsentry"'
    assert (response.status_code, body) == (
        401,
        {
            "type": "/api/problems/unauthenticated",
            "title": "No valid token",
            "status": 401,
            "detail": "this route needs a valid bearer token",
            "instance": "/api/v1/clusters",
        },
    )


def test_a_tampered_token_is_refused(tokens: FlaskClient) -> None:
    head, _, signature = bearer(claims())["Authorization"].split(".")
    more = base64.urlsafe_b64encode(json.dumps(claims(tenant="team-b")).encode()).rstrip(b"=").decode()
    response = tokens.get("/api/v1/clusters", headers={"Authorization": f"{head}.{more}.{signature}"})
    assert response.status_code == 401


def test_the_public_key_is_no_hmac_secret(federation: InProcess, clock: Clock) -> None:
    """RS256 is pinned; a token signed with HMAC and the public key as its secret is the classic confusion."""
    settings = replace(SETTINGS, auth=Auth(enabled=True, algorithm="RS256", key=RSA_PUBLIC))
    client = client_of(settings, federation, clock)
    plain = claims(iss=None, aud=None)
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=").decode()
    body = base64.urlsafe_b64encode(json.dumps(plain).encode()).rstrip(b"=").decode()
    mac = base64.urlsafe_b64encode(digest(RSA_PUBLIC.encode(), f"{head}.{body}".encode(), sha256)).rstrip(b"=").decode()
    forged = {"Authorization": f"Bearer {head}.{body}.{mac}"}
    assert client.get("/api/v1/clusters", headers=forged).status_code == 401
    assert client.get("/api/v1/clusters", headers=bearer(plain, RSA_KEY, "RS256")).status_code == 200


def test_a_token_in_the_url_is_not_read(tokens: FlaskClient) -> None:
    token = bearer(claims())["Authorization"].split()[1]
    assert tokens.get(f"/api/v1/clusters?jwt={token}").status_code == 401


@pytest.mark.parametrize(
    "given",
    [
        {"clusters": None},
        {"clusters": []},
        {"clusters": {}},
        {"clusters": ["elsewhere"]},
        {"clusters": ["*"]},
        {"clusters": {"prod": []}},
        {"clusters": {"prod": [""]}},
        {"clusters": "prod"},
        {"clusters": 7},
        {"clusters": {"prod": "shop"}},
        {"clusters": {"prod": [1]}},
        {"clusters": {"prod": None}},
        {"tenant": ""},
        {"tenant": 7},
        {"tenant": "x" * 201},
        {"tenant": None},
    ],
    ids=str,
)
def test_a_token_that_opens_nothing_is_forbidden(tokens: FlaskClient, given: dict[str, Any]) -> None:
    response = tokens.get("/api/v1/clusters", headers=bearer(claims(**given)))
    assert (response.status_code, response.json["type"]) == (403, "/api/problems/scope-violation")


def test_unknown_clusters_of_a_claim_are_ignored_and_logged(
    tokens: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    given = claims(tenant="team-z", clusters=["prod", "mars"])
    response = tokens.get("/api/v1/clusters", headers=bearer(given))
    assert [cluster["name"] for cluster in response.json["clusters"]] == ["prod"]
    said = [record for record in caplog.records if "not configured" in record.message]
    assert [record.clusters for record in said] == [("mars",)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("namespaces", "seen"),
    [
        ("*", {("prod", "shop"), ("prod", "bank")}),
        (["*"], {("prod", "shop"), ("prod", "bank")}),
        (["shop"], {("prod", "shop")}),
        (["shop", "bank"], {("prod", "shop"), ("prod", "bank")}),
        (["shop", "other"], {("prod", "shop")}),
        # A namespace is a name, never a pattern.
        (["other", "x|.*"], set()),
        ([".*"], set()),
    ],
)
def test_a_claim_maps_a_cluster_to_its_namespaces(tokens: FlaskClient, namespaces: Any, seen: set[Any]) -> None:
    headers = bearer(claims(clusters={"prod": namespaces}))
    assert namespaces_seen(tokens.post("/api/v1/metrics/query", json=QUERY, headers=headers)) == seen


def test_namespaces_are_quoted_for_re2(tokens: FlaskClient, federation: InProcess) -> None:
    headers = bearer(claims(clusters={"prod": ["a.b", 'c"}|.*']}))
    tokens.post("/api/v1/metrics/query", json=QUERY, headers=headers)
    (matcher,) = next(iter(federation.plans.values())).shards[0].scope.allowed["prod"]
    matched = [n for n in ("a.b", "axb", 'c"}|.*', "anything", "") if compile_regex(matcher.value).fullmatch(n)]
    assert matched == ["a.b", 'c"}|.*']


def test_pairs_do_not_become_a_cross_product(tokens: FlaskClient) -> None:
    headers = bearer(claims(clusters={"prod": ["shop"], "stage": ["bank"]}))
    response = tokens.post("/api/v1/metrics/query", json=QUERY, headers=headers)
    assert namespaces_seen(response) == {("prod", "shop"), ("stage", "bank")}


def test_a_trace_shows_only_spans_of_the_scope(tokens: FlaskClient) -> None:
    headers = bearer(claims(clusters={"prod": ["shop"]}))
    response = tokens.get(f"/api/v1/traces/{TRACE_ID}", headers=headers)
    assert {span["namespace"] for span in response.json["spans"]} == {"shop"}
    headers = bearer(claims(clusters={"prod": ["elsewhere"]}))
    assert tokens.get(f"/api/v1/traces/{TRACE_ID}", headers=headers).status_code == 404


@pytest.mark.parametrize("narrow", ["clusters", "environments", "require"])
def test_a_cluster_outside_the_scope_is_as_one_that_is_not_there(tokens: FlaskClient, narrow: str) -> None:
    def told(name: str) -> tuple[int, str]:
        value = f"critical:{name}" if narrow == "require" else [name]
        asked = QUERY | {narrow: value}
        response = tokens.post("/api/v1/metrics/query", json=asked, headers=bearer(claims(clusters=["stage"])))
        (error,) = response.json["errors"]
        return response.status_code, f"{error} {response.json['detail']}".replace(name, "X")

    assert told("prod") == told("pord")
    assert told("prod")[0] == 400


def test_options_say_which_methods_a_route_takes_with_and_without_a_token(tokens: FlaskClient) -> None:
    for path, methods in (
        ("/api/v1/queries", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("/prometheus/api/v1/label/job/values", {"GET", "HEAD", "OPTIONS"}),
    ):
        for headers in ({}, bearer(claims()), FAULTS["expired"]):
            response = tokens.options(path, headers=headers)
            assert (response.status_code, response.data) == (200, b"")
            assert set(response.headers["Allow"].split(", ")) == methods


def test_another_tenants_job_is_not_found_by_any_route(tokens: FlaskClient) -> None:
    body = {"signal": "metrics", **QUERY}
    where = tokens.post("/api/v1/queries", json=body, headers=bearer(claims())).headers["Location"]
    other = bearer(claims(tenant="team-b"))
    for rest in ("", "/result", "/explain"):
        assert tokens.get(where + rest, headers=bearer(claims())).status_code in (200, 202)
        response = tokens.get(where + rest, headers=other)
        assert (response.status_code, response.json["type"]) == (404, "/api/problems/query-not-found")
    assert tokens.get("/api/v1/queries", headers=other).json == {"queries": []}


@pytest.mark.parametrize(("given", "most"), [({}, 200), ({"maxRunningJobs": 3}, 3)])
def test_a_token_states_how_many_queries_run_at_once(
    tokens: FlaskClient, federation: InProcess, given: dict[str, Any], most: int
) -> None:
    tokens.post("/api/v1/metrics/query", json=QUERY, headers=bearer(claims(**given)))
    (plan,) = federation.plans.values()
    assert plan.shards[0].scope.limits.max_running_jobs == most


@pytest.mark.parametrize("most", [0, -1, 1.5, "9", True, 10**9, [1]])
def test_a_number_of_queries_that_is_none_is_forbidden(tokens: FlaskClient, most: Any) -> None:
    response = tokens.post("/api/v1/metrics/query", json=QUERY, headers=bearer(claims(maxRunningJobs=most)))
    assert (response.status_code, "maxRunningJobs" in response.json["detail"]) == (403, True)


def test_the_subject_is_the_tenant_where_no_tenant_is_named(tokens: FlaskClient, federation: InProcess) -> None:
    given = claims(tenant=None, sub="system:serviceaccount:shop:reader")
    tokens.post("/api/v1/metrics/query", json=QUERY, headers=bearer(given))
    assert [tenant for tenant, _ in federation.plans] == ["system:serviceaccount:shop:reader"]


def test_a_cluster_outside_the_scope_is_not_shown(tokens: FlaskClient) -> None:
    assert tokens.get("/api/v1/clusters/app-prod", headers=bearer(claims())).status_code == 404
    assert tokens.get("/api/v1/clusters/nowhere", headers=bearer(claims())).status_code == 404


@pytest.mark.parametrize(
    "auth", [Auth(enabled=True), Auth(enabled=True, key="short"), Auth(enabled=True, algorithm="HS512", key="x" * 63)]
)
def test_without_a_fit_key_the_application_does_not_start(federation: InProcess, clock: Clock, auth: Auth) -> None:
    with pytest.raises(InvalidConfig, match="JWT_KEY"):
        client_of(replace(SETTINGS, auth=auth), federation, clock)


def test_every_route_is_closed_unless_marked_public(tokens: FlaskClient) -> None:
    app = tokens.application
    open_rules = set()
    for rule in app.url_map.iter_rules():
        method = next(iter((rule.methods or set()) - {"HEAD", "OPTIONS"}))
        path = rule.rule.replace("<", "").replace(">", "")
        if tokens.open(path, method=method).status_code != 401:
            open_rules.add(rule.rule)
    assert open_rules == {
        "/",
        "/-/healthy",
        "/-/ready",
        "/api/docs",
        "/api/openapi.json",
        "/api/problems",
        "/api/problems/<name>",
        "/health",
        "/pages/<name>",
        "/ready",
        "/prometheus/-/healthy",
        "/prometheus/-/ready",
        "/strict/prometheus/-/healthy",
        "/strict/prometheus/-/ready",
    }


def test_without_authentication_the_application_says_so(
    federation: InProcess, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(SETTINGS, federation, clock)
    assert "AUTH_ENABLED is false" in caplog.text
    assert client.get("/health").json["auth"] == "open on loopback"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_the_open_scope_answers_on_loopback(client: FlaskClient, address: str) -> None:
    assert client.get("/api/v1/clusters", environ_base={"REMOTE_ADDR": address}).status_code == 200


@pytest.mark.parametrize("address", ["10.0.0.5", "::ffff:10.0.0.5", "2001:db8::1", "", "nonsense", "0.0.0.0"])
def test_the_open_scope_refuses_every_other_address(client: FlaskClient, address: str) -> None:
    response = client.get("/api/v1/clusters", environ_base={"REMOTE_ADDR": address})
    assert response.status_code == 403
    assert "loopback only" in response.json["detail"]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Host"])
def test_the_open_scope_refuses_what_came_through_a_proxy(client: FlaskClient, header: str) -> None:
    response = client.get("/api/v1/clusters", headers={header: "127.0.0.1"})
    assert (response.status_code, header in response.json["detail"]) == (403, True)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8080", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("evil.example", 403),
        ("localhost.evil.example:8080", 403),
        ("[", 403),
        ("[::1", 403),
        ("a b", 403),
    ],
)
def test_the_open_scope_answers_only_under_a_loopback_name(client: FlaskClient, host: str, status: int) -> None:
    """A page elsewhere may point its own name at 127.0.0.1 (DNS rebinding)."""
    assert client.get("/api/v1/clusters", headers={"Host": host}).status_code == status

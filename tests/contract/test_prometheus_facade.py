"""The Prometheus façade as a client meets it: gunicorn, real Redis, real workers, six embedded stores, one dark."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import jwt
import pytest

from federation_core.config import Auth
from federation_core.connectors.otlp.ingest import Ingest
from federation_core.connectors.stores.segments import SegmentStore
from tests.conftest import require_program
from tests.support.otlp_requests import gauge, metrics, resource
from tests.support.stack import CLUSTERS, COUNTS, METRIC, Stack
from tests.support.web_server import Answer, WebServer
from webapp import create_app

pytestmark = pytest.mark.heavy
DARK = "stage"
LIT = sorted(set(CLUSTERS) - {DARK})
API, STRICT = "/prometheus/api/v1", "/strict/prometheus/api/v1"
SUM_OF_LIT = str(sum(COUNTS[name] for name in LIT))
KEY = "a-secret-of-at-least-thirty-two-bytes"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("facade")) as stack:
        _add_gauge(stack)
        stack.start_merge()
        stack.start_worker(LIT)
        yield stack


@pytest.fixture(scope="module")
def web(stack: Stack) -> Iterator[WebServer]:
    with WebServer(stack) as web:
        yield web


@pytest.fixture
def six(stack: Stack, web: WebServer) -> Iterator[WebServer]:
    """The server while the dark cluster has its worker too."""
    worker = stack.start_worker({DARK})
    yield web
    worker.terminate()
    worker.wait(10)
    stack.until(lambda: DARK not in stack.dispatch.served())


def _add_gauge(stack: Stack) -> None:
    """One gauge in prod, of another namespace than the counter's."""
    point = {"timeUnixNano": str((stack.now_ms - 60_000) * 1_000_000), "asDouble": 1.5}
    with SegmentStore(stack.folder / "stores" / "prod", cluster="prod") as store:
        ingest = Ingest(store)
        ingest.add(metrics(resource("cart", namespace="shop"), gauge("depth", point)))
        ingest.flush()


def form(web: WebServer, path: str, fields: Sequence[tuple[str, str]]) -> Answer:
    """Send a POST with a form, whatever the answer's status."""
    try:
        with urlopen(Request(web.url + path, urlencode(fields).encode()), timeout=30) as response:
            return Answer(response.status, response.headers, response.read().decode())
    except HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read().decode())


def get(web: WebServer, path: str, *fields: tuple[str, str]) -> Answer:
    return web.get(f"{path}?{urlencode(fields)}")


def test_every_cluster_is_in_the_answer_of_a_complete_query(stack: Stack, six: WebServer) -> None:
    at = str(stack.now_ms / 1000)
    for api in (API, STRICT):
        answer = form(six, f"{api}/query", [("query", f"sum({METRIC})"), ("time", at)])
        assert answer.json == {
            "status": "success",
            "data": {
                "resultType": "vector",
                "result": [{"metric": {}, "value": [float(at), str(sum(COUNTS.values()))]}],
            },
        }
        assert answer.headers["X-Federation-Coverage"] == "6/6"


def test_a_range_has_the_points_that_were_asked(stack: Stack, web: WebServer) -> None:
    start_s = (stack.now_ms - 300_000) / 1000
    fields = [("query", f'{METRIC}{{cluster="prod"}}'), ("start", f"{start_s:.3f}"), ("end", f"{start_s + 240:.3f}")]
    for answer in (
        get(web, f"{API}/query_range", *fields, ("step", "60")),
        form(web, f"{STRICT}/query_range", [*fields, ("step", "1m")]),
    ):
        (row,) = answer.json["data"]["result"]
        assert [t for t, _ in row["values"]] == pytest.approx([start_s + 60 * i for i in range(5)], abs=1e-9)
        assert {value for _, value in row["values"]} == {str(COUNTS["prod"])}
        assert "warnings" not in answer.json


def test_a_dark_cluster_is_a_warning_and_below_strict_an_error(web: WebServer) -> None:
    answer = get(web, f"{API}/query", ("query", f"sum({METRIC})"))
    assert answer.json["data"]["result"][0]["value"][1] == SUM_OF_LIT
    assert [said.partition(" (")[0] for said in answer.json["warnings"]] == [f"cluster {DARK} is missing"]
    strict = get(web, f"{STRICT}/query", ("query", f"sum({METRIC})"))
    assert (strict.status_code, strict.json["errorType"]) == (503, "unavailable")
    assert DARK in strict.json["error"]
    for said in (answer, strict):
        assert said.headers["X-Federation-Coverage"] == f"5/6;missing={DARK}"


def test_the_health_test_of_grafana_needs_no_cluster(stack: Stack) -> None:
    """A federation whose clusters have no worker at all."""
    elsewhere = replace(stack.settings, clusters=tuple(c for c in stack.settings.clusters if c.name == DARK))
    client = create_app(elsewhere).test_client()
    for api in (API, STRICT):
        answer = client.post(f"{api}/query", data={"query": "1+1", "time": "4"})
        assert answer.json == {"status": "success", "data": {"resultType": "scalar", "result": [4, "2"]}}


def test_a_query_that_is_wrong_has_prometheus_errors(web: WebServer) -> None:
    for query, status, kind in (
        ("sum(", 400, "bad_data"),
        (f"{METRIC} * on () {METRIC}", 422, "execution"),
        (f"{METRIC}[5m] offset", 400, "bad_data"),
    ):
        answer = form(web, f"{API}/query", [("query", query)])
        assert (answer.status_code, answer.json["errorType"]) == (status, kind)


def test_a_url_of_eight_thousand_bytes_is_read_and_a_longer_question_is_sent_as_a_form(web: WebServer) -> None:
    def matches(count: int) -> list[tuple[str, str]]:
        return [("match[]", f'{METRIC}{{pod!="{number:04}"}}') for number in range(count)]

    (most,) = (n for n in range(300) if len(urlencode(matches(n))) < 8_000 <= len(urlencode(matches(n + 1))))
    answer = get(web, f"{API}/series", *matches(most))
    assert [row["cluster"] for row in answer.json["data"]] == LIT
    assert get(web, f"{API}/series", *matches(most + 10)).status_code == 414
    # The warnings are about a cluster in the dark, since when is told by clocks that differ by a millisecond.
    assert form(web, f"{API}/series", matches(most + 10)).json["data"] == answer.json["data"]


def test_a_browser_may_ask_for_the_methods_of_a_route(web: WebServer) -> None:
    answer = web.send("OPTIONS", f"{API}/query")
    assert (answer.status_code, set(answer.headers["Allow"].split(", "))) == (200, {"GET", "HEAD", "OPTIONS", "POST"})


class TestDiscovery:
    def test_what_every_cluster_has_is_listed_with_what_is_missing(self, web: WebServer) -> None:
        answer = form(web, f"{API}/series", [("match[]", METRIC), ("match[]", "depth")])
        assert [(row["__name__"], row["cluster"]) for row in answer.json["data"]] == [
            ("depth", "prod"),
            *((METRIC, name) for name in LIT),
        ]
        assert answer.headers["X-Federation-Coverage"] == f"5/6;missing={DARK}"
        assert DARK in answer.json["warnings"][0]
        assert get(web, f"{STRICT}/series", ("match[]", METRIC)).status_code == 503

    def test_labels_and_values(self, six: WebServer) -> None:
        assert {"__name__", "cluster", "namespace", "pod", "service"} <= set(get(six, f"{STRICT}/labels").json["data"])
        assert get(six, f"{STRICT}/label/cluster/values").json["data"] == sorted(CLUSTERS)
        assert get(six, f"{STRICT}/label/cluster/values", ("match[]", "depth")).json["data"] == ["prod"]
        assert {"depth", METRIC} <= set(get(six, f"{STRICT}/label/__name__/values").json["data"])

    def test_a_time_at_which_there_was_nothing(self, stack: Stack, web: WebServer) -> None:
        late = str(stack.now_ms / 1000 + 3600)
        assert get(web, f"{API}/label/__name__/values", ("start", late), ("match[]", "depth")).json["data"] == []

    def test_a_limit_is_that_of_the_union(self, web: WebServer) -> None:
        answer = get(web, f"{API}/series", ("match[]", METRIC), ("limit", "2"))
        assert [row["cluster"] for row in answer.json["data"]] == LIT[:2]
        assert "results truncated due to limit" in answer.json["warnings"]

    def test_metadata(self, six: WebServer) -> None:
        data = get(six, f"{STRICT}/metadata").json["data"]
        assert data["depth"] == [{"type": "gauge", "help": "", "unit": ""}]
        assert data[METRIC][0]["type"] == "counter"
        assert get(six, f"{STRICT}/metadata", ("metric", "depth")).json["data"].keys() == {"depth"}

    def test_the_native_api_has_it_as_a_signal(self, web: WebServer) -> None:
        body = {"signal": "series", "query": 'values "cluster" {__name__="depth"}'}
        answer = web.post("/api/v1/queries", body, Prefer="wait=10")
        assert (answer.status_code, answer.json["result"]) == (200, ["prod"])


def test_a_scope_holds_in_body_and_url_alike(stack: Stack) -> None:
    client = create_app(replace(stack.settings, auth=Auth(enabled=True, key=KEY))).test_client()
    claims = {"tenant": "a", "clusters": {"prod": ["shop"]}, "exp": int(time.time()) + 60}
    token = {"Authorization": f"Bearer {jwt.encode(claims, KEY, 'HS256')}"}

    def both(path: str, **fields: str) -> list[Any]:
        ways: tuple[dict[str, Any], ...] = ({"query_string": fields}, {"data": fields})
        return [client.post(f"{API}/{path}", headers=token, **way).json["data"] for way in ways]

    for data in both("query", query=f"{METRIC} or depth"):
        assert [row["metric"]["__name__"] for row in data["result"]] == ["depth"]
    for data in both("series", **{"match[]": '{__name__=~"depth|jobs.*"}'}):
        assert [row["__name__"] for row in data] == ["depth"]
    assert both("labels", **{"match[]": METRIC}) == [[], []]
    assert list(client.get(f"{API}/metadata", headers=token).json["data"]) == ["depth"]


class TestPromtool:
    """Prometheus' own client: what it prints is what it understood."""

    def run(self, web: WebServer, *words: str, prefix: str = "/prometheus", code: int = 0) -> str:
        command = [require_program("promtool"), "query", *words]
        command[3:3] = ["-o", "json"] if words[0] in ("instant", "range") else []
        done = subprocess.run(
            [word.replace("URL", web.url + prefix) for word in command], capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    def test_instant(self, stack: Stack, web: WebServer) -> None:
        at = f"--time={stack.now_ms / 1000:.3f}"
        printed = json.loads(self.run(web, "instant", at, "URL", f"sum by (cluster) ({METRIC})"))
        assert {row["metric"]["cluster"]: row["value"][1] for row in printed} == {n: str(COUNTS[n]) for n in LIT}
        assert "1" in self.run(web, "instant", "URL", "vector(1)")

    def test_range(self, stack: Stack, web: WebServer) -> None:
        start, end = (f"--{name}={stack.now_ms / 1000 - ago:.3f}" for name, ago in (("start", 300), ("end", 0)))
        printed = json.loads(self.run(web, "range", start, end, "--step=1m", "URL", f"sum({METRIC})"))
        assert [value for _, value in printed[0]["values"]] == [SUM_OF_LIT] * 6

    def test_series(self, web: WebServer) -> None:
        printed = self.run(web, "series", f"--match={METRIC}", "--match=depth", "URL")
        assert printed.count('__name__="jobs_done_total"') + printed.count("jobs_done_total{") == len(LIT)
        assert "depth" in printed

    def test_labels(self, web: WebServer) -> None:
        assert self.run(web, "labels", "URL", "cluster").split() == LIT

    def test_strict_is_an_error_that_names_the_cluster(self, web: WebServer) -> None:
        assert DARK in self.run(web, "instant", "URL", METRIC, prefix="/strict/prometheus", code=1)

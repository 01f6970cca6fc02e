"""Engines side by side, as a client meets them: a real Prometheus 2 that is trusted, the same switched off, our own.

All hold samples at the same moments, and queries are asked at one of them, so that windows that have their older end
have a sample more. The same Prometheus says how many points a range may have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from federation_core.connectors.files import load
from tests.support.prometheus_server import prometheus_serving
from tests.support.stack import METRIC, Stack
from tests.support.web_server import WebServer
from webapp.cli import appsentry
from workers.dispatch import Dispatch

pytestmark = pytest.mark.heavy
TRUSTED, SWITCHED_OFF = "prod", "test"
OURS = ["app-prod", "dev", "shared-services", "stage"]
COUNTED = f"count_over_time({METRIC}[1m])"


@dataclass
class Sides:
    """The federation's web role, the Prometheus behind two of its clusters, and the moment of the newest samples."""

    web: WebServer
    prometheus: str
    now_s: float

    def ask(self, query: str, **fields: Any) -> Any:
        """Return the notes of a query's plan."""
        body = {"signal": "metrics", "query": query, "time": self.now_s, **fields}
        answer = self.web.post("/api/v1/queries:explain", body)
        assert answer.status_code == 200, answer.text
        return answer.json["notes"]

    def both(self, query: str, **fields: Any) -> tuple[tuple[int, Any], tuple[int, Any]]:
        """Return status and answer of a range query: the façade's, and what Prometheus itself says."""
        asked = "/api/v1/query_range?" + urlencode({"query": query, **fields})
        ours = self.web.get("/prometheus" + asked)
        try:
            with urlopen(self.prometheus + asked) as response:
                theirs = response.status, json.loads(response.read())
        except HTTPError as error:
            with error:
                theirs = error.code, json.loads(error.read())
        return (ours.status_code, ours.json), theirs


@pytest.fixture(scope="module")
def sides(prometheus_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    with Stack(tmp_path_factory.mktemp("stack"), worker_module="workers") as stack:
        held = stack.folder / "held.om"
        times = range(stack.now_ms - 600_000, stack.now_ms + 1, 15_000)
        held.write_text("".join(f'{METRIC}{{pod="a"}} 7.0 {at / 1000:.3f}\n' for at in times) + "# EOF\n")
        with prometheus_serving(prometheus_binary, held, tmp_path_factory.mktemp("prometheus")) as address:
            _configure(stack.folder, address)
            stack.settings = load(stack.environ)
            stack.dispatch = Dispatch(stack.settings)
            stack.start_merge()
            stack.start_worker()
            # Nobody has asked anything yet: it is found out beside the queries.
            stack.until(lambda: len(stack.dispatch.served().engines) == 6)
            with WebServer(stack) as web:
                yield Sides(web, f"http://{address}", stack.now_ms / 1000)


def _configure(folder: Path, address: str) -> None:
    file = folder / "config" / "clusters.yaml"
    text = file.read_text()
    for name, pushdown in ((TRUSTED, "exact"), (SWITCHED_OFF, "off")):
        embedded = f"metrics: {{kind: embedded, path: {folder / 'stores' / name}}}"
        assert embedded in text
        text = text.replace(embedded, f"metrics: {{kind: prometheus, url: http://{address}, pushdown: {pushdown}}}")
    file.write_text(text)


def test_the_plan_says_who_evaluates_what_in_each_cluster(sides: Sides) -> None:
    notes = [note for note in sides.ask(f"sum({METRIC})") if note.startswith(("engine", "windows"))]
    assert notes == [
        f"engine of {', '.join(OURS)}: ours, on the samples of the store beside it",
        f"engine of {TRUSTED}: Prometheus 2.42, evaluates leaf a",
        f"engine of {SWITCHED_OFF}: Prometheus 2.42 (given no whole leaves: pushdown: off), is asked for plain"
        " selectors and raw samples, on which our engine evaluates leaf a",
    ]


def test_a_mix_is_named_where_the_answers_really_differ(sides: Sides) -> None:
    answer = sides.web.post("/api/v1/metrics/query", {"query": COUNTED, "time": sides.now_s}).json
    counted = {row["metric"]["cluster"]: row["value"][1] for row in answer["result"]}
    assert counted == {TRUSTED: "5"} | dict.fromkeys([*OURS, SWITCHED_OFF], "4")
    assert answer["warnings"] == []
    (note,) = [note for note in sides.ask(COUNTED) if note.startswith("windows")]
    assert f"is inside for Prometheus 2.42 ({TRUSTED}) and outside for our engine ({', '.join(OURS)}, test);" in note
    assert [note for note in sides.ask(COUNTED, clusters=[TRUSTED]) if note.startswith("windows")] == []


def test_the_command_line_shows_it(sides: Sides) -> None:
    told = CliRunner().invoke(appsentry, ["query", COUNTED, "--explain", "--server", sides.web.url])
    assert told.exit_code == 0, told.output
    words = " ".join(told.stdout.split())
    assert "engine of prod: Prometheus 2.42, evaluates leaf a" in words
    assert "windows differ: a sample that lies exactly at the older end" in words


class TestTheMostPoints:
    @pytest.mark.parametrize("cluster", [TRUSTED, SWITCHED_OFF])
    def test_a_range_has_as_many_as_in_prometheus(self, sides: Sides, cluster: str) -> None:
        query, start_s = f'{METRIC}{{cluster="{cluster}"}}', sides.now_s - 11_000
        fields = {"start": f"{start_s:.3f}", "end": f"{sides.now_s:.3f}", "step": 1}
        (ours, answer), _ = sides.both(query, **fields)
        _, (theirs, expected) = sides.both(METRIC, **fields)
        assert (ours, theirs) == (200, 200)
        assert [row["values"] for row in answer["data"]["result"]] == [
            row["values"] for row in expected["data"]["result"]
        ]
        (ours, answer), _ = sides.both("vector(1)", **fields)
        assert (ours, len(answer["data"]["result"][0]["values"])) == (200, 11_001)

    def test_one_more_is_refused_in_the_same_words(self, sides: Sides) -> None:
        fields = {"start": f"{sides.now_s - 11_001:.3f}", "end": f"{sides.now_s:.3f}", "step": 1}
        ours, theirs = sides.both(METRIC, **fields)
        assert ours == theirs
        assert ours[0] == 400

    @pytest.mark.parametrize("step", ["0.001", "0.007", "0.333", "1.5"])
    def test_steps_of_all_lengths_end_where_those_of_prometheus_end(self, sides: Sides, step: str) -> None:
        step_ms = round(float(step) * 1000)
        for beyond_ms, status in ((step_ms - 1, 200), (step_ms, 400)):
            start_ms = round(sides.now_s * 1000) - 11_000 * step_ms - beyond_ms
            fields = {"start": f"{start_ms / 1000:.3f}", "end": f"{sides.now_s:.3f}", "step": step}
            assert [said[0] for said in sides.both("vector(1)", **fields)] == [status, status]

    def test_a_subquery_over_clusters_has_as_many(self, sides: Sides) -> None:
        fits = f"count_over_time(sum({METRIC})[11001s:1s])"
        answer = sides.web.post("/api/v1/metrics/query", {"query": fits, "time": sides.now_s}).json
        assert answer["coverage"]["complete"], answer["warnings"]
        refused = sides.web.post("/api/v1/metrics/query", {"query": fits.replace("001s", "002s"), "time": sides.now_s})
        assert (refused.status_code, refused.json["asked"], refused.json["allowed"]) == (422, 11_002, 11_001)

"""The whole way: six real Prometheus servers, workers, Redis, the web role, and clients that only know Prometheus.

The clients are the lab's own comparison and Prometheus' promtool, as programs. Whatever they ask below the façades has
the answer of the one server that holds everything.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import orjson
import pytest

from federation_core.connectors.files import load
from federation_core.labels import Labels
from federation_core.query import TimeRange
from tests.conftest import require_program
from tests.lab.gen import T0
from tests.oracle.answers import difference, read
from tests.support.lab_members import lab_on, written
from tests.support.prometheus_server import PrometheusClient
from tests.support.stack import ENVIRONMENTS, PROJECT, Stack
from tests.support.web_server import WebServer
from workers.dispatch import Dispatch

pytestmark = pytest.mark.heavy
FACADES = ("/strict/prometheus", "/prometheus")
SPAN = {"start": str(T0), "end": str(T0 + 6 * 3600)}


@dataclass
class Lab:
    """The federation's web role, and the server that holds everything."""

    web: WebServer
    oracle: PrometheusClient

    def listed(self, path: str, *matches: str) -> tuple[Any, Any]:
        """Return what both list."""
        asked = f"/api/v1/{path}?" + urlencode([("match[]", match) for match in matches] + [*SPAN.items()])
        with urlopen(f"http://{self.oracle.address}{asked}") as response:
            theirs = orjson.loads(response.read())["data"]
        return self.web.get(FACADES[0] + asked).json["data"], theirs


@pytest.fixture(scope="module")
def lab(prometheus_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with ExitStack() as running:
        members = written(7, tmp_path_factory.getbasetemp()) / "plain"
        started = running.enter_context(lab_on(prometheus_binary, members))
        stack = running.enter_context(Stack(tmp_path_factory.mktemp("stack"), worker_module="workers"))
        _configure(stack.folder / "config", started.addresses)
        stack.settings = load(stack.environ)
        stack.dispatch = Dispatch(stack.settings)
        stack.start_merge()
        stack.start_worker(started.addresses)
        yield Lab(running.enter_context(WebServer(stack)), started.oracle)


def _configure(folder: Path, addresses: Mapping[str, str]) -> None:
    lines = ["clusters:"]
    for name, address in sorted(addresses.items()):
        lines += [f"  - name: {name}", f"    environment: {ENVIRONMENTS[name]}", "    retention: 36500d"]
        lines += ["    backends:", f"      metrics: {{kind: prometheus, url: http://{address}}}"]
    (folder / "clusters.yaml").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("facade", FACADES)
def test_the_labs_comparison_finds_no_difference(
    lab: Lab, facade: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    urls = [f"http://{lab.oracle.address}", lab.web.url + facade]
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab.compare", *urls, "--quiet", "--json", str(report)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(report.read_text())
    with capsys.disabled():
        print(f"\n{facade}: {done.stdout.strip()}")
    assert set(told["tally"]) <= {"same", "tie", "both-error"}, done.stdout
    assert (sum(told["tally"].values()), told["tally"]["both-error"]) == (75, 1)
    assert [row["query"] for row in told["rows"] if row["warnings"]] == []


def test_an_instant_keeps_its_milliseconds(lab: Lab) -> None:
    at_ms = T0 * 1000 + 4_000_125
    fields = urlencode({"query": "queue_depth", "time": f"{at_ms / 1000:.3f}"})
    mine = lab.web.get(f"{FACADES[0]}/api/v1/query?{fields}").json
    assert difference(read(mine), read(lab.oracle.ask("queue_depth", TimeRange(at_ms, at_ms)))) == ""


class TestPromtool:
    """What promtool prints for the façade is what it prints for the one server."""

    def both(self, lab: Lab, command: str, *flags: str, asked: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
        promtool, printed = require_program("promtool"), []
        for url in (lab.web.url + FACADES[1], f"http://{lab.oracle.address}"):
            argv = [promtool, "query", command, *flags, url, *asked]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            printed.append([f"exit {done.returncode}", *(done.stdout or done.stderr).splitlines()])
        return printed[0], printed[1]

    @pytest.mark.parametrize(
        ("query", "lines"),
        [
            ("count by (cluster) (up)", 6),
            ("scalar(sum(up))", 1),
            ("absent(up)", 0),
            ("sum by (service) (queue_depth) > 20", 5),
            ("label_replace(max(up), 'a', '\"\\n', '', '')", 1),
        ],
    )
    def test_query_instant(self, lab: Lab, query: str, lines: int) -> None:
        mine, theirs = self.both(lab, "instant", f"--time={T0 + 12000}", asked=(query,))
        # Prometheus gives the rows of an instant in no order.
        assert sorted(mine) == sorted(theirs)
        assert mine[0] == "exit 0"
        assert len([line for line in mine[1:] if line]) >= lines

    def test_query_instant_of_what_cannot_be_read_or_evaluated(self, lab: Lab) -> None:
        for query in ("sum(", "queue_depth + on (pod) cache_hit_ratio"):
            mine, theirs = self.both(lab, "instant", f"--time={T0 + 12000}", asked=(query,))
            assert mine[0] == theirs[0] == "exit 1"
            # The kind of error; the words are each engine's own.
            assert mine[1].split(":")[:2] == theirs[1].split(":")[:2]

    def test_query_range(self, lab: Lab) -> None:
        flags = (f"--start={T0 + 7200}", f"--end={T0 + 12600}", "--step=60s")
        mine, theirs = self.both(lab, "range", *flags, asked=("count by (cluster) (up)",))
        assert (mine, mine[0]) == (theirs, "exit 0")
        assert len(mine) > 500

    def test_query_series(self, lab: Lab) -> None:
        flags = ("--match=up", '--match=queue_depth{cluster="dev"}', *(f"--{name}={at}" for name, at in SPAN.items()))
        mine, theirs = self.both(lab, "series", *flags)
        assert (sorted(mine), mine[0]) == (sorted(theirs), "exit 0")
        assert len(mine) > 50

    def test_query_labels(self, lab: Lab) -> None:
        flags = tuple(f"--{name}={at}" for name, at in SPAN.items())
        mine, theirs = self.both(lab, "labels", *flags, asked=("cluster",))
        assert mine == theirs == ["exit 0", *sorted(ENVIRONMENTS)]


def test_what_there_is_is_listed_as_one_prometheus_does(lab: Lab) -> None:
    for path, *matches in (
        ("labels",),
        ("labels", "up"),
        ("label/cluster/values",),
        ("label/cluster/values", 'queue_depth{cluster=~"p.*|dev"}'),
        ("label/__name__/values",),
        ("label/service/values", 'up{cluster="prod"}', "queue_depth"),
        ("label/nothing/values",),
    ):
        mine, theirs = lab.listed(path, *matches)
        assert mine == theirs, (path, matches)
        assert mine or "nothing" in path
    mine, theirs = lab.listed("series", "up", 'queue_depth{cluster!="dev"}')
    assert [Labels.of(row) for row in mine] == sorted(Labels.of(row) for row in theirs)
    assert len(mine) > 10


@pytest.mark.parametrize("facade", FACADES)
def test_it_says_that_it_is_healthy_and_ready(lab: Lab, facade: str) -> None:
    for path in ("/-/healthy", "/-/ready"):
        assert lab.web.get(facade + path).status_code == 200

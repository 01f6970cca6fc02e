"""The whole way: six real Prometheus servers, workers, Redis, the web role, and a client that only knows Prometheus.

Every query of the lab, and every question about series, has below `/strict/prometheus` the answer of the one server
that holds everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
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
from tests.oracle import lab_data
from tests.oracle.answers import difference, read
from tests.oracle.test_against_prometheus import QUERIES, time_range_of
from tests.support.prometheus_server import PrometheusClient, prometheus_holding
from tests.support.stack import ENVIRONMENTS, Stack
from tests.support.web_server import WebServer
from workers.dispatch import Dispatch

pytestmark = pytest.mark.heavy
FACADE = "/strict/prometheus"
SPAN = {"start": str(lab_data.T0_S), "end": str(lab_data.T0_S + 7200)}


@dataclass
class Lab:
    """The federation's façade, and the server that holds everything."""

    web: WebServer
    oracle: PrometheusClient

    def ask(self, query: str, asked: TimeRange) -> dict[str, Any]:
        fields = {"query": query}
        if asked.step_ms:
            moments = {"start": asked.start_ms, "end": asked.end_ms, "step": asked.step_ms}
            path, fields = "query_range", fields | {name: f"{ms / 1000:.3f}" for name, ms in moments.items()}
        else:
            path, fields["time"] = "query", f"{asked.end_ms / 1000:.3f}"
        return dict(self.web.get(f"{FACADE}/api/v1/{path}?{urlencode(fields)}").json)

    def listed(self, path: str, *matches: str) -> tuple[Any, Any]:
        """Return what both list."""
        asked = f"/api/v1/{path}?" + urlencode([("match[]", match) for match in matches] + [*SPAN.items()])
        with urlopen(f"http://{self.oracle.address}{asked}") as response:
            theirs = orjson.loads(response.read())["data"]
        return self.web.get(FACADE + asked).json["data"], theirs


@pytest.fixture(scope="module")
def lab(prometheus_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder, stores = tmp_path_factory.mktemp("lab"), lab_data.clusters()
    with ExitStack() as running:

        def serve(name: str, held: Any) -> str:
            (folder / name).mkdir()
            return running.enter_context(prometheus_holding(prometheus_binary, held, folder / name))

        oracle = running.enter_context(closing(PrometheusClient(serve("oracle", stores))))
        addresses = {name: serve(name, {"": kept}) for name, kept in stores.items()}
        stack = running.enter_context(Stack(folder / "stack"))
        _configure(stack.folder / "config", addresses)
        stack.settings = load(stack.environ)
        stack.dispatch = Dispatch(stack.settings)
        stack.start_merge()
        stack.start_worker(addresses)
        yield Lab(running.enter_context(WebServer(stack)), oracle)


def _configure(folder: Path, addresses: dict[str, str]) -> None:
    lines = ["clusters:"]
    for name, address in sorted(addresses.items()):
        lines += [f"  - name: {name}", f"    environment: {ENVIRONMENTS[name]}", "    retention: 36500d"]
        lines += ["    backends:", f"      metrics: {{kind: prometheus, url: http://{address}}}"]
    (folder / "clusters.yaml").write_text("\n".join(lines) + "\n")


def test_every_query_of_the_lab_is_answered_as_one_prometheus_does(lab: Lab) -> None:
    different = []
    for when, query in QUERIES:
        asked = time_range_of(when)
        mine, theirs = lab.ask(query, asked), lab.oracle.ask(query, asked)
        ordered = not asked.step_ms and query.startswith("sort")
        found = difference(read(mine), read(theirs), ordered=ordered)
        different += [f"{when} {query}: {found}"] if found else []
    assert different == []


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

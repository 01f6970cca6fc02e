"""Six clusters through the federation against one real Prometheus that holds all of their samples.

Prometheus 2 is enough of an oracle: the data keeps its samples off the steps, where 2 and 3 differ in the edges of
windows. Numbers agree to 1e-9, label sets and presence exactly, errors are errors on both sides.
"""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from federation_core.errors import QueryExecutionError
from federation_core.query import TimeRange
from federation_core.signals.metrics.prometheus_json import to_json
from tests.oracle import lab_data
from tests.support.sample_store import Series, federate

pytestmark = pytest.mark.heavy
QUERIES = [
    tuple(line.split("\t", 1))
    for line in (Path(__file__).parent / "queries.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


@pytest.fixture(scope="module")
def stores() -> dict[str, list[Series]]:
    return lab_data.clusters()


@pytest.fixture(scope="module")
def prometheus(
    prometheus_binary: str, stores: Mapping[str, Sequence[Series]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Start Prometheus on blocks of all clusters' samples; yields its address."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed beside prometheus")
    folder = tmp_path_factory.mktemp("oracle")
    lab_data.write_openmetrics(stores, folder / "all.om")
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", "-q", folder / "all.om", folder / "tsdb"],
        check=True,
        capture_output=True,
    )
    (folder / "all.om").unlink()
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    address = f"127.0.0.1:{_free_port()}"
    server = subprocess.Popen(
        [
            prometheus_binary,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address={address}",
            "--log.level=error",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(f"http://{address}/-/ready")
        yield f"http://{address}"
    finally:
        server.terminate()
        server.wait(20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(url: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail("Prometheus did not become ready")


def time_range_of(when: str) -> TimeRange:
    start_ms = lab_data.T0_S * 1000
    if when.startswith("i@"):
        at_ms = start_ms + round(float(when[2:]) * 1000)
        return TimeRange(at_ms, at_ms)
    span, step = when[2:].split("/")
    first, last = span.split("-")
    return TimeRange(start_ms + int(first) * 1000, start_ms + int(last) * 1000, int(step) * 1000)


def ask(address: str, query: str, asked: TimeRange) -> dict[str, Any]:
    """Return Prometheus' `data`, or its error."""
    if asked.step_ms:
        path = "query_range"
        times = {"start": asked.start_ms / 1000, "end": asked.end_ms / 1000, "step": asked.step_ms / 1000}
    else:
        path, times = "query", {"time": asked.end_ms / 1000}
    url = f"{address}/api/v1/{path}?{urllib.parse.urlencode({'query': query, **times})}"
    try:
        with urllib.request.urlopen(url, timeout=60) as reply:
            return dict(json.load(reply)["data"])
    except urllib.error.HTTPError as exc:
        return dict(json.load(exc))


def flat(data: Mapping[str, Any]) -> dict[tuple[tuple[str, str], ...], dict[float, float]]:
    if data["resultType"] == "scalar":
        return {(): {float(data["result"][0]): float(data["result"][1])}}
    return {
        tuple(sorted(series["metric"].items())): {
            float(t): float(v) for t, v in (series["values"] if "values" in series else [series["value"]])
        }
        for series in data["result"]
    }


@pytest.mark.parametrize(("when", "query"), QUERIES, ids=[f"{when} {query}"[:90] for when, query in QUERIES])
def test_six_clusters_answer_as_one_prometheus(
    when: str, query: str, prometheus: str, stores: Mapping[str, Sequence[Series]]
) -> None:
    asked = time_range_of(when)
    want = ask(prometheus, query, asked)
    if want.get("status") == "error":
        assert want["errorType"] == "execution"
        with pytest.raises(QueryExecutionError):
            federate(query, stores, asked)
        return
    payload, _ = federate(query, stores, asked)
    got = to_json(payload)
    assert got["resultType"] == want["resultType"]
    left, right = flat(got), flat(want)
    assert left.keys() == right.keys()
    for labels, row in right.items():
        assert left[labels].keys() == row.keys(), labels
        for at, value in row.items():
            mine = left[labels][at]
            same = (math.isnan(mine) and math.isnan(value)) or math.isclose(mine, value, rel_tol=1e-9, abs_tol=1e-12)
            assert same, f"{labels} at {at}: {mine} is not {value}"

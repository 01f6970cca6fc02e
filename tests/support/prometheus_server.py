"""A real Prometheus over given samples, and a client that keeps its connection.

Rule: the samples are imported as blocks before the start, so what it holds is exactly what was given; nothing is
scraped. It listens on the loopback interface alone and ends with the context.
"""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from federation_core.query import TimeRange
from tests.oracle import lab_data
from tests.support.sample_store import Series

_NO_HEADERS: Mapping[str, str] = {}


def _plainly(address: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(address, timeout=5)


@contextmanager
def prometheus_holding(binary: str, stores: Mapping[str, Sequence[Series]], folder: Path, *flags: str) -> Iterator[str]:
    """Start Prometheus on blocks of all clusters' samples; gives its host and port."""
    text = folder / "all.om"
    lab_data.write_openmetrics(stores, text)
    with prometheus_serving(binary, text, folder, *flags) as address:
        yield address


@contextmanager
def prometheus_serving(binary: str, text: Path, folder: Path, *flags: str) -> Iterator[str]:
    """Start Prometheus on blocks of the samples in an OpenMetrics file; gives its host and port."""
    write_blocks(text, folder)
    with prometheus_on(binary, folder, *flags) as address:
        yield address


def write_blocks(text: Path, folder: Path) -> None:
    """Add the samples in an OpenMetrics file to what a Prometheus in this folder will hold."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed beside prometheus")
    # For every block the whole text is read again, so there is one and not one for every two hours.
    how = ["--quiet", "--max-block-duration=24h"]
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", *how, text, folder / "tsdb"],
        check=True,
        capture_output=True,
    )


@contextmanager
def prometheus_on(
    binary: str,
    folder: Path,
    *flags: str,
    connect: Callable[[str], http.client.HTTPConnection] = _plainly,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> Iterator[str]:
    """Start Prometheus on the blocks in a folder, and its `prometheus.yml` if there is one; gives its host and port.

    `connect` and `headers` are how it is asked whether it is ready, where its flags want more than plain HTTP.
    """
    config = folder / "prometheus.yml"
    if not config.exists():
        config.write_text("global: {scrape_interval: 1h}\n")
    address = f"127.0.0.1:{_free_port()}"
    server = subprocess.Popen(
        [
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address={address}",
            "--log.level=error",
            *flags,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(address, server, connect, headers)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(
    address: str,
    server: subprocess.Popen[bytes],
    connect: Callable[[str], http.client.HTTPConnection] = _plainly,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> None:
    for _ in range(600):
        connection = connect(address)
        try:
            connection.request("GET", "/-/ready", headers=dict(headers))
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        if server.poll() is not None:
            break
        time.sleep(0.05)
    pytest.fail("Prometheus did not become ready")


@dataclass
class PrometheusClient:
    """Asks one server over one connection."""

    address: str
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection(self.address, timeout=60)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def ask(self, query: str, asked: TimeRange) -> dict[str, Any]:
        """Return the whole answer: `status` and `data`, or `status`, `errorType` and `error`."""
        if asked.step_ms:
            path = "query_range"
            times = {"start": asked.start_ms / 1000, "end": asked.end_ms / 1000, "step": asked.step_ms / 1000}
        else:
            path, times = "query", {"time": asked.end_ms / 1000}
        body = urllib.parse.urlencode({"query": query, **times})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self.connection.request("POST", f"/api/v1/{path}", body, headers)
        return dict(orjson.loads(self.connection.getresponse().read()))

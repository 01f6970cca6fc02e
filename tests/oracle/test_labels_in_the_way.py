"""A backend's own label `cluster` is moved aside as Prometheus does with a label of a target that is in the way.

The oracle is a real Prometheus that scrapes a target in `prod`. A label of equal value is no conflict to us.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from federation_core.labels import NAME, Labels
from federation_core.query import TimeRange
from federation_core.signals.metrics.cluster_label import attach
from tests.lab import gen
from tests.support.prometheus_server import PrometheusClient, prometheus_on

pytestmark = pytest.mark.heavy


def test_a_label_that_is_in_the_way_is_moved_aside_as_prometheus_does_when_it_scrapes(
    prometheus_binary: str, tmp_path: Path
) -> None:
    held = [
        Labels.of({"case": str(case), **labels})
        for case, labels in enumerate(
            (
                {},
                {"cluster": "eu"},
                {"exported_cluster": "us"},
                {"cluster": "eu", "exported_cluster": "us"},
                {"cluster": "eu", "exported_exported_cluster": "us"},
                {"cluster": "a", "exported_cluster": "b", "exported_exported_cluster": "c"},
            )
        )
    ]
    with scraped(held) as target:
        static = f"[{{targets: ['{target}'], labels: {{cluster: prod}}}}]"
        job = f"{{job_name: j, scrape_interval: 100ms, static_configs: {static}}}"
        (tmp_path / "prometheus.yml").write_text(f"scrape_configs: [{job}]\n")
        with prometheus_on(prometheus_binary, tmp_path) as address, closing(PrometheusClient(address)) as client:
            found: list[Any] = []
            for _ in range(200):
                now_ms = time.time_ns() // 1_000_000
                found = client.ask("x", TimeRange(now_ms, now_ms))["data"]["result"]
                if found:
                    break
                time.sleep(0.05)
    shown = {Labels.of(row["metric"]).without((NAME, "instance", "job")) for row in found}
    assert shown == set(attach(held, "prod"))


@contextmanager
def scraped(held: Iterable[Labels]) -> Iterator[str]:
    """Serve a sample of `x` with each of these labels, as a target of Prometheus does; gives its host and port."""
    page = "".join(f"x{gen.labels(dict(labels))} 1\n" for labels in held).encode()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()

"""The lab over wide-area links: a Prometheus beside each cluster's worker, and one that holds everything, as far away.

Six worker processes, each with its cluster's Prometheus next to it, are `delay_ms` each way away from Redis and the
web role. The oracle, one Prometheus with all series, is behind a link with the same delay.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from federation_core.connectors.files import load
from federation_core.query import TimeRange
from tests.support.prometheus_server import prometheus_serving
from tests.support.stack import CLUSTERS, ENVIRONMENTS, PROJECT
from tests.support.timed_client import TimedClient
from tests.support.wan import Wan
from tests.support.web_server import WebServer
from tests.support.wide_area_stack import WideAreaStack
from workers.dispatch import Dispatch

FACADE = "/prometheus"
_T0_S = 1_790_006_400


def lab_folder() -> Path | None:
    """Return where the lab's generator and queries lie: in this tree, or else in the test data."""
    given = os.environ.get("APPSENTRY_TEST_DATA")
    folders = [PROJECT / "tests" / "lab", *([Path(given) / "lab" / "metrics"] if given else [])]
    return next((folder for folder in folders if (folder / "gen.py").exists()), None)


def lab_queries(folder: Path) -> Iterator[tuple[str, TimeRange]]:
    """Give the lab's queries, and when each is asked."""
    for line in (folder / "queries.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            when, query = line.split("\t", 1)
            yield query, time_range_of(when)


def time_range_of(when: str) -> TimeRange:
    """Read `i@S` or `r@A-B/STEP`, in seconds since the lab's beginning."""
    kind, _, times = when.partition("@")
    if kind == "i":
        at_ms = (_T0_S + int(times)) * 1000
        return TimeRange(at_ms, at_ms)
    span, step = times.split("/")
    first, last = map(int, span.split("-"))
    return TimeRange((_T0_S + first) * 1000, (_T0_S + last) * 1000, int(step) * 1000)


@dataclass
class WideAreaLab:
    """What runs: the stack and its web role, the oracle's link, and a client of each; `backends` are host:port."""

    stack: WideAreaStack
    oracle_link: Wan
    backends: dict[str, str]
    ours: TimedClient
    theirs: TimedClient

    def set_delay(self, one_way_ms: float) -> None:
        """Change the delay of all links, the oracle's among them."""
        for wan in (self.stack.wan, self.oracle_link):
            wan.set_delay(one_way_ms)


@contextmanager
def wide_area_lab(prometheus: str, folder: Path, source: Path, delay_ms: float, seed: int = 7) -> Iterator[WideAreaLab]:
    """Start everything on the data of a seed, made by the generator in `source`; all of it ends with the block."""
    samples = folder / "samples"
    command = [sys.executable, str(source / "gen.py"), str(samples), "--seed", str(seed)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with ExitStack() as running:

        def serve(name: str) -> str:
            (folder / name).mkdir()
            text = samples / f"{name}.om"
            address = running.enter_context(prometheus_serving(prometheus, text, folder / name))
            text.unlink()
            return address

        oracle = serve("oracle")
        backends = {name: serve(name) for name in CLUSTERS}
        link = running.enter_context(Wan(int(oracle.rpartition(":")[2]), delay_ms))
        stack = running.enter_context(WideAreaStack(folder / "stack", worker_module="workers", delay_ms=delay_ms))
        _configure(stack, backends)
        stack.start_merge(with_beat=True)
        stack.start_workers()
        web = running.enter_context(WebServer(stack))
        ours = running.enter_context(TimedClient(web.url.removeprefix("http://"), FACADE))
        theirs = running.enter_context(TimedClient(f"127.0.0.1:{link.open('oracle')}"))
        yield WideAreaLab(stack, link, backends, ours, theirs)


def _configure(stack: WideAreaStack, backends: dict[str, str]) -> None:
    lines = ["clusters:"]
    for name, address in sorted(backends.items()):
        lines += [f"  - name: {name}", f"    environment: {ENVIRONMENTS[name]}", "    retention: 36500d"]
        lines += ["    backends:", f"      metrics: {{kind: prometheus, url: http://{address}}}"]
    (stack.folder / "config" / "clusters.yaml").write_text("\n".join(lines) + "\n")
    stack.settings = load(stack.environ)
    stack.dispatch = Dispatch(stack.settings)

"""Six real Prometheus servers and their workers, one of them behind a link that can fail; two servers to compare with.

The worker of `stage` is a process of its own, so that it can be killed; its server is behind a `Wan` without delay.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from federation_core.connectors.files import load
from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.redis import connect
from federation_core.query import TimeRange
from tests.integration.dark_links.constructs import ALL, Construct
from tests.integration.dark_links.planted import DARK, LIMITED, LIT, MOST_SAMPLES, stores
from tests.oracle.answers import Outcome, read
from tests.support.prometheus_server import PrometheusClient, prometheus_holding
from tests.support.sample_store import Series
from tests.support.stack import ENVIRONMENTS, Stack, kill
from tests.support.wan import Wan
from tests.support.web_server import Answer, WebServer
from workers.dispatch import Dispatch

PLAIN, STRICT = "/prometheus", "/strict/prometheus"
#: What a dark link may be: its server takes requests and says nothing; it closes every connection; nobody asks it.
HANGS, CLOSES, GONE = "hangs", "closes", "gone"
#: What a query may take where a link hangs, and where none does.
SHORT, UNHURRIED = "3s", "20s"
#: How many queries wait at once; a cluster is asked 16 of them at once, the others wait for their turn.
_AT_ONCE = 30


@dataclass
class Federation:
    """The stack, the link of the dark cluster, and what one server says with and without that cluster."""

    stack: Stack
    web: WebServer
    link: Wan
    over_all: Mapping[Construct, Outcome]
    over_the_rest: Mapping[Construct, Outcome]
    #: What the rest would answer if the dark cluster were empty.
    taken_for_empty: Mapping[Construct, Outcome]
    worker: subprocess.Popen[bytes] | None = None

    def darken(self, how: str = "") -> None:
        """Make the cluster dark in one of the three ways, or, by default, light again."""
        self.link.set_mode({HANGS: "hang", CLOSES: "close"}.get(how, "ok"))
        if how == GONE and self.worker is not None:
            kill(self.worker)
            self.worker = None
            self.stack.until(lambda: DARK not in self.stack.dispatch.served())
        if how != GONE and self.worker is None:
            self.worker = self.stack.start_worker({DARK})
        if not how:
            # A link that was dark for long is tried again at most half a minute later, for which no test waits.
            connect(self.stack.url).delete(keys.breaker(DARK))
            self.stack.until(lambda: not self.stack.dispatch.served().breakers)

    def ask(self, query: str, asked: TimeRange, timeout: str = UNHURRIED, prefix: str = PLAIN) -> Answer:
        """Ask one query through a façade."""
        fields = {"query": query, "timeout": timeout}
        if asked.step_ms:
            moments = {"start": asked.start_ms, "end": asked.end_ms, "step": asked.step_ms}
            path, fields = "query_range", fields | {name: f"{ms / 1000:.3f}" for name, ms in moments.items()}
        else:
            path, fields["time"] = "query", f"{asked.end_ms / 1000:.3f}"
        return self.web.get(f"{prefix}/api/v1/{path}?{urlencode(fields)}")

    def ask_all(self, constructs: Sequence[Construct], timeout: str, prefix: str = PLAIN) -> dict[Construct, Answer]:
        """Ask many queries at once: a link that hangs costs each of them its time."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            answers = threads.map(lambda c: self.ask(c.query, c.asked, timeout, prefix), constructs)
            return dict(zip(constructs, answers, strict=True))


@pytest.fixture(scope="package")
def federation(prometheus_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    folder, held = tmp_path_factory.mktemp("dark"), stores()
    with ExitStack() as running:

        def serve(name: str, kept: Mapping[str, Sequence[Series]]) -> str:
            (folder / name).mkdir()
            flags = [f"--query.max-samples={MOST_SAMPLES}"] if name == LIMITED else []
            return running.enter_context(prometheus_holding(prometheus_binary, kept, folder / name, *flags))

        def client(name: str, clusters: Sequence[str]) -> PrometheusClient:
            address = serve(name, {cluster: held[cluster] for cluster in clusters})
            return running.enter_context(closing(PrometheusClient(address)))

        addresses = {name: serve(name, {"": kept}) for name, kept in held.items()}
        whole, rest = client("whole", sorted(held)), client("rest", LIT)
        over_all = {c: read(whole.ask(c.over_all, c.asked)) for c in ALL}
        over_the_rest = {c: read(rest.ask(c.over_the_rest, c.asked)) for c in ALL}
        taken_for_empty = {c: read(rest.ask(c.over_all, c.asked)) for c in ALL}
        link = running.enter_context(Wan(int(addresses[DARK].rpartition(":")[2]), 0))
        addresses[DARK] = f"127.0.0.1:{link.open(DARK)}"
        stack = running.enter_context(Stack(folder / "stack", worker_module="workers"))
        _configure(stack.folder / "config", addresses)
        stack.settings = load(stack.environ)
        stack.dispatch = Dispatch(stack.settings)
        stack.start_merge()
        stack.start_worker(LIT)
        web = running.enter_context(WebServer(stack))
        made = Federation(stack, web, link, over_all, over_the_rest, taken_for_empty)
        made.darken()
        yield made


def _configure(folder: Path, addresses: Mapping[str, str]) -> None:
    lines = ["clusters:"]
    for name, address in sorted(addresses.items()):
        lines += [f"  - name: {name}", f"    environment: {ENVIRONMENTS[name]}", "    retention: 36500d"]
        lines += ["    backends:", f"      metrics: {{kind: prometheus, url: http://{address}}}"]
    (folder / "clusters.yaml").write_text("\n".join(lines) + "\n")

"""What a connector costs beyond its answers: `fetch` against `requests` and `orjson.loads` of the same bytes.

A server in a process of its own answers about a megabyte, over one kept connection. Each round reads with `requests`
what the connector asks for, one after the other, and loads it, and then with the connector, in alternating order; the
ratio is the median of the rounds' own. The connector does more: it checks what it reads, and makes columns or spans.

What was found when entries were an object a line: of the 29 ms that 4,000 lines took (requests and loads 5 ms) 3 were
JSON, 1 the socket, and all else objects and checks a line. As columns a page takes 3 ms, two of them the metadata of
lines, which are a dictionary each; some of that is what reading in chunks of 256 KB saves over `requests`, 1 ms. Of a
range query's 12 ms (plainly 7) two went into searches for rare spellings and one into a regular expression. Spans
remain objects, of 16 fields and their attributes: a search matches, stitches and draws them one by one.
"""

from __future__ import annotations

import gc
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from operator import truediv
from typing import Any

import orjson
import requests

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, connect
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.tenancy import Limits, Scope
from tests.bench._backend_answers import (
    Answers,
    jaeger_search,
    loki_apart,
    loki_flat,
    prometheus,
    tempo_search,
    tempo_trace,
)

FAR = Deadline(2**62)
SCOPE = Scope("t", {"prod": ()}, limits=Limits())

KINDS: dict[str, tuple[str, str, Callable[[], tuple[Answers, Leaf]]]] = {
    "prometheus": ("metrics", "prometheus", prometheus),
    "loki_apart": ("logs", "loki", loki_apart),
    "loki_flat": ("logs", "loki", loki_flat),
    "tempo_trace": ("traces", "tempo", tempo_trace),
    "tempo_search": ("traces", "tempo", tempo_search),
    "jaeger_search": ("traces", "jaeger", jaeger_search),
}
BUDGETS = {f"{kind}_ratio": 1.2 for kind in KINDS}


def serve(answers: Answers, told: Connection) -> None:
    """Answer every request with the body of the first key that its path ends with; tell the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            body = next(body for end, body in answers.items() if path.endswith(end))
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.send(server.server_port)
    server.serve_forever()


@contextmanager
def serving(answers: Answers) -> Iterator[str]:
    """Serve from a process of its own inside the block; the URL is told."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(answers, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def opened(kind: str, signal: Any, url: str) -> Connector:
    """A connector as the configuration would open it."""
    backend = Backend(signal, kind, url=url, origin="clusters.yaml:1")
    return connect(Cluster("prod", "e", (backend,)), backend)


def measure(rounds: int = 60, warm_up: int = 5) -> dict[str, float]:
    """Return per kind the medians in ms of reading plainly and of the connector, and their ratio."""
    figures: dict[str, float] = {"rounds": rounds}
    for name, (signal, kind, made) in KINDS.items():
        answers, leaf = made()
        with serving(answers) as url, requests.Session() as session:
            session.trust_env = False
            connector = opened(kind, signal, url)

            urls = [f"{url}/{end.lstrip('/')}" for end in answers]

            def plain(session: requests.Session = session, urls: list[str] = urls) -> Any:
                return [orjson.loads(session.get(one).content) for one in urls]

            def fetch(connector: Connector = connector, leaf: Leaf = leaf) -> Any:
                return connector.fetch(leaf, SCOPE, FAR)

            took: dict[str, list[float]] = {"plain": [], "fetch": []}
            for number in range(warm_up + rounds):
                pair = [("plain", plain), ("fetch", fetch)]
                for which, act in pair if number % 2 else pair[::-1]:
                    gc.collect()
                    started = time.perf_counter()
                    act()
                    if number >= warm_up:
                        took[which].append((time.perf_counter() - started) * 1000)
        ratios = map(truediv, took["fetch"], took["plain"])
        medians = {which: statistics.median(ms) for which, ms in took.items()}
        figures[f"{name}_megabytes"] = round(sum(map(len, answers.values())) / 1e6, 2)
        figures |= {f"{name}_{which}_ms": round(ms, 2) for which, ms in medians.items()}
        figures[f"{name}_ratio"] = round(statistics.median(ratios), 2)
    return figures

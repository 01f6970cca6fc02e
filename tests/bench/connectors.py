"""What a connector costs beyond the answer itself: `fetch` against `requests` and `orjson.loads` of the same bytes.

A server in a process of its own gives one body of a megabyte to whatever it is asked. Each round reads it once with
`requests` over a kept connection and loads it, and once with the connector, in alternating order; the ratio is that of
the medians. The connector does more than loading: it checks what it reads and turns it into columns.
"""

from __future__ import annotations

import gc
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any

import orjson
import requests

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, connect
from federation_core.plan import Leaf
from federation_core.query import Deadline, TimeRange
from federation_core.tenancy import Limits, Scope

START_S = 1_795_470_000
STEP_S, STEPS = 15, 240
HOUR = TimeRange(START_S * 1000, (START_S + STEP_S * STEPS) * 1000)
FAR = Deadline(2**62)
SCOPE = Scope("t", {"prod": ()}, limits=Limits())
Answers = Mapping[str, bytes]


def prometheus() -> tuple[Answers, Leaf]:
    """A range query: 150 series of an hour."""
    rows = [
        {
            "metric": {"namespace": "shop", "pod": f"orders-{row}", "service": "orders"},
            "values": [[START_S + STEP_S * step, f"{(row * 7919 + step * 104_729) % 99_991 / 977:.15g}"]
                       for step in range(STEPS)],
        }
        for row in range(125)
    ]  # fmt: skip
    data = {"resultType": "matrix", "result": rows}
    when = TimeRange(HOUR.start_ms, HOUR.end_ms - STEP_S * 1000, STEP_S * 1000)
    return {"": success(data)}, Leaf("l", "sum by (namespace, pod, service) (rate(requests_total[5m]))", when)


def loki_apart() -> tuple[Answers, Leaf]:
    """4,000 lines of 40 streams whose metadata stand apart, as Loki 3 answers; four lines share a trace."""
    rows: list[dict[str, Any]] = [{"stream": stream_labels(pod), "values": []} for pod in range(40)]
    for number in range(4_000):
        apart = {"detected_level": "info", "trace_id": f"{number // 4:032x}"}
        rows[number % 40]["values"].append([instant(number), line(number), {"structuredMetadata": apart}])
    data = {"resultType": "streams", "encodingFlags": ["categorize-labels"], "result": rows}
    return {"": success(data)}, logs_leaf()


def loki_flat() -> tuple[Answers, Leaf]:
    """4,800 lines of 120 streams as Loki 2 answers, whose labels' names are asked for as well."""
    rows: list[dict[str, Any]] = [
        {"stream": {**stream_labels(pod), "detected_level": level}, "values": []}
        for pod in range(40)
        for level in ("error", "info", "warn")
    ]
    for number in range(4_800):
        rows[number % 120]["values"].append([instant(number), line(number)])
    names = success(sorted(stream_labels(0)))
    return {"/labels": names, "": success({"resultType": "streams", "result": rows})}, logs_leaf()


KINDS: dict[str, tuple[str, str, Callable[[], tuple[Answers, Leaf]]]] = {
    "prometheus": ("metrics", "prometheus", prometheus),
    "loki_apart": ("logs", "loki", loki_apart),
    "loki_flat": ("logs", "loki", loki_flat),
}
BUDGETS = {f"{kind}_ratio": 1.2 for kind in KINDS}


def stream_labels(pod: int) -> dict[str, str]:
    """The labels of a pod's stream."""
    return {"namespace": "shop", "pod": f"orders-{pod}", "service": "orders", "service_name": "orders"}


def instant(number: int) -> str:
    """The time of a line, newest first, in nanoseconds."""
    return str(HOUR.end_ms * 1_000_000 - 1 - number * 700_000_003)


def line(number: int) -> str:
    """A line of a web server."""
    return (
        f'{{"level":"info","msg":"request served","method":"GET","path":"/api/orders/{number}","status":200,'
        f'"took_ms":{number % 97},"user":"customer-{number % 511}","region":"eu-central-1"}}'
    )


def logs_leaf() -> Leaf:
    """As many lines as are there fit."""
    return Leaf("l", '{namespace="shop"}', HOUR, 4_999)


def success(data: Any) -> bytes:
    """An envelope that Prometheus and Loki share."""
    return orjson.dumps({"status": "success", "data": data})


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

            def plain(url: str = url, session: requests.Session = session) -> Any:
                return orjson.loads(session.get(url).content)

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
        medians = {which: statistics.median(ms) for which, ms in took.items()}
        figures[f"{name}_megabytes"] = round(len(answers[""]) / 1e6, 2)
        figures |= {f"{name}_{which}_ms": round(ms, 2) for which, ms in medians.items()}
        figures[f"{name}_ratio"] = round(medians["fetch"] / medians["plain"], 2)
    return figures

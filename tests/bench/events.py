"""What 200 listeners to server-sent events cost the API, in one run with and without them.

The listeners wait for ten queries that one cluster holds up; every second each of them gets an event. Meanwhile four
clients ask the other clusters and look at a job, as fast as they are answered. Phases with and without listeners take
turns, so that whatever else the machine does falls on both; `cost_percent` is the throughput lost, from the medians.
`listeners_cpu_percent` is what the web role uses of one core for the listeners alone, which no neighbour disturbs.
"""

from __future__ import annotations

import selectors
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from tests.support.stack import CLUSTERS, METRIC, Stack
from tests.support.web_server import WebServer
from webapp import MAX_LISTENERS

BUDGETS = {"cost_percent": 20}
_HELD = "dev"
_JOBS = 10
_CLIENTS = 4
_JSON = {"Content-Type": "application/json"}


def measure(pairs: int = 5, phase_s: float = 3.0) -> dict[str, float]:
    """Return requests per second without and with listeners, what these cost, and the web role's memory."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as exits:
        stack = exits.enter_context(Stack(Path(folder)))
        stack.start_merge()
        stack.start_worker()
        web = exits.enter_context(WebServer(stack))
        _throughput(web, 1.0)
        idle_mb = _memory_mb(web)
        stack.break_clusters({_HELD: {"hold": True}})
        held = [_held_job(web, number) for number in range(_JOBS)]
        rates: dict[bool, list[float]] = {False: [], True: []}
        events = 0
        listening_mb = 0.0
        for number in range(2 * pairs):
            listening = number % 4 in (1, 2)
            with _listeners(web, held if listening else []) as heard:
                rates[listening].append(_throughput(web, phase_s))
                if listening:
                    listening_mb = max(listening_mb, _memory_mb(web))
            events += heard[0]
        with _listeners(web, held):
            cpu_percent = _cpu_percent(web, phase_s)
        stack.break_clusters({})
    quiet, loud = (statistics.median(rates[listening]) for listening in (False, True))
    return {
        "listeners": MAX_LISTENERS,
        "quiet_requests_per_s": round(quiet, 1),
        "listened_requests_per_s": round(loud, 1),
        "cost_percent": round(100 * (1 - loud / quiet), 1),
        "events_heard": events,
        "listeners_cpu_percent": round(cpu_percent, 1),
        "idle_web_mb": round(idle_mb, 1),
        "listened_web_mb": round(listening_mb, 1),
    }


def _held_job(web: WebServer, number: int) -> str:
    body = {"signal": "metrics", "query": f"sum({METRIC}) + {number}", "clusters": [_HELD], "timeout": "10m"}
    answer = web.post("/api/v1/queries", body)
    assert answer.status_code == 202, answer.text
    return str(answer.headers["Location"])


@contextmanager
def _listeners(web: WebServer, jobs: list[str]) -> Iterator[list[int]]:
    """Listen to the jobs over 200 connections, read by one thread; yields the number of events heard, at the end."""
    heard, ending = [0], threading.Event()
    with selectors.DefaultSelector() as selector, ExitStack() as exits:
        for number in range(MAX_LISTENERS if jobs else 0):
            connection = exits.enter_context(_listener(web, jobs[number % len(jobs)]))
            selector.register(connection, selectors.EVENT_READ)

        def read() -> None:
            while not ending.is_set():
                for key, _ in selector.select(0.2):
                    assert isinstance(key.fileobj, socket.socket)
                    data = key.fileobj.recv(1 << 16)
                    assert data, "a stream ended before its job"
                    heard[0] += data.count(b"event: ")

        reader = threading.Thread(target=read)
        if jobs:
            reader.start()
            end = time.monotonic() + 30
            while heard[0] < MAX_LISTENERS:
                assert reader.is_alive(), "a stream cannot be read"
                assert time.monotonic() < end, f"{heard[0]} events"
                time.sleep(0.05)
        try:
            yield heard
        finally:
            ending.set()
            if jobs:
                reader.join()


def _listener(web: WebServer, where: str) -> socket.socket:
    """Open a stream. A server learns that an earlier listener has gone when it next writes to him: until then 429."""
    parts, end = urlsplit(web.url), time.monotonic() + 60
    while True:
        connection = socket.create_connection((parts.hostname, parts.port))
        connection.sendall(f"GET {where}/events HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        status = connection.recv(12)
        if status == b"HTTP/1.1 200":
            return connection
        connection.close()
        assert status == b"HTTP/1.1 429", status
        assert time.monotonic() < end, "no place is free"
        time.sleep(0.2)


def _throughput(web: WebServer, for_s: float) -> float:
    """Return the requests per second that the clients get answered."""
    until = time.monotonic() + for_s
    answered = [0] * _CLIENTS

    def ask(client: int) -> None:
        connection = HTTPConnection(urlsplit(web.url).netloc, timeout=30)
        others = [name for name in CLUSTERS if name != _HELD]
        while time.monotonic() < until:
            cluster = others[(answered[client] + client) % len(others)]
            body = f'{{"query": "sum({METRIC}) + {client}", "clusters": ["{cluster}"]}}'
            query_id = _answered(connection, "POST", "/api/v1/metrics/query", body)
            _answered(connection, "GET", f"/api/v1/queries/{query_id}")
            answered[client] += 2
        connection.close()

    clients = [threading.Thread(target=ask, args=(client,)) for client in range(_CLIENTS)]
    started = time.monotonic()
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    return sum(answered) / (time.monotonic() - started)


def _answered(connection: HTTPConnection, method: str, path: str, body: str | None = None) -> str:
    connection.request(method, path, body, _JSON if body else {})
    response = connection.getresponse()
    text = response.read()
    assert response.status == 200, (response.status, text[:500])
    return str(response.headers["X-Query-Id"])


def _cpu_percent(web: WebServer, for_s: float) -> float:
    before, started = _cpu_s(web), time.monotonic()
    time.sleep(for_s)
    return 100 * (_cpu_s(web) - before) / (time.monotonic() - started)


def _cpu_s(web: WebServer) -> float:
    return float(sum(sum(member.cpu_times()[:2]) for member in _family(web)))


def _memory_mb(web: WebServer) -> float:
    """Return the proportional memory of the web role's processes."""
    return float(sum(member.memory_full_info().pss for member in _family(web))) / 2**20


def _family(web: WebServer) -> list[psutil.Process]:
    process = psutil.Process(web.process.pid)
    return [process, *process.children(recursive=True)]

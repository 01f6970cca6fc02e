"""A server on the loopback interface that answers as it is told and remembers what it was asked.

For what a real backend does not do when it is wanted: hang, drip, break off, refuse, be of another release.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    """One request: its fields, of the URL or the form, in order; `connection` tells kept connections apart."""

    method: str
    path: str
    fields: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    connection: tuple[str, int]

    def field(self, name: str) -> str:
        return dict(self.fields)[name]


@dataclass
class Reply:
    """A status, a body as JSON values or bytes, headers; `act` may do something else with the handler instead."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    act: Callable[[BaseHTTPRequestHandler], None] | None = None


def success(data: Any, **more: Any) -> Reply:
    """An answer as Prometheus gives it."""
    return Reply({"status": "success", "data": data, **more})


def failure(status: int, kind: str, words: str) -> Reply:
    """A refusal as Prometheus gives it."""
    return Reply({"status": "error", "errorType": kind, "error": words}, status)


PROMETHEUS_2 = {"version": "2.42.0", "revision": "x", "goVersion": "go1.19"}
PROMETHEUS_3 = {"version": "3.5.0", "revision": "x", "goVersion": "go1.24"}


@dataclass
class RepliesServer:
    """Where it listens, and what it was asked so far."""

    url: str = ""
    asked: list[Request] = field(default_factory=list)

    def queries(self) -> list[str]:
        """Return the texts of the queries that it was asked."""
        return [request.field("query") for request in self.asked if request.path.startswith("/api/v1/query")]


@contextmanager
def answering(reply: Callable[[Request], Reply], port: int = 0) -> Iterator[RepliesServer]:
    """Serve inside the block, at a port that is free unless one is given."""
    server = RepliesServer()
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body are two writes: the second would wait for the client to acknowledge the first.
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode() or url.query
            fields = tuple(parse_qsl(text, keep_blank_values=True))
            request = Request(self.command, url.path, fields, dict(self.headers), self.client_address)
            server.asked.append(request)
            given = reply(request)
            if given.act is not None:
                given.act(self)
                self.close_connection = True
                return
            body = given.body if isinstance(given.body, bytes) else json.dumps(given.body).encode()
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *args: Any) -> None:
            return None

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: Any) -> None:
            # A client that goes away within an answer is what some tests are about.
            return None

    listening = Server(("127.0.0.1", port), Handler)
    listening.released = released  # type: ignore[attr-defined]
    server.url = f"http://127.0.0.1:{listening.server_address[1]}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        released.set()
        listening.shutdown()
        thread.join()
        listening.server_close()


def hang(handler: BaseHTTPRequestHandler) -> None:
    """Say nothing until the server ends."""
    handler.server.released.wait(30)  # type: ignore[attr-defined]


def drip_headers(handler: BaseHTTPRequestHandler) -> None:
    """Begin an answer and go on with a byte of its headers now and then."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(300):
        if handler.server.released.wait(0.05):  # type: ignore[attr-defined]
            return
        handler.wfile.write(b"x")


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Begin an answer and go on with a byte now and then."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.server.released.wait(0.05):  # type: ignore[attr-defined]
        handler.wfile.write(b" ")
        handler.wfile.flush()


def break_off(handler: BaseHTTPRequestHandler) -> None:
    """End the connection within an answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"status":')

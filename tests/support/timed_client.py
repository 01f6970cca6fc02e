"""A client of Prometheus' API that keeps one connection and measures how long an answer takes to be there whole."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import orjson

from federation_core.query import TimeRange

_HEADERS = {"Content-Type": "application/x-www-form-urlencoded", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class TimedAnswer:
    """An answer, and the ms from sending the query to its last byte."""

    body: bytes
    headers: Mapping[str, str]
    took_ms: float

    @property
    def json(self) -> dict[str, Any]:
        """The body, read."""
        return dict(orjson.loads(self.body))


@dataclass
class TimedClient:
    """Asks one server, below a path; a context manager that closes its connection."""

    address: str
    prefix: str = ""
    connection: http.client.HTTPConnection = field(init=False)

    def __enter__(self) -> TimedClient:
        self.connection = http.client.HTTPConnection(self.address, timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def ask(self, query: str, asked: TimeRange) -> TimedAnswer:
        """Ask a query, at an instant or on the steps of a range."""
        times = {"start": asked.start_ms, "end": asked.end_ms, "step": asked.step_ms}
        path, times = ("query_range", times) if asked.step_ms else ("query", {"time": asked.end_ms})
        body = urlencode({"query": query, **{name: f"{ms / 1000:.3f}" for name, ms in times.items()}})
        started_s = time.perf_counter()
        self.connection.request("POST", f"{self.prefix}/api/v1/{path}", body, _HEADERS)
        response = self.connection.getresponse()
        answer = response.read()
        took_ms = (time.perf_counter() - started_s) * 1000
        return TimedAnswer(answer, {name.lower(): value for name, value in response.getheaders()}, took_ms)

"""A reader of server-sent events over a connection of its own, as a browser's EventSource is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Event:
    """One event."""

    id: str
    name: str
    data: Any


class EventStream:
    """An open stream; a context manager that hangs up. `status` is the answer's."""

    def __init__(self, url: str, last_event_id: str = "", timeout_s: float = 20, **headers: str) -> None:
        parts = urlsplit(url)
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        self._connection.request("GET", parts.path, headers=headers)
        self.response: HTTPResponse = self._connection.getresponse()
        self.status = self.response.status

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()
        self._connection.close()

    def __iter__(self) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for raw in self.response:
            line = raw.decode().rstrip("\n")
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            elif "data" in fields:
                yield Event(fields["id"], fields["event"], json.loads(fields["data"]))
                fields = {}

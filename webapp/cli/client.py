"""Our own client of the HTTP API: requests out, bodies back, faults in words a user can act on.

Rule: a body is handed on as the server sent it, so that `--json` shows exactly what the API says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

import click
import requests

from federation_core.errors import FederationError

DEFAULT_SERVER = "http://127.0.0.1:8080"
#: Statuses that say the question is wrong, not the server: the caller has to change something.
_BAD_QUESTION = frozenset({400, 405, 413, 414, 415, 422})
#: How long a request may take beyond what the server was asked to wait, in seconds.
_PATIENCE_S = 15.0
#: How long a stream may be silent: the server writes a comment every ten seconds.
_SILENCE_S = 30.0


class NoAnswer(click.ClickException):
    """There is no answer, and the server or its clusters are the reason."""

    exit_code = 1


class WrongQuestion(NoAnswer):
    """There is no answer, because the question is wrong."""

    exit_code = 2


def wrong(exc: FederationError) -> WrongQuestion:
    """Return a fault that was found before anything was asked, with what would be right."""
    expected = exc.details.get("expected")
    return WrongQuestion(f"{exc.message}; give {expected}" if expected else exc.message)


@dataclass(frozen=True)
class Reply:
    """A response: HTTP status, the body as it came, and its `Retry-After` in seconds."""

    status: int
    body: bytes
    retry_after_s: float = 0.0

    @cached_property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises NoAnswer: it is none; whatever answered is not this product's API.
        """
        try:
            value = json.loads(self.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            start = self.body[:80].decode("utf-8", "replace").strip()
            raise NoAnswer(f"the server's answer (status {self.status}) is not a JSON object: {start!r}")
        return value

    @property
    def ok(self) -> bool:
        """Whether the request was accepted."""
        return self.status < 400

    def refusal(self, query: str = "") -> NoAnswer:
        """Say in words what a problem document (RFC 9457) says, with the exit code it stands for.

        `query` is the text that was asked; the place of a syntax error is shown in it.
        """
        problem = self.json
        text = str(problem.get("detail") or problem.get("title") or f"status {self.status}")
        for fault in problem.get("errors") or ():
            text += _pointed_at(query, fault)
            if isinstance(fault, dict) and fault.get("expected"):
                text += f"\n  {fault.get('field', '')}: give {fault['expected']}"
            elif isinstance(fault, dict) and str(fault.get("detail", "")) not in text:
                text += f"\n  {fault.get('field', '')}: {fault['detail']}"
        return WrongQuestion(text) if self.status in _BAD_QUESTION else NoAnswer(text)


class Stream:
    """An answer that is still being written."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        #: The answer's status.
        self.status = response.status_code

    @property
    def reply(self) -> Reply:
        """The answer as a whole; reads it to its end unless it is a stream that was accepted."""
        return Reply(self.status, self._response.content if self.status >= 400 else b"")

    def lines(self) -> Iterator[bytes]:
        """Yield the lines as they come."""
        yield from self._response.iter_lines()


class Api:
    """One server's API. Not for use by several threads at once."""

    def __init__(self, server: str, token: str = "") -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise WrongQuestion(f"--server: {server!r} is not a URL such as {DEFAULT_SERVER}")
        self._server = server.rstrip("/")
        self._session = requests.Session()
        # A proxy of the environment must not be asked for this machine's own addresses.
        self._session.trust_env = parts.hostname not in ("127.0.0.1", "localhost", "::1")
        self._session.headers["Accept"] = "application/json"
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def submit(self, question: Mapping[str, Any], key: str) -> Reply:
        """Submit a query: 202 with the job's id. Submitted again under the same key it is the same job."""
        headers = {"Prefer": "respond-async", "Idempotency-Key": f'"{key}"'}
        return self._send("POST", "/api/v1/queries", body=question, headers=headers)

    def job(self, query_id: str) -> Reply:
        """Return a query's state and the progress of its clusters."""
        return self._send("GET", f"/api/v1/queries/{quote(query_id, safe='')}")

    def result(self, query_id: str, wait_s: float = 0.0) -> Reply:
        """Return a query's answer, holding for it up to `wait_s`, or 202 while there is none."""
        headers = {"Prefer": f"wait={round(wait_s)}"} if wait_s >= 1 else None
        path = f"/api/v1/queries/{quote(query_id, safe='')}/result"
        return self._send("GET", path, wait_s=wait_s, headers=headers)

    def jobs(self, limit: int) -> Reply:
        """Return the caller's queries, newest first."""
        return self._send("GET", f"/api/v1/queries?limit={limit}")

    def cancel(self, query_id: str) -> Reply:
        """Cancel a query: 202 if that ended it, 200 if it had ended before."""
        return self._send("DELETE", f"/api/v1/queries/{quote(query_id, safe='')}")

    @contextmanager
    def events(self, query_id: str, seen_id: str = "") -> Iterator[Stream]:
        """Open the stream of a query's events, after the one that was seen.

        Raises ConnectionError, also while it is read: the server is not there, or the connection is lost.
        """
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": seen_id} if seen_id else {})
        path = f"/api/v1/queries/{quote(query_id, safe='')}/events"
        try:
            with self._session.get(
                self._server + path, headers=headers, stream=True, timeout=(5.0, _SILENCE_S)
            ) as response:
                yield Stream(response)
        except requests.ConnectionError as exc:
            raise ConnectionError(_unreachable(self._server, exc)) from None
        except requests.RequestException as exc:
            raise ConnectionError(f"{self._server}: {exc}") from None

    def explain(self, question: Mapping[str, Any]) -> Reply:
        """Return the plan of a query without running it."""
        return self._send("POST", "/api/v1/queries:explain", body=question)

    def clusters(self) -> Reply:
        """Return the clusters and their workers."""
        return self._send("GET", "/api/v1/clusters")

    def cluster_health(self, name: str) -> Reply:
        """Return how one cluster is, with each of its backends."""
        return self._send("GET", f"/api/v1/clusters/{quote(name, safe='')}/health")

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        wait_s: float = 0.0,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        try:
            response = self._session.request(
                method, self._server + path, json=body, headers=headers, timeout=(5.0, wait_s + _PATIENCE_S)
            )
        except requests.ConnectionError as exc:
            raise NoAnswer(_unreachable(self._server, exc)) from None
        except requests.Timeout:
            raise NoAnswer(f"{self._server} did not answer within {wait_s + _PATIENCE_S:.0f} s") from None
        except requests.RequestException as exc:
            raise NoAnswer(f"{self._server}: {exc}") from None
        retry_after = response.headers.get("Retry-After", "")
        return Reply(response.status_code, response.content, float(retry_after) if retry_after.isdigit() else 0.0)


def _pointed_at(query: str, fault: Any) -> str:
    """Return the line of the query in which a fault is, with a mark under its place; nothing if it has none."""
    if not isinstance(fault, dict) or not fault.get("column"):
        return ""
    lines = query.splitlines()
    at, column = int(fault.get("line") or 1) - 1, int(fault["column"]) - 1
    if not 0 <= at < len(lines) or not 0 <= column <= len(lines[at]) or not lines[at].isprintable():
        return ""
    return f"\n  {lines[at]}\n  {' ' * column}^"


def _unreachable(server: str, exc: requests.ConnectionError) -> str:
    words = {"refused": "connection refused", "resolve": "no such host"}
    reason = next((reason for word, reason in words.items() if word in str(exc)), "no connection")
    return (
        f"no server at {server} ({reason}).\n"
        "Start one with `appsentry demo` or `appsentry serve --config DIR`,"
        " or name another with --server URL or APPSENTRY_URL."
    )

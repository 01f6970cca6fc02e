"""Clients: they ask over `Dispatch` or over HTTP, wait, walk away or cancel, and note what they were told and when.

Rule: a client does what a careful one would: it asks again for its answer while somebody is away, and takes an answer
for final when it got one. It judges nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from random import Random
from threading import Lock
from typing import Any

from federation_core.errors import FederationError, StoreUnavailable
from federation_core.outcome import Result
from tests.integration.chaos.episodes import Episodes
from tests.support.stack import CLUSTERS, METRIC, Stack, total, verdicts
from tests.support.web_server import Answer, WebServer
from workers.dispatch import wall_clock_ms

#: How long after a query's deadline a client still asks for its answer.
PATIENCE_S = 15.0
HOSTILE = ("sum(", "(" * 10_000, "up" + "+up" * 21_000, "\x00\ufffd", 'up{cluster="nowhere"', "a" * 65_536)


@dataclass(frozen=True, slots=True)
class Told:
    """What a client was told about a query: the same facts over either way. `error` is the class's slug."""

    query_id: str
    status: str
    verdicts: dict[str, str]
    value: float
    error: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A submission that was refused, and why: the error's slug, or the exception of the connection."""

    over: str
    why: str
    at_ms: int


@dataclass
class Notes:
    """What all clients noted."""

    told: list[Told] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    #: Query ids, and what the client was told last instead of an answer.
    unanswered: list[tuple[str, str]] = field(default_factory=list)
    #: Query id → when it was cancelled.
    cancelled: dict[str, int] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)


class Numbers:
    """Hands out every number once: each query multiplies its sum by its own, so that answers cannot be mixed up."""

    def __init__(self, queries: int) -> None:
        self._left = iter(range(1, queries + 1))
        self._lock = Lock()

    def next(self) -> int | None:
        """Return the next number, None when all are taken."""
        with self._lock:
            return next(self._left, None)


@dataclass
class Client:
    """One client, seeded; `run` asks until there are no numbers left."""

    stack: Stack
    episodes: Episodes
    notes: Notes
    random: Random

    def run(self, numbers: Numbers) -> None:
        """Ask query after query."""
        while (number := numbers.next()) is not None:
            text = f"sum({METRIC}) * {number}"
            clusters = () if self.random.random() < 0.7 else self._some()
            require = self.random.choice(["best_effort"] * 5 + ["all", "quorum:3", "critical:prod,stage"])
            if "critical" in require:
                clusters = ()
            self.ask(text, clusters, require, self.random.choice([2000, 2500, 3000, 4000]))

    def ask(self, text: str, clusters: tuple[str, ...], require: str, timeout_ms: int) -> None:
        """Ask one query and see it through."""
        raise NotImplementedError

    def _some(self) -> tuple[str, ...]:
        return tuple(sorted(self.random.sample(CLUSTERS, self.random.randint(1, 5))))

    def _refused(self, over: str, why: str) -> None:
        self.notes.refused.append(Refused(over, why, self.episodes.clock()))
        time.sleep(0.3)

    def _insist(self, query_id: str, deadline_ms: int, ask: Callable[[], Told | str]) -> None:
        """Ask for an answer until there is one; `ask` returns it, or what came instead."""
        told: Told | str = ""
        while wall_clock_ms() < deadline_ms + PATIENCE_S * 1000:
            told = ask()
            if isinstance(told, Told):
                self.notes.told.append(told)
                return
            time.sleep(0.05)
        self.notes.unanswered.append((query_id, told))


class DirectClient(Client):
    """Asks as the web tier does, over `Dispatch`."""

    def ask(self, text: str, clusters: tuple[str, ...], require: str, timeout_ms: int) -> None:
        dispatch = self.stack.dispatch
        try:
            plan = self.stack.plan(text, timeout_ms=timeout_ms, clusters=clusters, require=require)
            dispatch.submit(plan)
        except FederationError as exc:
            self._refused("direct", type(exc).__name__)
            return
        self.notes.asked["direct"] += 1
        way = self.random.random()
        if way < 0.25:
            self.notes.asked["direct, left alone"] += 1
            return
        if way < 0.4:
            time.sleep(self.random.uniform(0, 0.5))
            self._cancel(plan.query.tenant_id, plan.query_id)

        def look() -> Told | str:
            try:
                result = dispatch.wait(plan)
            except StoreUnavailable as exc:
                return str(exc)
            return "nothing" if result is None else told_by(result, self.episodes.clock())

        self._insist(plan.query_id, plan.deadline_ms, look)

    def _cancel(self, tenant_id: str, query_id: str) -> None:
        try:
            self.stack.dispatch.cancel(tenant_id, query_id)
        except FederationError:
            return
        self.notes.asked["direct, cancelled"] += 1
        self.notes.cancelled[query_id] = self.episodes.clock()


@dataclass
class HttpClient(Client):
    """Asks the API, collects the answer with long polls, and sends nonsense now and then."""

    web: WebServer

    def ask(self, text: str, clusters: tuple[str, ...], require: str, timeout_ms: int) -> None:
        if self.random.random() < 0.1:
            text = self.random.choice(HOSTILE)
        body: dict[str, Any] = {"signal": "metrics", "query": text, "time": self.stack.now_ms / 1000}
        body |= {"require": require, "timeout": f"{timeout_ms}ms"}
        if clusters:
            body["clusters"] = list(clusters)
        while (answer := self._send("POST", "/api/v1/queries", body)) is None:
            self._refused("http", "no connection")
        if answer.status_code != 202:
            self._refused("http", slug(answer))
            return
        self.notes.asked["http"] += 1
        query_id, deadline_ms = answer.json["queryId"], answer.json["deadlineMs"]
        if self.random.random() < 0.15:
            time.sleep(self.random.uniform(0, 0.5))
            self._cancel(query_id)

        def look() -> Told | str:
            found = self._send("GET", f"/api/v1/queries/{query_id}/result", Prefer="wait=2")
            if found is None:
                return "no connection"
            if found.status_code == 202 or "coverage" not in found.json:
                return f"{found.status_code} {found.text[:300]}"
            return told_over_http(query_id, found, self.episodes.clock())

        self._insist(query_id, deadline_ms, look)

    def _cancel(self, query_id: str) -> None:
        answer = self._send("DELETE", f"/api/v1/queries/{query_id}")
        if answer is not None and answer.status_code == 202:
            self.notes.asked["http, cancelled"] += 1
            self.notes.cancelled[query_id] = self.episodes.clock()

    def _send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer | None:
        try:
            return self.web.send(method, path, body, **headers)
        except (OSError, HTTPException):
            return None


def slug(answer: Answer) -> str:
    """Return which problem an answer is."""
    return str(answer.json.get("type", "")).rpartition("/")[2]


def told_by(result: Result, at_ms: int) -> Told:
    """Return the facts of a result."""
    error = type(result.error).__name__ if result.error else ""
    return Told(result.query_id, result.status, verdicts(result), total(result), error, at_ms)


def told_over_http(query_id: str, answer: Answer, at_ms: int) -> Told:
    """Return the facts of an answer of the API."""
    body = answer.json
    rows = {row["cluster"]: row["verdict"] for row in body["coverage"]["clusters"]}
    if answer.status_code != 200:
        error = "".join(part.capitalize() for part in slug(answer).split("-"))
        return Told(query_id, "failed", rows, 0.0, error, at_ms)
    series = body["result"]
    return Told(query_id, body["status"], rows, float(series[0]["value"][1]) if series else 0.0, "", at_ms)

"""Backends that fail in several ways at once, as real workers see them: who is asked, who is not, and who is again.

One course of events is gone through; each test holds it to one claim. `app-prod` is served by two processes.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from federation_core.connectors.files import load
from federation_core.connectors.stores.backend_health import BackendHealths
from federation_core.connectors.stores.jobs import wall_clock_ms
from federation_core.health import BackendHealth, Breaker
from tests.support.prometheus_replies import PROMETHEUS_2, RepliesServer, Reply, Request, answering, hang, success
from tests.support.stack import CLUSTERS, ENVIRONMENTS, Stack, verdicts
from webapp.cli.stack import commands
from workers.dispatch import Dispatch

pytestmark = pytest.mark.heavy

TWICE, WELL, HANGS, REFUSES, SLOW, WRONG = CLUSTERS
FAILING = frozenset({TWICE, HANGS, REFUSES, WRONG})
PROBE = "vector(1)"
#: What a query may take; the one of the slow cluster takes longer.
TIMEOUT_MS = 1_500
#: As many requests as all processes of a cluster together may have under way at the backend of `TWICE`.
AT_ONCE = 3
#: Until everybody's breaker is open, and everybody is asked again.
_PATIENCE_S = 40.0


@dataclass
class Backend:
    """A Prometheus that can be made to fail; it counts what is under way."""

    name: str
    fails: bool = False
    holds: bool = False
    under_way: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, request: Request) -> Reply:
        query = dict(request.fields).get("query", "")
        if self.fails and self.name in (TWICE, WRONG):
            return Reply(status=401)
        if self.fails and self.name == REFUSES:
            # A connection that was kept ends; there will be no new one.
            return Reply(act=lambda _: None)
        if self.fails and (self.name == HANGS or (self.name == SLOW and query != PROBE)):
            return Reply(act=hang)
        if not request.path.endswith(("/query", "/query_range")):
            return success(PROMETHEUS_2 if request.path.endswith("buildinfo") else [])
        if self.holds and query != PROBE:
            self._hold()
        return success({"resultType": "vector", "result": [{"metric": {}, "value": [request.field("time"), "1"]}]})

    def _hold(self) -> None:
        with self.lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        time.sleep(0.2)
        with self.lock:
            self.under_way -= 1


@dataclass
class Course:
    """What came to pass: the verdicts and reasons of one query after the other, and what was seen beside them.

    `queries_while_shut` is what the failing backends were asked while no query was sent to any of them.
    """

    before: Mapping[str, str]
    asked: list[dict[str, tuple[str, str]]]
    health: Mapping[str, Mapping[str, BackendHealth]]
    queries_while_shut: Mapping[str, list[str]]
    healed: Mapping[str, Mapping[str, BackendHealth]]
    most_at_once: int

    def of(self, cluster: str) -> list[str]:
        """Return a cluster's verdicts, each once for a row of equal ones."""
        found = [row[cluster][0] for row in self.asked]
        return [verdict for place, verdict in enumerate(found) if place == 0 or verdict != found[place - 1]]

    def reason(self, cluster: str) -> str:
        """Return why a cluster was not asked."""
        return next(row[cluster][1] for row in self.asked if row[cluster][0] == "breaker_open")


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    backends = {name: Backend(name) for name in CLUSTERS if name != WELL}
    with ExitStack() as running:
        servers = {name: running.enter_context(answering(b.reply)) for name, b in backends.items() if name != REFUSES}
        refused = running.enter_context(ExitStack())
        port = _free_port()
        servers[REFUSES] = refused.enter_context(answering(backends[REFUSES].reply, port))
        stack = running.enter_context(Stack(tmp_path_factory.mktemp("breakers"), worker_module="workers"))
        _configure(stack, {name: server.url for name, server in servers.items()})
        stack.start_merge()
        stack.start_worker()
        stack.start(commands.cluster_worker([TWICE]))
        yield _gone_through(stack, backends, servers, refused, port)


def _gone_through(
    stack: Stack, backends: Mapping[str, Backend], servers: dict[str, RepliesServer], refused: ExitStack, port: int
) -> Course:
    healths, asked = BackendHealths(stack.url), list[dict[str, tuple[str, str]]]()

    def ask() -> dict[str, str]:
        result = stack.ask(timeout_ms=TIMEOUT_MS)
        asked.append({row.cluster: (row.verdict.value, row.reason) for row in result.coverage.clusters})
        return verdicts(result)

    def ask_until_all(wanted: str, clusters: frozenset[str]) -> None:
        end_s = time.monotonic() + _PATIENCE_S
        while {ask()[name] for name in clusters} != {wanted}:
            assert time.monotonic() < end_s, (asked[-1], asked[:20])
            time.sleep(0.1)

    def seen() -> dict[str, dict[str, BackendHealth]]:
        return healths.of(CLUSTERS, wall_clock_ms())

    stack.until(lambda: all(row["metrics"].up for row in seen().values() if row) and all(seen().values()))
    stack.until(lambda: stack.dispatch.jobs.beats.beat((TWICE,), "looks on", 0, 0)[TWICE].processes == 2)
    before = verdicts(stack.ask(timeout_ms=10_000))
    for backend in backends.values():
        backend.fails = True
    refused.close()
    ask_until_all("breaker_open", FAILING)
    counts = {name: len(servers[name].asked) for name in FAILING}
    ask()
    shut_for = {name: servers[name].asked[counts[name] :] for name in FAILING}
    queries = {name: [dict(r.fields).get("query", r.path) for r in found] for name, found in shut_for.items()}
    health = seen()
    for backend in backends.values():
        backend.fails = False
    with answering(backends[REFUSES].reply, port):
        ask_until_all("ok", frozenset(CLUSTERS))
        for _ in range(3):
            ask()
        healed = seen()
        backends[TWICE].holds = True
        with ThreadPoolExecutor(12) as pool:
            results = list(pool.map(lambda _: stack.ask(timeout_ms=20_000, clusters=(TWICE,)), range(12)))
        assert {verdicts(result)[TWICE] for result in results} == {"ok"}
    return Course(before, asked, health, queries, healed, backends[TWICE].most)


def _configure(stack: Stack, urls: Mapping[str, str]) -> None:
    lines = ["clusters:"]
    for name, environment in ENVIRONMENTS.items():
        backend = f"kind: prometheus, url: '{urls[name]}'" if name in urls else None
        backend = backend or f"kind: embedded, path: {stack.folder / 'stores' / name}"
        lines += [f"  - name: {name}", f"    environment: {environment}"]
        lines += [f"    rateLimit: {{maxConcurrent: {AT_ONCE}}}"] if name == TWICE else []
        lines += ["    backends:", f"      metrics: {{{backend}}}"]
    (Path(stack.folder) / "config" / "clusters.yaml").write_text("\n".join(lines) + "\n")
    stack.settings = load(stack.environ)
    stack.dispatch = Dispatch(stack.settings)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_while_all_backends_answer_everybody_is_asked(course: Course) -> None:
    assert course.before == dict.fromkeys(CLUSTERS, "ok")


@pytest.mark.parametrize("cluster", sorted(FAILING))
def test_a_backend_that_fails_is_soon_not_asked_and_asked_again_when_a_probe_found_it_well(
    course: Course, cluster: str
) -> None:
    """No query is spent on finding out: between the first refusal and the first answer there are refusals alone."""
    first = "timed_out" if cluster == HANGS else "failed"
    # A cluster whose breaker opened before the first query could fail has no such row.
    assert course.of(cluster) in (["ok", first, "breaker_open", "ok"], [first, "breaker_open", "ok"])


def test_the_others_are_answered_in_full_all_along(course: Course) -> None:
    assert course.of(WELL) == ["ok"]


def test_queries_that_are_too_slow_close_no_backend(course: Course) -> None:
    assert set(course.of(SLOW)) == {"timed_out", "ok"}
    assert course.health[SLOW]["metrics"].breaker is Breaker.CLOSED
    assert course.health[SLOW]["metrics"].failures == 0


@pytest.mark.parametrize(
    ("cluster", "why"),
    [
        (TWICE, "(401)"),
        (WRONG, "(401)"),
        (REFUSES, "Connection refused"),
        (HANGS, "the backend gave no answer in time"),
    ],
)
def test_the_reason_says_what_is_wrong_and_when_it_is_tried_again(course: Course, cluster: str, why: str) -> None:
    said = course.reason(cluster)
    assert said.startswith("its metrics backend is not asked since 20")
    assert why in said
    assert "it is tried again at 20" in said or said.endswith("it is being tried")
    assert "127.0.0.1" not in said


def test_nothing_but_probes_reaches_a_backend_that_is_not_asked(course: Course) -> None:
    assert {query for asked in course.queries_while_shut.values() for query in asked} <= {PROBE}


def test_health_tells_the_error_while_it_lasts_and_the_version_when_it_is_over(course: Course) -> None:
    for cluster in FAILING:
        row = course.health[cluster]["metrics"]
        assert (row.kind, row.up, bool(row.error)) == ("prometheus", False, True)
        assert row.breaker is not Breaker.CLOSED
        assert course.healed[cluster]["metrics"].up
        assert course.healed[cluster]["metrics"].breaker is Breaker.CLOSED
        assert course.healed[cluster]["metrics"].about.version == "Prometheus 2.42.0"


def test_two_processes_of_a_cluster_keep_to_one_cap(course: Course) -> None:
    assert 0 < course.most_at_once <= AT_ONCE

"""The backends of a worker, probed beside the queries and never waited for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from time import monotonic, sleep

import pytest

from federation_core.access import Access
from federation_core.config import Backend, Cluster, RateLimit, Settings
from federation_core.connectors.pace import pace_of
from federation_core.connectors.stores.jobs_beats import Heartbeats, Told
from federation_core.connectors.stores.leases import Leases
from federation_core.errors import Malformed, TimedOut, Unreachable
from federation_core.health import BackendBreaker, Breaker
from federation_core.signals import kind_named
from tests.support.prometheus_replies import (
    PROMETHEUS_2,
    PROMETHEUS_3,
    RepliesServer,
    Reply,
    Request,
    answering,
    hang,
    success,
)
from tests.support.sample_store import FAR_DEADLINE
from workers import prober as subject
from workers.connections import Connections
from workers.fetchers import Fetchers
from workers.heartbeat import Heart
from workers.prober import Prober
from workers.standing import Report, Standing

NOW_MS = 1_700_000_000_000
SECOND, THIRD = "Prometheus/2.42/eg", "Prometheus/3.5/eg"
ONE = {"resultType": "vector", "result": [{"metric": {}, "value": [0, "1"]}]}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "FIRST_PROBE_S", 0)
    monkeypatch.setattr(subject, "_APART_S", 0)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROBE_EVERY_S", "PROBE_AGAIN_S", "PROBE_SOON_S"):
        monkeypatch.setattr(subject, name, 0.01)


def until(happened: Callable[[], bool]) -> None:
    end = monotonic() + 10
    while not happened():
        assert monotonic() < end
        sleep(0.005)


def alive(build: dict[str, str]) -> Callable[[Request], Reply]:
    """A Prometheus of a release that evaluates the probe's query and holds nothing."""

    def reply(request: Request) -> Reply:
        return success(ONE if request.path.endswith("/query") else build)

    return reply


def away(request: Request) -> Reply:
    return Reply(status=503)


def probes(server: RepliesServer) -> int:
    return server.queries().count("vector(1)")


def settings_of(**urls: str) -> Settings:
    """Clusters with a Prometheus each, or a store without an engine where the address is empty."""
    backends = {
        name: Backend("metrics", "prometheus", url=url, origin="t:1")
        if url
        else Backend("metrics", "embedded", path="nowhere", origin="t:1")
        for name, url in urls.items()
    }
    return Settings(tuple(Cluster(name, "e", (backend,)) for name, backend in backends.items()))


@contextmanager
def probing(settings: Settings, connections: Connections | None = None) -> Iterator[tuple[Prober, Standing]]:
    """Probe inside the block."""
    names = tuple(cluster.name for cluster in settings.clusters)
    connections = connections or Connections(settings)
    prober = Prober(settings, names, connections, lambda: NOW_MS)
    prober.start()
    try:
        yield prober, connections.standing
    finally:
        prober.stop()


class Gathered:
    """What beats would have carried so far."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        self.failed: dict[str, int] = {}
        self.answered: dict[str, bool] = {}
        self.words: dict[str, str] = {}
        self.rows: list[tuple[str, bool, str]] = []
        self.versions: set[str] = set()

    def now(self) -> Gathered:
        report = self.standing.report({"dark", "lit", "prod", "bad"})
        for name, seen in report.seen.items():
            for sighting in seen.sightings.values():
                if sighting.answered:
                    self.answered[name], self.failed[name] = True, 0
                self.failed[name] = self.failed.get(name, 0) + sighting.failed
                self.words[name] = sighting.words
        for (name, _), health in report.rows.items():
            assert health.up is not None
            self.rows.append((name, health.up, health.error))
            self.versions.add(health.about.version)
        self.standing.heard(report, {})
        return self


def told(standing: Standing, state: Breaker, *to_probe: str) -> None:
    breaker = BackendBreaker(state, NOW_MS, NOW_MS, 3, "dead")
    standing.heard(Report(monotonic()), {"prod": Told(1, 0, {"metrics": breaker}, frozenset(to_probe))})


def test_each_backend_is_asked_what_it_is() -> None:
    with (
        answering(alive(PROMETHEUS_2)) as second,
        answering(alive(PROMETHEUS_3)) as third,
        probing(settings_of(old=second.url, new=third.url)) as (prober, _),
    ):
        until(lambda: prober.engines() == {"old": SECOND, "new": THIRD})


def test_a_probe_says_that_a_backend_answers_and_then_what_it_is() -> None:
    with answering(alive(PROMETHEUS_2)) as server, probing(settings_of(prod=server.url)) as (_, standing):
        gathered = Gathered(standing)
        until(lambda: "Prometheus 2.42.0" in gathered.now().versions)
        assert (gathered.answered, gathered.failed) == ({"prod": True}, {"prod": 0})
        assert set(gathered.rows) == {("prod", True, "")}


def test_what_a_query_finds_out_is_not_asked_again() -> None:
    with answering(alive(PROMETHEUS_2)) as server:
        settings = settings_of(prod=server.url)
        connections = Connections(settings)
        kind_named("metrics").engine_of(connections.connector("prod", "metrics"), FAR_DEADLINE)
        asked = len(server.asked)
        with probing(settings, connections) as (prober, _):
            until(lambda: prober.engines() == {"prod": SECOND})
        later = [request.path for request in server.asked[asked:]]
        # Once for what it tells of itself; what evaluates in it is known.
        assert later.count("/api/v1/status/buildinfo") <= 1


def test_a_backend_that_is_away_is_probed_again_and_known_when_it_is_back(soon: None) -> None:
    back: list[bool] = []

    def reply(request: Request) -> Reply:
        return alive(PROMETHEUS_3)(request) if back else away(request)

    with (
        answering(reply) as server,
        answering(alive(PROMETHEUS_2)) as other,
        probing(settings_of(dark=server.url, lit=other.url)) as (prober, standing),
    ):
        gathered = Gathered(standing)
        until(lambda: gathered.now().failed.get("dark", 0) > 3)
        assert (gathered.answered, dict(prober.engines())) == ({"lit": True}, {"lit": SECOND})
        back.append(True)
        until(lambda: gathered.now().answered == {"dark": True, "lit": True})
        until(lambda: prober.engines() == {"dark": THIRD, "lit": SECOND})


def test_the_log_of_a_worker_says_once_that_a_backend_fails_from_there_and_that_it_answers_again(
    soon: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "workers.prober")
    back: list[bool] = []
    with (
        answering(lambda request: alive(PROMETHEUS_3)(request) if back else away(request)) as server,
        probing(settings_of(dark=server.url)) as (_, standing),
    ):
        gathered = Gathered(standing)
        until(lambda: gathered.now().failed.get("dark", 0) > 4)
        back.append(True)
        until(lambda: len(caplog.records) > 1)
    said = [(record.levelname, record.message, record.__dict__["backend"]) for record in caplog.records]
    assert said == [
        ("WARNING", "a backend fails again and again", "metrics"),
        ("INFO", "a backend answers again", "metrics"),
    ]
    assert "503" in caplog.records[0].__dict__["why"]


def test_a_backend_that_hangs_costs_no_other_its_probe() -> None:
    with (
        answering(lambda _: Reply(act=hang)) as server,
        answering(alive(PROMETHEUS_2)) as other,
        probing(settings_of(dark=server.url, lit=other.url)) as (_, standing),
    ):
        gathered = Gathered(standing)
        until(lambda: "lit" in gathered.now().answered)
        assert "dark" not in gathered.failed


def test_a_probe_waits_for_no_turn_of_the_queries() -> None:
    with answering(alive(PROMETHEUS_2)) as server:
        (cluster,) = settings_of(prod=server.url).clusters
        cluster = replace(cluster, rate_limit=RateLimit(max_concurrent=1))
        pace = pace_of(cluster, server.url)
        # As a query has it whose backend hangs.
        with pace.turn(60, FAR_DEADLINE), probing(Settings((cluster,))) as (_, standing):
            gathered = Gathered(standing)
            until(lambda: gathered.now().answered == {"prod": True})


def test_a_probe_that_does_not_come_back_is_a_failed_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(subject, "_ANSWER_MS", 20)
    monkeypatch.setattr(subject, "_LATE_S", 0.02)
    settings, stuck = settings_of(dark=""), Event()
    connections = Connections(settings)
    connector = connections.connector("dark", "metrics")
    # As a folder on a file server that is away: nothing here can end it.
    monkeypatch.setattr(connector, "ping", lambda _: stuck.wait(10))
    with probing(settings, connections) as (_, standing):
        gathered = Gathered(standing)
        until(lambda: gathered.now().failed.get("dark", 0) >= 3)
        until(lambda: [record.message for record in caplog.records] == ["a backend fails again and again"])
        stuck.set()
        until(lambda: gathered.now().answered == {"dark": True})


def test_a_backend_that_takes_no_more_is_there_and_has_words(soon: None) -> None:
    with (
        answering(lambda _: Reply(status=429, headers={"Retry-After": "1"})) as server,
        probing(settings_of(prod=server.url)) as (_, standing),
    ):
        gathered = Gathered(standing)
        until(lambda: bool(gathered.now().rows) and len(server.asked) > 3)
        assert gathered.rows[0] == ("prod", True, gathered.rows[0][2])
        assert "takes no more requests now" in gathered.rows[0][2]
        assert (gathered.answered, gathered.failed) == ({"prod": True}, {"prod": 0})


def test_a_probe_that_decides_and_finds_a_backend_busy_closes_the_breaker() -> None:
    with answering(lambda _: Reply(status=429)) as server:
        settings = settings_of(prod=server.url)
        connections = Connections(settings)
        told(connections.standing, Breaker.HALF_OPEN, "metrics")
        with probing(settings, connections) as (_, standing):
            gathered = Gathered(standing)
            until(lambda: gathered.now().answered == {"prod": True})


def test_a_backend_that_fails_here_alone_is_not_probed_again_so_soon_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "PROBE_AGAIN_S", 0.01)
    monkeypatch.setattr(subject, "PROBE_AGAIN_TIMES", 5)
    with answering(away) as server, probing(settings_of(prod=server.url)):
        until(lambda: probes(server) == 6)
        sleep(0.2)
        assert probes(server) == 6


def test_a_file_that_hangs_keeps_no_other_connector_from_being_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "ca.pem"
    os.mkfifo(pipe)
    with answering(alive(PROMETHEUS_2)) as server:
        dark, lit = settings_of(dark="https://127.0.0.1:1", lit=server.url).clusters
        (backend,) = dark.backends
        dark = replace(dark, backends=(replace(backend, access=Access(ca_file=str(pipe))),))
        try:
            with probing(Settings((dark, lit))) as (_, standing):
                gathered = Gathered(standing)
                until(lambda: gathered.now().answered == {"lit": True})
                assert "dark" not in gathered.answered
        finally:
            # Whoever reads it is let go.
            os.close(os.open(pipe, os.O_RDWR))


def test_a_store_that_is_not_there_yet_is_shown_and_does_not_count(soon: None) -> None:
    with probing(settings_of(dark="")) as (_, standing):
        gathered = Gathered(standing)
        until(lambda: len(gathered.now().rows) > 0)
        sleep(0.1)
        assert (gathered.now().failed, gathered.rows[0][:2]) == ({}, ("dark", False))


@pytest.mark.parametrize("status", [401, 403, 404, 503])
def test_what_else_a_backend_refuses_counts(status: int) -> None:
    with answering(lambda _: Reply(status=status)) as server, probing(settings_of(prod=server.url)) as (_, standing):
        gathered = Gathered(standing)
        until(lambda: gathered.now().failed == {"prod": 1})
        assert str(status) in gathered.words["prod"]


@pytest.mark.parametrize("error", [Unreachable("gone"), TimedOut("late"), Malformed("nonsense")])
def test_after_a_query_had_trouble_the_next_probe_is_soon(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "PROBE_SOON_S", 0.01)
    with answering(alive(PROMETHEUS_2)) as server, probing(settings_of(prod=server.url)) as (_, standing):
        until(lambda: probes(server) == 1)
        sleep(0.05)
        assert probes(server) == 1
        standing.query_ended("prod", "series", error)  # type: ignore[arg-type]
        until(lambda: probes(server) == 2)


def test_where_the_breaker_is_open_nobody_probes_until_he_is_told_to(soon: None) -> None:
    with answering(alive(PROMETHEUS_2)) as server:
        settings = settings_of(prod=server.url)
        connections = Connections(settings)
        told(connections.standing, Breaker.OPEN)
        with probing(settings, connections) as (_, standing):
            sleep(0.1)
            assert server.asked == []
            told(standing, Breaker.HALF_OPEN, "metrics")
            until(lambda: probes(server) == 1)
            sleep(0.05)
            assert probes(server) == 1
            told(standing, Breaker.CLOSED)
            standing.awakened.set()
            until(lambda: probes(server) > 1)


def test_a_heart_beats_while_a_backend_hangs_and_says_what_it_is_once_it_is_known(redis_url: str) -> None:
    released = Event()

    def reply(request: Request) -> Reply:
        released.wait(1.5)
        return alive(PROMETHEUS_3)(request)

    beats = Heartbeats(redis_url)
    with answering(reply) as server:
        settings = settings_of(prod=server.url)
        connections = Connections(settings)
        with probing(settings, connections) as (prober, standing):
            fetchers = Fetchers(Leases(redis_url, "0a1b"))
            heart = Heart(beats, ("prod",), fetchers, lambda: NOW_MS, standing, prober)
            heart.start()
            until(lambda: beats.latest(("prod",), NOW_MS).keys() == {"prod"})
            assert beats.latest(("prod",), NOW_MS)["prod"].engine == ""
            released.set()
            until(lambda: beats.latest(("prod",), NOW_MS)["prod"].engine == THIRD)
            heart.stop()
            # Its last beat is out before Redis is another test's.
            until(lambda: not beats.latest(("prod",), NOW_MS)["prod"].alive)


def test_a_backend_that_cannot_be_opened_is_told_once_to_the_log_and_without_a_place_to_who_asks(
    soon: None, caplog: pytest.LogCaptureFixture
) -> None:
    bad = Backend("logs", "prometheus", url="http://p", origin="clusters.yaml:9")
    with probing(Settings((Cluster("bad", "e", (bad,)),))) as (_, standing):
        gathered = Gathered(standing)
        until(lambda: gathered.now().failed.get("bad", 0) > 2)
    said = [(record.levelname, record.__dict__["cluster"], record.__dict__["why"]) for record in caplog.records]
    assert said == [("ERROR", "bad", "clusters.yaml:9: a prometheus backend holds no logs")]
    assert gathered.rows[0] == ("bad", False, "the configuration of its worker is wrong; the worker's log has more")


def test_once_stopped_it_probes_no_more() -> None:
    with answering(alive(PROMETHEUS_2)) as server:
        settings = settings_of(prod=server.url)
        prober = Prober(settings, ("prod",), Connections(settings), lambda: NOW_MS)
        prober.stop()
        prober.start()
        sleep(0.1)
        assert (prober.able(), dict(prober.engines()), server.asked) == ({}, {}, [])

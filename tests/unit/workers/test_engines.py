"""What evaluates in a worker's clusters, found out beside the queries and never waited for."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from time import monotonic, sleep

import pytest

from federation_core.config import Backend, Cluster, Settings
from federation_core.connectors.stores.jobs_beats import Heartbeats
from federation_core.connectors.stores.leases import Leases
from federation_core.signals import kind_named
from tests.support.prometheus_replies import PROMETHEUS_2, PROMETHEUS_3, Reply, Request, answering, success
from tests.support.sample_store import FAR_DEADLINE
from workers import engines as subject
from workers.connections import Connections
from workers.engines import Engines
from workers.fetchers import Fetchers
from workers.heartbeat import Heart

NOW_MS = 1_700_000_000_000
SECOND, THIRD = "Prometheus/2.42/eg", "Prometheus/3.5/eg"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "FIRST_LOOK_S", 0)


def until(happened: Callable[[], bool]) -> None:
    end = monotonic() + 10
    while not happened():
        assert monotonic() < end
        sleep(0.005)


def settings_of(**urls: str) -> Settings:
    """Clusters with a Prometheus each, or a store without an engine where the address is empty."""
    backends = {
        name: Backend("metrics", "prometheus", url=url, origin="t:1")
        if url
        else Backend("metrics", "embedded", path="nowhere", origin="t:1")
        for name, url in urls.items()
    }
    return Settings(tuple(Cluster(name, "e", (backend,)) for name, backend in backends.items()))


def engines_of(settings: Settings, connections: Connections | None = None) -> Engines:
    names = tuple(cluster.name for cluster in settings.clusters)
    return Engines(settings, names, connections or Connections(settings), lambda: NOW_MS)


def test_each_backend_is_asked_what_it_is() -> None:
    with answering(lambda _: success(PROMETHEUS_2)) as second, answering(lambda _: success(PROMETHEUS_3)) as third:
        engines = engines_of(settings_of(old=second.url, new=third.url, store=""))
        engines.start()
        until(lambda: len(engines.known()) == 3)
        engines.stop()
    assert engines.known() == {"old": SECOND, "new": THIRD, "store": "ours"}


def test_what_a_query_finds_out_is_known_at_the_next_look_without_asking_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subject, "LOOK_EVERY_S", 0.01)
    with answering(lambda _: success(PROMETHEUS_2)) as server:
        settings = settings_of(prod=server.url)
        connections = Connections(settings)
        kind_named("metrics").engine_of(connections.connector("prod", "metrics"), FAR_DEADLINE)
        engines = engines_of(settings, connections)
        engines.start()
        until(lambda: engines.known() == {"prod": SECOND})
        sleep(0.1)
        engines.stop()
        assert [request.path for request in server.asked] == ["/api/v1/status/buildinfo"]


def test_a_backend_that_is_away_is_not_known_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "LOOK_EVERY_S", 0.01)
    away = [True]

    def reply(request: Request) -> Reply:
        return Reply(status=503) if away[0] else success(PROMETHEUS_3)

    with answering(reply) as server, answering(lambda _: success(PROMETHEUS_2)) as other:
        engines = engines_of(settings_of(dark=server.url, lit=other.url))
        engines.start()
        until(lambda: len(server.asked) > 3)
        assert engines.known() == {"lit": SECOND}
        away[0] = False
        until(lambda: engines.known() == {"dark": THIRD, "lit": SECOND})
        engines.stop()


def test_a_heart_beats_while_a_backend_hangs_and_says_what_it_is_once_it_is_known(redis_url: str) -> None:
    released = Event()

    def reply(request: Request) -> Reply:
        released.wait(10)
        return success(PROMETHEUS_3)

    beats = Heartbeats(redis_url)
    with answering(reply) as server:
        engines = engines_of(settings_of(prod=server.url))
        heart = Heart(beats, ("prod",), Fetchers(Leases(redis_url, "0a1b")), lambda: NOW_MS, engines.known)
        engines.start()
        heart.start()
        until(lambda: beats.latest(("prod",), NOW_MS).keys() == {"prod"})
        assert beats.latest(("prod",), NOW_MS)["prod"].engine == ""
        released.set()
        until(lambda: beats.latest(("prod",), NOW_MS)["prod"].engine == THIRD)
        heart.stop()
        engines.stop()
        # Its last beat is out before Redis is another test's.
        until(lambda: not beats.latest(("prod",), NOW_MS)["prod"].alive)


def test_a_backend_that_cannot_be_opened_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(subject, "LOOK_EVERY_S", 0.01)
    good, bad = (
        settings_of(good="").clusters[0],
        Backend("logs", "prometheus", url="http://p", origin="clusters.yaml:9"),
    )
    engines = engines_of(Settings((Cluster("bad", "e", (bad,)), good)))
    engines.start()
    until(lambda: engines.known() == {"good": "ours"})
    sleep(0.1)
    engines.stop()
    said = [(record.levelname, record.__dict__["cluster"], record.__dict__["why"]) for record in caplog.records]
    assert said == [("ERROR", "bad", "clusters.yaml:9: a prometheus backend holds no logs")]


def test_once_stopped_it_finds_out_no_more() -> None:
    with answering(lambda _: success(PROMETHEUS_2)) as server:
        engines = engines_of(settings_of(prod=server.url))
        engines.stop()
        engines.start()
        sleep(0.1)
        assert (engines.known(), server.asked) == ({}, [])

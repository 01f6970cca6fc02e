from collections.abc import Callable
from time import monotonic, sleep

import pytest

from federation_core.connectors.stores.jobs_beats import ALIVE_MS, Heartbeats
from federation_core.connectors.stores.leases import Leases
from federation_core.connectors.stores.redis import connect
from workers import heartbeat
from workers.fetchers import Fetchers
from workers.heartbeat import Heart, worker_name
from workers.standing import Standing

NOW_MS = 1_700_000_000_000


def until(happened: Callable[[], bool]) -> None:
    end = monotonic() + 10
    while not happened():
        assert monotonic() < end
        sleep(0.005)


def alive(beats: Heartbeats) -> set[str]:
    return {name for name, beat in beats.latest(("dev", "prod"), NOW_MS).items() if beat.alive}


def test_a_heart_beats_for_its_clusters_until_it_stops(redis_url: str) -> None:
    beats = Heartbeats(redis_url)
    heart = Heart(beats, ("dev", "prod"), Fetchers(Leases(redis_url, "0a1b")), lambda: NOW_MS)
    heart.start()
    until(lambda: alive(beats) == {"dev", "prod"})
    assert beats.latest(("prod",), NOW_MS)["prod"].worker == worker_name("0a1b")
    heart.stop()
    until(lambda: alive(beats) == set())
    # It said that it leaves; it was not merely silent for long enough.
    assert beats.latest(("prod",), NOW_MS)["prod"].last_seen_ms > NOW_MS - ALIVE_MS


def test_a_heart_that_redis_does_not_hear_tries_again_soon_and_says_so_once(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # A beat that waited for its turn would come too late for this test.
    monkeypatch.setattr(heartbeat, "BEAT_EVERY_S", 60)
    monkeypatch.setattr(heartbeat, "_SOON_S", 0.01)
    beats, away = Heartbeats(redis_url), Heartbeats("redis://127.0.0.1:1/0")
    heart = Heart(away, ("prod",), Fetchers(Leases(redis_url, "0a1b")), lambda: NOW_MS)
    heart.start()
    until(lambda: bool(caplog.records))
    sleep(0.3)
    assert alive(beats) == set()
    assert [record.message for record in caplog.records] == ["no heartbeat could be sent"]
    heart._beats = beats
    until(lambda: alive(beats) == {"prod"})
    heart.stop()
    # Its last beat is out before Redis is another test's.
    until(lambda: alive(beats) == set())


def test_a_cluster_whose_tasks_are_not_fetched_is_not_served_and_its_leases_are_held(redis_url: str) -> None:
    beats, fetchers = Heartbeats(redis_url), Fetchers(Leases(redis_url, "0a1b"), {"prod": 1})
    heart = Heart(beats, ("dev", "prod"), fetchers, lambda: NOW_MS)
    heart.start()
    until(lambda: alive(beats) == {"dev"})
    until(lambda: connect(redis_url).zrange("owners:cluster.prod", 0, -1) == [b"0a1b"])
    fetcher = fetchers.of_queue("cluster.prod")
    assert fetcher is not None
    fetcher.start(lambda: None)
    until(lambda: alive(beats) == {"dev", "prod"})
    heart.stop()
    fetchers.give_back()
    until(lambda: alive(beats) == set())


def test_however_much_somebody_is_in_a_hurry_beats_do_not_spin(redis_url: str) -> None:
    beats = Heartbeats(redis_url)
    standing = Standing()
    heart = Heart(beats, ("prod",), Fetchers(Leases(redis_url, "0a1b")), lambda: NOW_MS, standing)
    heard: list[float] = []
    standing.listen(lambda cluster, told: (heard.append(monotonic()), standing.hurried.set())[0])
    heart.start()
    until(lambda: len(heard) >= 4)
    heart.stop()
    until(lambda: not alive(beats))
    # Each is at least so much later than the one before, whatever the machine does.
    assert heard[3] - heard[0] > 2 * heartbeat._APART_S


def test_workers_that_are_gone_are_forgotten_by_the_beat_of_the_next(redis_url: str) -> None:
    beats, client = Heartbeats(redis_url), connect(redis_url)
    seconds, _ = client.time()
    client.hset("beats:prod", mapping={f"gone:{n}": f"{seconds * 1000 - 61_000} 0 3500" for n in range(500)})
    client.hset("beats:prod", "just gone", f"{seconds * 1000 - 30_000} 0 3500")
    beats.beat(("prod",), "next", NOW_MS)
    assert set(client.hkeys("beats:prod")) == {b"just gone", b"next"}


def test_a_spoilt_key_of_one_cluster_hides_no_other(redis_url: str) -> None:
    beats = Heartbeats(redis_url)
    beats.beat(("prod",), "w", NOW_MS)
    connect(redis_url).set("beats:dev", "x")
    assert alive(beats) == {"prod"}

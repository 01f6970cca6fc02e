from collections.abc import Callable
from time import monotonic, sleep

import pytest

from federation_core.connectors.stores.jobs_beats import ALIVE_MS, Heartbeats
from workers import heartbeat
from workers.heartbeat import Heart, worker_name

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
    heart = Heart(beats, ("dev", "prod"), "0a1b", lambda: NOW_MS)
    heart.start()
    until(lambda: alive(beats) == {"dev", "prod"})
    assert beats.latest(("prod",), NOW_MS)["prod"].worker == worker_name("0a1b")
    heart.stop()
    until(lambda: alive(beats) == set())
    # It said that it leaves; it was not merely silent for long enough.
    assert beats.latest(("prod",), NOW_MS)["prod"].last_seen_ms > NOW_MS - ALIVE_MS


def test_a_heart_goes_on_after_redis_was_away(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_EVERY_S", 0.01)
    beats, away = Heartbeats(redis_url), Heartbeats("redis://127.0.0.1:1/0")
    heart = Heart(away, ("prod",), "0a1b", lambda: NOW_MS)
    heart.start()
    sleep(0.05)
    assert alive(beats) == set()
    heart._beats = beats
    until(lambda: alive(beats) == {"prod"})
    heart.stop()

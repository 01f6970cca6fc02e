import pytest

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.jobs_beats import ALIVE_MS, Heartbeats, presence
from federation_core.connectors.stores.redis import connect
from federation_core.times import format_time

DAY_MS = 86_400_000
NOW_MS = 1_700_000_000_000


@pytest.fixture
def beats(redis_url: str) -> Heartbeats:
    return Heartbeats(redis_url)


def age(redis_url: str, cluster: str, worker: str, by_ms: int) -> None:
    """Make a beat older than it is, as if the worker had fallen silent."""
    client = connect(redis_url)
    seen, clock, alive = client.hget(keys.beats(cluster), worker).split()
    client.hset(keys.beats(cluster), worker, b"%d %s %s" % (int(seen) - by_ms, clock, alive))


def test_a_worker_that_beats_is_alive_for_all_its_clusters(beats: Heartbeats) -> None:
    beats.beat(("prod", "dev"), "w", NOW_MS)
    found = beats.latest(("prod", "dev", "stage"), NOW_MS)
    assert {name: beat.alive for name, beat in found.items()} == {"prod": True, "dev": True}
    assert found["prod"].worker == "w"


def test_a_silent_worker_is_dead_but_remembered(beats: Heartbeats, redis_url: str) -> None:
    beats.beat(("prod",), "w", NOW_MS)
    age(redis_url, "prod", "w", ALIVE_MS + 1_000)
    beat = beats.latest(("prod",), NOW_MS)["prod"]
    assert not beat.alive
    assert NOW_MS - ALIVE_MS - 1_500 < beat.last_seen_ms <= NOW_MS - ALIVE_MS - 1_000


def test_one_living_worker_is_enough(beats: Heartbeats, redis_url: str) -> None:
    beats.beat(("prod",), "old", NOW_MS)
    beats.beat(("prod",), "new", NOW_MS)
    age(redis_url, "prod", "old", ALIVE_MS + 1_000)
    beat = beats.latest(("prod",), NOW_MS)["prod"]
    assert (beat.worker, beat.alive) == ("new", True)


def test_a_worker_that_leaves_is_dead_at_once_and_its_fellow_lives(beats: Heartbeats) -> None:
    beats.beat(("prod",), "staying", NOW_MS)
    beats.beat(("prod",), "leaving", NOW_MS)
    beats.beat(("prod",), "leaving", NOW_MS, alive_ms=0)
    assert beats.latest(("prod",), NOW_MS)["prod"].worker == "staying"
    beats.beat(("prod",), "staying", NOW_MS, alive_ms=0)
    assert not beats.latest(("prod",), NOW_MS)["prod"].alive


@pytest.mark.parametrize("skew_ms", [-300_000, 0, 300_000])
def test_a_wrong_clock_neither_kills_nor_preserves_and_is_shown(beats: Heartbeats, skew_ms: int) -> None:
    beats.beat(("prod",), "w", NOW_MS + skew_ms)
    beat = beats.latest(("prod",), NOW_MS)["prod"]
    assert beat.alive
    assert abs(beat.last_seen_ms - NOW_MS) < 1_000
    assert abs(beat.clock_skew_ms - skew_ms) < 1_000


def test_workers_of_days_ago_are_forgotten(beats: Heartbeats, redis_url: str) -> None:
    beats.beat(("prod",), "old", NOW_MS)
    age(redis_url, "prod", "old", DAY_MS + 1_000)
    beats.beat(("prod",), "new", NOW_MS)
    assert connect(redis_url).hkeys(keys.beats("prod")) == [b"new"]


def test_a_beat_that_cannot_be_read_is_no_beat(beats: Heartbeats, redis_url: str) -> None:
    connect(redis_url).hset(keys.beats("prod"), "w", "junk")
    assert beats.latest(("prod",), NOW_MS) == {}


def test_it_is_known_why_and_since_when_a_cluster_has_no_worker(beats: Heartbeats, redis_url: str) -> None:
    for cluster in ("left", "lost", "here"):
        beats.beat((cluster,), "w", NOW_MS)
    beats.beat(("left",), "w", NOW_MS, alive_ms=0)
    age(redis_url, "lost", "w", ALIVE_MS + 60_000)
    names = ("left", "lost", "never", "here")
    found = presence(names, beats.latest(names, NOW_MS))
    assert found == {"here"}
    assert found.absent["left"].startswith(f"its last worker said at {format_time(NOW_MS)[:-8]}")
    assert found.absent["lost"].startswith("its last worker was lost, last heard of at ")
    assert found.absent["never"] == "no worker of it was seen in the last day"


def test_one_that_left_after_another_was_lost_is_the_reason(beats: Heartbeats, redis_url: str) -> None:
    beats.beat(("prod",), "lost", NOW_MS)
    age(redis_url, "prod", "lost", ALIVE_MS + 60_000)
    beats.beat(("prod",), "leaving", NOW_MS, alive_ms=0)
    assert "leaving" in beats.latest(("prod",), NOW_MS)["prod"].why_absent


def test_what_evaluates_in_a_cluster_is_said_along_and_stays_said(beats: Heartbeats) -> None:
    beats.beat(("dev", "prod"), "w", NOW_MS, engines={"prod": "Prometheus/2.42/eg"})
    beats.beat(("dev", "prod"), "w", NOW_MS)
    found = presence(("dev", "prod"), beats.latest(("dev", "prod"), NOW_MS))
    assert (set(found), dict(found.engines)) == ({"dev", "prod"}, {"prod": "Prometheus/2.42/eg"})


def test_a_cluster_without_a_worker_has_no_engine(beats: Heartbeats) -> None:
    beats.beat(("prod",), "w", NOW_MS, engines={"prod": "ours"})
    beats.beat(("prod",), "w", NOW_MS, alive_ms=0)
    assert presence(("prod",), beats.latest(("prod",), NOW_MS)).engines == {}


def test_an_engine_of_which_no_worker_speaks_any_more_is_forgotten(beats: Heartbeats, redis_url: str) -> None:
    client = connect(redis_url)
    seconds, _ = client.time()
    client.hset(keys.beats("prod"), "engine", f"{seconds * 1000 - 61_000} Prometheus/2.42/eg")
    beats.beat(("prod",), "w", NOW_MS)
    assert beats.latest(("prod",), NOW_MS)["prod"].engine == ""


def test_sites_are_upgraded_one_after_another(beats: Heartbeats, redis_url: str) -> None:
    """The beats of an older worker have no engine; an older reader finds three numbers for every worker of ours."""
    client = connect(redis_url)
    seconds, _ = client.time()
    client.hset(keys.beats("prod"), "here:1:a", f"{seconds * 1000} {NOW_MS} {ALIVE_MS}")
    beats.beat(("dev",), "here:2:b", NOW_MS, engines={"dev": "ours"})
    found = beats.latest(("dev", "prod"), NOW_MS)
    assert {name: (beat.alive, beat.engine) for name, beat in found.items()} == {
        "dev": (True, "ours"),
        "prod": (True, ""),
    }
    assert len(client.hget(keys.beats("dev"), "here:2:b").split()) == 3


def test_a_word_that_somebody_has_spoilt_is_cut_and_costs_no_beat(beats: Heartbeats, redis_url: str) -> None:
    beats.beat(("prod",), "w", NOW_MS)
    connect(redis_url).hset(keys.beats("prod"), "engine", b"1 " + b"\xff" * 9_000)
    beat = beats.latest(("prod",), NOW_MS)["prod"]
    assert (beat.alive, len(beat.engine)) == (True, 80)

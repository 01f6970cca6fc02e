import pytest

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.backend_health import BackendHealths, row_of
from federation_core.connectors.stores.breakers import FAILURES, FIRST_PAUSE_MS, Sighting
from federation_core.connectors.stores.jobs_beats import ALIVE_MS, Heartbeats, Seen, Told, presence
from federation_core.connectors.stores.redis import connect
from federation_core.health import BackendHealth, Breaker
from federation_core.times import format_time
from tests.support.redis_monitor import monitoring

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


ABLE = {"prod": {"metrics"}, "dev": {"metrics"}}
DEAD = Seen({"metrics": Sighting(failed=FAILURES, words="no connection to the backend: Connection refused")})
LIVES = Seen({"metrics": Sighting(answered=True)})


def wait_until_due(redis_url: str, cluster: str) -> None:
    """Let the pause of every breaker be over."""
    client = connect(redis_url)
    for entry, value in client.hgetall(keys.breaker(cluster)).items():
        parts = value.split(b" ")
        client.hset(keys.breaker(cluster), entry, b" ".join([*parts[:3], b"1", *parts[4:]]))


def test_a_beat_is_told_how_many_workers_serve_each_cluster_and_which_of_them_it_is(
    beats: Heartbeats, redis_url: str
) -> None:
    beats.beat(("prod", "dev"), "b", NOW_MS)
    beats.beat(("prod",), "a", NOW_MS)
    client = connect(redis_url)
    seconds, _ = client.time()
    # What another release, a lost one and one that left have said.
    client.hset(keys.beats("prod"), "0", f"{seconds * 1000} {NOW_MS} {ALIVE_MS}")
    client.hset(keys.beats("prod"), "00", f"{seconds * 1000 - 10_000} {NOW_MS} {ALIVE_MS}")
    client.hset(keys.beats("prod"), "000", f"{seconds * 1000} {NOW_MS} 0")
    told = beats.beat(("prod", "dev"), "c", NOW_MS)
    assert [(told[name].processes, told[name].rank) for name in ("prod", "dev")] == [(4, 3), (2, 1)]
    assert beats.beat(("prod",), "a", NOW_MS)["prod"] == Told(4, 1, {}, frozenset())


def test_one_that_leaves_has_the_others_take_its_share(beats: Heartbeats) -> None:
    beats.beat(("prod",), "a", NOW_MS)
    beats.beat(("prod",), "b", NOW_MS)
    assert beats.beat(("prod",), "a", NOW_MS, alive_ms=0)["prod"].processes == 1
    told = beats.beat(("prod",), "b", NOW_MS)["prod"]
    assert (told.processes, told.rank) == (1, 0)


def test_a_backend_that_fails_is_shut_for_all_workers_and_readers_and_opens_when_one_says_so(
    beats: Heartbeats, redis_url: str
) -> None:
    beats.beat(("prod", "dev"), "a", NOW_MS, seen={"prod": DEAD}, number=1, probes=ABLE)
    told = beats.beat(("prod", "dev"), "b", NOW_MS, number=1, probes=ABLE)
    assert (told["prod"].breakers["metrics"].state, told["dev"].breakers) == (Breaker.OPEN, {})
    found = presence(("prod", "dev"), beats.latest(("prod", "dev"), NOW_MS))
    (breaker,) = found.breakers["prod"].values()
    assert (breaker.state, breaker.words) == (Breaker.OPEN, "no connection to the backend: Connection refused")
    assert 0 < breaker.retry_ms - NOW_MS <= FIRST_PAUSE_MS
    assert set(found.breakers) == {"prod"}
    wait_until_due(redis_url, "prod")
    assert beats.beat(("prod",), "b", NOW_MS, probes=ABLE)["prod"].to_probe == {"metrics"}
    # One that lacks the entry is told nothing, and all that have it are.
    assert beats.beat(("prod",), "a", NOW_MS, probes={"prod": {"logs"}})["prod"].to_probe == frozenset()
    assert beats.beat(("prod",), "c", NOW_MS, probes=ABLE)["prod"].to_probe == {"metrics"}
    beats.beat(("prod",), "b", NOW_MS, seen={"prod": LIVES}, number=2, probes=ABLE)
    assert connect(redis_url).exists(keys.breaker("prod")) == 0
    assert presence(("prod",), beats.latest(("prod",), NOW_MS)).breakers == {}


def test_a_worker_that_probes_nothing_is_told_to_probe_nothing(beats: Heartbeats, redis_url: str) -> None:
    beats.beat(("prod",), "a", NOW_MS, seen={"prod": DEAD}, number=1)
    wait_until_due(redis_url, "prod")
    told = beats.beat(("prod",), "a", NOW_MS)["prod"]
    assert (told.to_probe, told.breakers["metrics"].state) == (frozenset(), Breaker.OPEN)


def test_while_all_is_well_nothing_is_kept_of_the_breakers(beats: Heartbeats, redis_url: str) -> None:
    beats.beat(("prod",), "a", NOW_MS, seen={"prod": LIVES}, number=1)
    assert connect(redis_url).keys("breaker:*") == []


def test_what_is_kept_of_breakers_and_health_has_an_end(beats: Heartbeats, redis_url: str) -> None:
    row = row_of(BackendHealth("metrics", "prometheus", True))
    beats.beat(("prod",), "a", NOW_MS, seen={"prod": Seen(DEAD.sightings, {"metrics": (0, row)})}, number=1)
    assert 0 < connect(redis_url).pttl(keys.breaker("prod")) <= 90_000
    assert 0 < connect(redis_url).pttl(keys.health("prod")) <= DAY_MS


def test_a_row_comes_with_the_beat_and_is_as_old_as_its_probe(beats: Heartbeats, redis_url: str) -> None:
    row = row_of(BackendHealth("metrics", "prometheus", False, error='it says "no"\nand more'))
    beats.beat(("prod",), "a", NOW_MS - 300_000, seen={"prod": Seen({}, {"metrics": (2_000, row)})}, number=1)
    health = BackendHealths(redis_url).of(("prod",), NOW_MS)["prod"]["metrics"]
    assert (health.up, health.error) == (False, 'it says "no"\nand more')
    assert health.checked_ms is not None
    assert abs(health.checked_ms - (NOW_MS - 2_000)) < 1_000


def shown(beats: Heartbeats, worker: str, up: bool, number: int = 1, **more: int) -> None:
    error = "" if up else "refused (401)"
    row = row_of(BackendHealth("metrics", "prometheus", up, error=error))
    beats.beat(("prod",), worker, NOW_MS, seen={"prod": Seen({}, {"metrics": (0, row)})}, number=number, **more)


def seen_of(redis_url: str) -> tuple[bool | None, str]:
    health = BackendHealths(redis_url).of(("prod",), NOW_MS)["prod"]["metrics"]
    return health.up, health.error


@pytest.mark.parametrize("order", ["ab", "ba", "abab", "baba"])
def test_a_backend_that_one_of_two_workers_cannot_use_is_up_and_says_so_whoever_spoke_last(
    beats: Heartbeats, redis_url: str, order: str
) -> None:
    for number, worker in enumerate(order):
        shown(beats, worker, up=worker == "b", number=number)
    assert seen_of(redis_url) == (True, "1 of 2 workers cannot use it: refused (401)")


def test_the_row_of_a_worker_that_is_gone_is_no_word_against_the_others(beats: Heartbeats, redis_url: str) -> None:
    shown(beats, "a", up=False)
    shown(beats, "b", up=True)
    beats.beat(("prod",), "a", NOW_MS, alive_ms=0)
    shown(beats, "b", up=True, number=2)
    assert seen_of(redis_url) == (True, "")
    assert connect(redis_url).hkeys(keys.health("prod")) == [b"metrics b"]


def test_what_the_last_worker_has_seen_is_there_when_it_is_gone(beats: Heartbeats, redis_url: str) -> None:
    shown(beats, "a", up=False)
    shown(beats, "a", up=False, number=2, alive_ms=0)
    assert seen_of(redis_url) == (False, "refused (401)")


@pytest.mark.parametrize("key", [keys.breaker("dev"), keys.health("dev")])
def test_a_key_that_was_spoilt_costs_no_cluster_its_beat_and_is_mended(
    beats: Heartbeats, redis_url: str, key: str
) -> None:
    connect(redis_url).set(key, "x")
    row = row_of(BackendHealth("metrics", "prometheus", True))
    seen = {name: Seen(DEAD.sightings, {"metrics": (0, row)}) for name in ("dev", "prod")}
    told = beats.beat(("dev", "prod"), "a", NOW_MS, seen=seen, number=1)
    assert [told[name].breakers["metrics"].state for name in ("dev", "prod")] == [Breaker.OPEN] * 2
    assert connect(redis_url).type(key) == b"hash"


def test_a_breaker_that_cannot_be_read_is_none_and_goes_with_the_next_word(beats: Heartbeats, redis_url: str) -> None:
    connect(redis_url).hset(keys.breaker("prod"), mapping={"metrics": "junk", "logs": "junk"})
    assert beats.beat(("prod",), "a", NOW_MS, seen={"prod": LIVES}, number=1)["prod"].breakers == {}
    assert connect(redis_url).exists(keys.breaker("prod")) == 0


def test_a_spoilt_breaker_of_one_cluster_costs_no_reader_another(beats: Heartbeats, redis_url: str) -> None:
    beats.beat(("prod", "dev"), "a", NOW_MS, seen={"prod": DEAD}, number=1)
    connect(redis_url).set(keys.breaker("dev"), "x")
    found = presence(("prod", "dev"), beats.latest(("prod", "dev"), NOW_MS))
    assert (set(found), set(found.breakers)) == ({"prod", "dev"}, {"prod"})


def test_a_beat_is_one_command_whatever_it_brings(beats: Heartbeats, redis_url: str) -> None:
    beats.beat(("prod", "dev"), "a", NOW_MS)
    row = {"metrics": (0, row_of(BackendHealth("metrics", "prometheus", True)))}
    with monitoring(redis_url) as said:
        seen = {"prod": Seen(DEAD.sightings, row), "dev": Seen(LIVES.sightings, row)}
        beats.beat(("prod", "dev"), "a", NOW_MS, seen=seen, number=1, probes=ABLE)
    asked = [one["command"].split(" ")[0] for one in said if one["client_type"] != "lua"]
    # The other is the watching's own.
    assert [command for command in asked if command != "HELLO"] == ["EVALSHA"]

"""What a worker has seen of backends, read by somebody with another clock."""

import pytest

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.backend_health import BackendHealths, row_of
from federation_core.connectors.stores.redis import connect
from federation_core.health import About, BackendHealth, Breaker

NOW_MS = 1_700_000_000_000
UP = BackendHealth("metrics", "prometheus", True, latency_ms=7, about=About("Prometheus 2.42.0", 5))
DOWN = BackendHealth("logs", "loki", False, latency_ms=2_000, error="no connection to the backend: Connection refused")


def write(redis_url: str, cluster: str, health: BackendHealth, age_ms: int = 0) -> None:
    client = connect(redis_url)
    seconds, micros = client.time()
    at_ms = seconds * 1000 + micros // 1000 - age_ms
    client.hset(keys.health(cluster), health.signal, f"{at_ms} {row_of(health)}")


def break_(redis_url: str, cluster: str, entry: str, state: str, retry_in_ms: int = 0) -> None:
    client = connect(redis_url)
    seconds, micros = client.time()
    now_ms = seconds * 1000 + micros // 1000
    value = f"{state} 4 {now_ms - 60_000} {now_ms + retry_in_ms} 2000 - w#1 the backend refuses us (401)"
    client.hset(keys.breaker(cluster), entry, value)


def test_a_row_says_how_a_backend_was_and_how_long_ago(redis_url: str) -> None:
    write(redis_url, "prod", UP, age_ms=30_000)
    write(redis_url, "prod", DOWN)
    found = BackendHealths(redis_url).of(("prod", "dev"), NOW_MS)
    assert (set(found), set(found["prod"]), found["dev"]) == ({"prod", "dev"}, {"metrics", "logs"}, {})
    up, down = found["prod"]["metrics"], found["prod"]["logs"]
    assert (up.up, up.kind, up.latency_ms, up.about, up.error) == (True, "prometheus", 7, UP.about, "")
    assert (down.up, down.error, down.about) == (False, DOWN.error, About())
    assert up.checked_ms is not None
    assert abs(up.checked_ms - (NOW_MS - 30_000)) < 1_000


def test_a_breaker_is_told_with_the_row_or_without_one(redis_url: str) -> None:
    write(redis_url, "prod", DOWN)
    break_(redis_url, "prod", "logs", "open", 8_000)
    break_(redis_url, "prod", "traces", "half_open", 5_000)
    break_(redis_url, "prod", "metrics", "closed")
    found = BackendHealths(redis_url).of(("prod",), NOW_MS)["prod"]
    logs, traces, metrics = found["logs"], found["traces"], found["metrics"]
    assert (logs.up, logs.breaker, logs.failures) == (False, Breaker.OPEN, 4)
    assert logs.retry_ms is not None
    assert logs.breaker_since_ms is not None
    assert abs(logs.retry_ms - NOW_MS - 8_000) < 1_000
    assert abs(logs.breaker_since_ms - NOW_MS + 60_000) < 1_000
    assert (traces.up, traces.breaker, traces.checked_ms) == (None, Breaker.HALF_OPEN, None)
    assert (metrics.breaker, metrics.failures, metrics.retry_ms) == (Breaker.CLOSED, 4, None)


@pytest.mark.parametrize("spoilt", [b"", b"junk", b"5 {", b"5 []", b'5 {"up":1}', b'x {"up":true}', b"\xff \xff"])
def test_what_cannot_be_read_is_passed_over(redis_url: str, spoilt: bytes) -> None:
    write(redis_url, "prod", UP)
    connect(redis_url).hset(keys.health("prod"), "logs", spoilt)
    connect(redis_url).hset(keys.breaker("prod"), "traces", spoilt)
    assert set(BackendHealths(redis_url).of(("prod",), NOW_MS)["prod"]) == {"metrics"}


def test_a_spoilt_key_of_one_cluster_costs_no_other(redis_url: str) -> None:
    write(redis_url, "prod", UP)
    for key in (keys.health("dev"), keys.breaker("dev")):
        connect(redis_url).set(key, "x")
    found = BackendHealths(redis_url).of(("prod", "dev"), NOW_MS)
    assert (set(found["prod"]), found["dev"]) == ({"metrics"}, {})


def test_a_field_of_a_wrong_kind_costs_itself_alone(redis_url: str) -> None:
    client = connect(redis_url)
    client.hset(keys.health("prod"), "logs", b'5 {"up":true,"kind":7,"latency_ms":"x","error":null,"newest_ms":true}')
    found = BackendHealths(redis_url).of(("prod",), NOW_MS)["prod"]["logs"]
    assert (found.up, found.kind, found.latency_ms, found.error, found.about) == (True, "", None, "", About())

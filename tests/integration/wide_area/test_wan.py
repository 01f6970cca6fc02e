"""The wide-area link of the tests does what its modes say; otherwise what passes behind it would prove nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.wan import Wan

pytestmark = pytest.mark.heavy
DELAY_MS = 20
#: Of what a reply must not be late by on a busy machine, and would be if a mode did nothing.
SOON_S = 0.5


@pytest.fixture
def wan(redis_url: str) -> Iterator[Wan]:
    with Wan(int(redis_url.rpartition(":")[2].partition("/")[0]), DELAY_MS) as wan:
        yield wan


def client(wan: Wan, redis_url: str, link: str = "dev") -> redis.Redis:
    """Connect through a link, without a retry that would hide what it does."""
    behind = f"{redis_url.rpartition(':')[0]}:{wan.open(link)}/0"
    return redis.Redis.from_url(behind, socket_timeout=SOON_S, retry=Retry(NoBackoff(), 0))


def test_a_reply_takes_a_round_trip_and_a_new_connection_one_more(wan: Wan, redis_url: str) -> None:
    far = client(wan, redis_url)
    started_s = time.monotonic()
    far.ping()
    connected_s = time.monotonic()
    far.ping()
    assert time.monotonic() - connected_s >= 2 * DELAY_MS / 1000
    assert connected_s - started_s >= 4 * DELAY_MS / 1000


def test_all_bytes_arrive_in_order_and_are_counted(wan: Wan, redis_url: str) -> None:
    far = client(wan, redis_url)
    large = bytes(range(256)) * 16_384
    far.set("large", large)
    assert far.get("large") == large
    traffic = wan.traffic()["dev"]
    assert len(large) < traffic.up_bytes < len(large) + 1_000
    assert len(large) < traffic.down_bytes < len(large) + 1_000
    assert len(traffic.ports) == 1


def test_commands_sent_without_waiting_arrive_together(wan: Wan, redis_url: str) -> None:
    far = client(wan, redis_url)
    far.ping()
    started_s = time.monotonic()
    with far.pipeline(transaction=False) as pipe:
        for number in range(100):
            pipe.set(f"key:{number}", "1")
        pipe.execute()
    assert time.monotonic() - started_s < 100 * DELAY_MS / 1000


def test_a_closed_link_ends_its_connections_and_refuses_new_ones(wan: Wan, redis_url: str) -> None:
    far, other = client(wan, redis_url), client(wan, redis_url, "prod")
    far.ping()
    wan.set_mode("close", "dev")
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            far.ping()
    assert other.ping()
    wan.set_mode("ok", "dev")
    assert far.ping()


def test_a_hanging_link_loses_what_is_sent_and_its_connections_stay_dead(wan: Wan, redis_url: str) -> None:
    near, far, later = redis.Redis.from_url(redis_url), client(wan, redis_url), client(wan, redis_url)
    far.ping()
    wan.set_mode("hang")
    for hanging in (far, later):
        with pytest.raises(redis.TimeoutError):
            hanging.set("key", "1")
    connections = len(near.client_list())
    held = client(wan, redis_url)
    wan.set_mode("ok")
    assert held.ping()
    assert near.get("key") is None
    # Redis has not been told that the first one is gone.
    assert len(near.client_list()) == connections + 1


def test_a_connection_that_waits_in_a_hanging_link_is_not_woken_by_its_return(wan: Wan, redis_url: str) -> None:
    near, far = redis.Redis.from_url(redis_url), client(wan, redis_url)
    far.ping()
    connection = far.connection_pool.get_connection()
    connection.send_command("BLPOP", "list", 0)
    time.sleep(5 * DELAY_MS / 1000)
    wan.set_mode("hang")
    wan.set_mode("ok")
    near.rpush("list", "lost")
    with pytest.raises(redis.TimeoutError):
        connection.read_response()
    assert near.llen("list") == 0


def test_a_stalled_link_delivers_everything_once_it_moves_again(wan: Wan, redis_url: str) -> None:
    near, far = redis.Redis.from_url(redis_url), client(wan, redis_url)
    far.ping()
    connection = far.connection_pool.get_connection()
    wan.set_mode("stall")
    for number in range(3):
        connection.send_command("RPUSH", "list", number)
    time.sleep(5 * DELAY_MS / 1000)
    assert near.llen("list") == 0
    wan.set_mode("ok")
    assert [connection.read_response() for _ in range(3)] == [1, 2, 3]
    assert near.lrange("list", 0, -1) == [b"0", b"1", b"2"]

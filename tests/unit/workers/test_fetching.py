"""Fetching: every message comes once, no more of them than there is room for, whatever becomes of the connection."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores import moves
from federation_core.connectors.stores.leases import LOST_AFTER_MS, Leases, LostLeases
from federation_core.connectors.stores.redis import EmbeddedRedis, connect
from federation_core.errors import StoreUnavailable
from tests.support.redis_server import redis_server, redis_url
from workers.fetching import Fetcher

__all__ = ["redis_server", "redis_url"]
OWNER, QUEUE, LEASE = "0a1b", "cluster.prod", "lease:cluster.prod:0a1b"


class Worker:
    """Takes what a fetcher brings, as the event loop of a worker does."""

    def __init__(self, url: str, room: int, owner: str = OWNER) -> None:
        self.fetcher = Fetcher(Leases(url, owner).queue("prod"), room)
        self.tags: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self.start()

    def start(self) -> None:
        self.fetcher.start(self._take)

    def _take(self) -> None:
        while (message := self.fetcher.take()) is not None:
            self.messages.append(message)
            self.tags.append(message["properties"]["delivery_tag"])


def message(tag: str) -> bytes:
    return json.dumps(
        {"body": "", "headers": {"id": tag}, "properties": {"delivery_tag": tag, "delivery_info": {}}}
    ).encode()


def send(url: str, *tags: str) -> None:
    connect(url).lpush(QUEUE, *(message(tag) for tag in tags))


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def leased(url: str, lease: str = LEASE) -> list[str]:
    return [json.loads(raw)["properties"]["delivery_tag"] for raw in connect(url).lrange(lease, 0, -1)]


@pytest.fixture
def workers(redis_url: str) -> Iterator[Callable[..., Worker]]:
    started: list[Worker] = []

    def start(room: int = 4, owner: str = OWNER) -> Worker:
        started.append(Worker(redis_url, room, owner))
        return started[-1]

    yield start
    for worker in started:
        worker.fetcher.stop()


def test_messages_come_in_their_order_and_are_leased(redis_url: str, workers: Callable[..., Worker]) -> None:
    worker = workers(room=8)
    send(redis_url, "1", "2", "3")
    until(lambda: worker.tags == ["1", "2", "3"])
    assert connect(redis_url).llen(QUEUE) == 0
    assert leased(redis_url) == ["3", "2", "1"]


def test_no_more_come_than_there_is_room_for(redis_url: str, workers: Callable[..., Worker]) -> None:
    worker = workers(room=2)
    send(redis_url, "1", "2", "3", "4", "5")
    until(lambda: connect(redis_url).llen(QUEUE) == 3)
    time.sleep(0.1)
    assert worker.tags == ["1", "2"]
    worker.fetcher.done("1")
    until(lambda: worker.tags == ["1", "2", "3"])
    assert connect(redis_url).llen(QUEUE) == 2


def test_a_look_ends_the_lease_of_what_is_dealt_with(redis_url: str, workers: Callable[..., Worker]) -> None:
    worker = workers()
    send(redis_url, "1", "2")
    until(lambda: worker.tags == ["1", "2"])
    worker.fetcher.done("1")
    worker.fetcher.look()
    assert leased(redis_url) == ["2"]
    assert not worker.fetcher.holds("1")
    assert worker.fetcher.holds("2")


def test_a_message_that_is_sent_twice_comes_once(redis_url: str, workers: Callable[..., Worker]) -> None:
    worker = workers()
    send(redis_url, "1", "1", "2")
    until(lambda: worker.tags == ["1", "2"])
    worker.fetcher.done("1")
    send(redis_url, "1", "3")
    until(lambda: worker.tags == ["1", "2", "3"])
    worker.fetcher.look()
    assert leased(redis_url) == ["3", "2"]


@pytest.mark.parametrize(
    "nonsense",
    [b"poison", b"", b"\xff", b"[" * 100_000, b"null", b"[1]", b"{}", b'{"properties": {"delivery_tag": 7}}'],
)
def test_nonsense_is_thrown_away(redis_url: str, workers: Callable[..., Worker], nonsense: bytes) -> None:
    worker = workers()
    connect(redis_url).lpush(QUEUE, nonsense)
    send(redis_url, "1")
    until(lambda: worker.tags == ["1"])
    worker.fetcher.look()
    assert leased(redis_url) == ["1"]


def test_every_message_comes_once_though_the_connection_is_lost_again_and_again(
    redis_url: str, workers: Callable[..., Worker]
) -> None:
    worker, client = workers(room=5), connect(redis_url)
    sent = [str(number) for number in range(300)]
    for number, tag in enumerate(sent):
        send(redis_url, tag)
        if number % 10 == 5:
            client.client_kill_filter(_type="normal", skipme=True)
        for done in worker.tags[-3:]:
            worker.fetcher.done(done)

    def all_done() -> bool:
        for tag in list(worker.tags):
            worker.fetcher.done(tag)
        return len(worker.tags) >= len(sent)

    until(all_done)
    assert sorted(worker.tags, key=int) == sent

    def nothing_is_left() -> bool:
        # A client whose connection is closed sends again what had arrived.
        worker.fetcher.look()
        return connect(redis_url).llen(QUEUE) == 0 and leased(redis_url) == []

    until(nothing_is_left)
    assert sorted(worker.tags, key=int) == sent


def test_what_redis_moved_and_nobody_received_comes_at_the_second_look(
    redis_url: str, workers: Callable[..., Worker]
) -> None:
    worker = workers()
    send(redis_url, "1")
    until(lambda: worker.tags == ["1"])
    connect(redis_url).lpush(LEASE, message("lost"))
    worker.fetcher.look()
    assert worker.tags == ["1"]
    worker.fetcher.look()
    assert worker.tags == ["1", "lost"]
    worker.fetcher.look()
    assert worker.tags == ["1", "lost"]


def test_what_was_leased_before_a_start_comes_first(redis_url: str, workers: Callable[..., Worker]) -> None:
    worker = workers()
    send(redis_url, "1")
    until(lambda: worker.tags == ["1"])
    worker.fetcher.stop()
    connect(redis_url).lpush(LEASE, message("2"))
    send(redis_url, "3")
    worker.start()
    until(lambda: len(worker.tags) == 3)
    # The first is still being dealt with, and does not come again.
    assert worker.tags == ["1", "2", "3"]


def test_what_is_given_back_is_read_next_in_its_order(redis_url: str, workers: Callable[..., Worker]) -> None:
    worker = workers()
    send(redis_url, "1", "2", "3", "4")
    until(lambda: len(worker.tags) == 4)
    send(redis_url, "5")
    worker.fetcher.done("2")
    worker.fetcher.give_back()
    assert leased(redis_url) == []
    other = workers(room=9, owner="other")
    until(lambda: len(other.tags) == 4)
    assert other.tags == ["1", "3", "4", "5"]
    assert not any("redelivered" in message["headers"] for message in other.messages)


def test_a_message_that_is_put_back_comes_marked(redis_url: str, workers: Callable[..., Worker]) -> None:
    worker = workers()
    send(redis_url, "1")
    until(lambda: worker.tags == ["1"])
    worker.fetcher.put_back("1")
    until(lambda: worker.tags == ["1", "1"])
    assert [message["headers"].get("redelivered") for message in worker.messages] == [None, True]


def age(url: str, owner: str, by_ms: int, cluster: str = "prod") -> None:
    """Have an owner be silent for some time longer."""
    connect(url).zincrby(keys.lease_owners(keys.cluster_queue(cluster)), -by_ms, owner)


def listening_for(url: str, ms: int) -> None:
    """Have somebody listened for so long, until now."""
    seconds, micros = connect(url).time()
    now_ms = seconds * 1000 + micros // 1000
    connect(url).hset(keys.LISTENING, mapping={"since": now_ms - ms, "last": now_ms})


def test_the_leases_of_an_owner_that_is_silent_are_put_back_marked(redis_url: str) -> None:
    client = connect(redis_url)
    for owner in ("dead", "speaking"):
        Leases(redis_url, owner).hold(["prod"])
        client.lpush(keys.lease(QUEUE, owner), message(owner), b"nonsense")
    lost = LostLeases(redis_url)
    listening_for(redis_url, LOST_AFTER_MS + 100)
    assert lost.put_back(["prod", "stage"]) == 0
    age(redis_url, "dead", LOST_AFTER_MS + 100)
    assert lost.put_back(["prod", "stage"]) == 2
    assert lost.put_back(["prod", "stage"]) == 0
    assert client.llen(keys.lease(QUEUE, "speaking")) == 2
    back = client.lrange(QUEUE, 0, -1)
    assert back[0] == b"nonsense"
    assert json.loads(back[1])["headers"] == {"id": "dead", "redelivered": True}
    assert 0 < client.pttl(QUEUE) <= keys.QUEUE_TTL_MS
    # Once nothing is leased to it, a dead owner is forgotten.
    assert client.zrange(keys.lease_owners(QUEUE), 0, -1) == [b"speaking"]


def test_what_nobody_was_there_to_hear_is_nobodys_silence(redis_url: str) -> None:
    Leases(redis_url, "away").hold(["prod"])
    connect(redis_url).lpush(keys.lease(QUEUE, "away"), message("1"))
    lost = LostLeases(redis_url)
    # Redis was away, and this is the first that is heard of it.
    age(redis_url, "away", 60_000)
    assert lost.put_back(["prod"]) == 0
    listening_for(redis_url, LOST_AFTER_MS - 500)
    assert lost.put_back(["prod"]) == 0
    listening_for(redis_url, LOST_AFTER_MS + 500)
    connect(redis_url).hincrby(keys.LISTENING, "last", -4_000)
    assert lost.put_back(["prod"]) == 0
    listening_for(redis_url, LOST_AFTER_MS + 500)
    assert lost.put_back(["prod"]) == 1


def test_a_spoilt_key_of_one_cluster_costs_the_others_nothing(redis_url: str) -> None:
    client = connect(redis_url)
    for cluster in ("prod", "stage", "test"):
        queue = keys.cluster_queue(cluster)
        Leases(redis_url, "dead").hold([cluster])
        client.lpush(keys.lease(queue, "dead"), message(cluster))
        age(redis_url, "dead", LOST_AFTER_MS + 100, cluster)
    client.set(keys.lease_owners("cluster.stage"), "x")
    client.set(keys.lease("cluster.test", "dead"), "x")
    listening_for(redis_url, LOST_AFTER_MS + 100)
    assert LostLeases(redis_url).put_back(["stage", "test", "prod"]) == 1
    assert client.llen(QUEUE) == 1


def test_an_owner_is_known_before_it_takes_anything(redis_url: str, workers: Callable[..., Worker]) -> None:
    worker = workers()
    send(redis_url, "1")
    until(lambda: worker.tags == ["1"])
    client = connect(redis_url)
    assert client.zrange(keys.lease_owners(QUEUE), 0, -1) == [OWNER.encode()]
    Leases(redis_url, OWNER).hold(["prod"])
    assert 0 < client.pttl(LEASE) <= keys.QUEUE_TTL_MS


def test_fetching_goes_on_after_more_connections_than_a_pool_allows(redis_url: str) -> None:
    queue = Leases(redis_url, OWNER).queue("prod")
    for _ in range(150):
        queue.open().close()
    clients = connect(redis_url).info("clients")["connected_clients"]
    assert clients < 50


def test_a_link_that_is_silent_is_given_up_however_often_we_are_woken(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves, "LATE_S", -moves.MOVE_WAIT_S)
    opened = Leases(redis_url, OWNER).queue("prod").open()
    with closing(opened):
        opened.ask(1)
        opened.wake()
        assert opened.wait() is False
        with pytest.raises(StoreUnavailable, match="nothing is heard"):
            opened.wait()


def test_what_a_restarted_server_has_brought_back_is_done_again(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis", append_only=False)
    url = server.start()
    worker = Worker(url, room=3)
    try:
        send(url, "1")
        until(lambda: worker.tags == ["1"])
        worker.fetcher.done("1")
        server.stop()
        server.start()
        # It has lost what was done with the message, and the message is in its queue again.
        send(url, "1")
        until(lambda: worker.tags == ["1", "1"])
    finally:
        worker.fetcher.stop()
        server.stop()


@pytest.mark.heavy
@pytest.mark.parametrize("keeps_data", [True, False])
def test_fetching_goes_on_after_each_restart_of_redis(tmp_path: Path, keeps_data: bool) -> None:
    server = EmbeddedRedis(tmp_path / "redis", append_only=keeps_data)
    url = server.start()
    worker = Worker(url, room=3)
    try:
        for restart in range(3):
            tags = [f"{restart}.{number}" for number in range(5)]
            send(url, *tags)
            until(lambda tags=tags: worker.tags[-3:] == tags[:3])  # type: ignore[misc]
            server.stop()
            time.sleep(0.2)
            server.start()
            for tag in tags:
                until(lambda tag=tag: not keeps_data or worker.fetcher.holds(tag))  # type: ignore[misc]
                worker.fetcher.done(tag)
            until(lambda: connect(url).llen(QUEUE) == 0)
            worker.fetcher.look()
    finally:
        worker.fetcher.stop()
        server.stop()
    assert len(set(worker.tags)) == len(worker.tags)

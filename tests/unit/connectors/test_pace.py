"""Turns at a backend: how many at once, how many a second, who waits, and for how long."""

from __future__ import annotations

import gc
import threading
import time
from contextlib import ExitStack

import pytest

from federation_core.config import Backend, Cluster, RateLimit
from federation_core.connectors import pace
from federation_core.connectors.pace import Pace, pace_of, share
from federation_core.errors import QueryCanceled, Rejected
from federation_core.query import Deadline
from workers.cancelling import ShardCancellation

FAR = Deadline(2**62)


def held(limit: RateLimit, processes: int = 1, rank: int = 0) -> Pace:
    made = Pace("prod")
    made.hold(limit, processes, rank)
    return made


def cluster(name: str, limit: RateLimit) -> Cluster:
    return Cluster(name, "prod", (Backend("metrics", "prometheus", "http://x"),), rate_limit=limit)


@pytest.fixture(autouse=True)
def shares_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_shares", {})


class TestAtOnce:
    def test_no_more_are_under_way_than_may_be(self) -> None:
        turns, lock, running, most = held(RateLimit(1e6, 10**6, 3)), threading.Lock(), 0, 0

        def work() -> None:
            nonlocal running, most
            for _ in range(20):
                with turns.turn(30, FAR):
                    with lock:
                        running += 1
                        most = max(most, running)
                    time.sleep(0.0005)
                    with lock:
                        running -= 1

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (most, running) == (3, 0)

    def test_who_waits_in_vain_is_told_when_to_try_again_and_takes_no_place(self) -> None:
        turns = held(RateLimit(max_concurrent=1))
        with (
            turns.turn(1, FAR),
            pytest.raises(Rejected, match="asked 1 things at once") as caught,
            turns.turn(0.02, FAR),
        ):
            pass
        assert caught.value.retry_after_s == 1.0
        with turns.turn(0, FAR):
            pass

    def test_a_place_goes_to_who_waits_longest(self) -> None:
        turns, order, waiting = held(RateLimit(max_concurrent=1)), list[int](), list[threading.Thread]()

        def work(number: int) -> None:
            with turns.turn(30, FAR):
                order.append(number)

        with turns.turn(1, FAR):
            for number in range(5):
                waiting.append(threading.Thread(target=work, args=(number,)))
                waiting[-1].start()
                while len(turns._line) <= number:
                    time.sleep(0.001)
        for thread in waiting:
            thread.join()
        assert order == [0, 1, 2, 3, 4]

    def test_a_cancelled_query_waits_no_longer(self) -> None:
        turns, cancellation = held(RateLimit(max_concurrent=1)), ShardCancellation()
        with turns.turn(1, FAR):
            canceller = threading.Timer(0.05, cancellation.cancel)
            canceller.start()
            with pytest.raises(QueryCanceled), turns.turn(60, Deadline(2**62, None, cancellation)):
                pass
            canceller.join()
        with turns.turn(0, FAR):
            pass

    def test_whatever_ends_a_request_gives_its_place_back(self) -> None:
        turns = held(RateLimit(max_concurrent=1))
        for _ in range(3):
            with pytest.raises(KeyError), turns.turn(0, FAR):
                raise KeyError


class TestASecond:
    def test_a_burst_is_let_through_and_then_only_the_rate(self) -> None:
        turns = held(RateLimit(requests_per_second=0.5, burst=3, max_concurrent=100))
        with ExitStack() as all_at_once:
            for _ in range(3):
                all_at_once.enter_context(turns.turn(0, FAR))
            with pytest.raises(Rejected, match=r"asked 0\.5 times a second, and its turns are taken for") as caught:
                all_at_once.enter_context(turns.turn(1, FAR))
        assert 1 < caught.value.retry_after_s <= 2

    def test_who_is_refused_has_used_up_nothing(self) -> None:
        turns = held(RateLimit(requests_per_second=0.5, burst=1))
        with turns.turn(0, FAR):
            pass
        for _ in range(5):
            with pytest.raises(Rejected) as caught, turns.turn(0, FAR):
                pass
        assert caught.value.retry_after_s <= 2

    def test_who_can_wait_gets_a_turn(self) -> None:
        turns, began = held(RateLimit(requests_per_second=20, burst=1)), time.monotonic()
        for _ in range(4):
            with turns.turn(10, FAR):
                pass
        assert time.monotonic() - began >= 3 / 20

    def test_a_cancelled_query_waits_no_longer(self) -> None:
        turns, cancellation = held(RateLimit(requests_per_second=0.01, burst=1)), ShardCancellation()
        with turns.turn(0, FAR):
            pass
        canceller = threading.Timer(0.05, cancellation.cancel)
        canceller.start()
        with pytest.raises(QueryCanceled), turns.turn(1_000, Deadline(2**62, None, cancellation)):
            pass
        canceller.join()


class TestShares:
    def test_processes_together_have_what_the_cluster_has(self) -> None:
        for places in range(1, 40):
            for processes in range(1, places + 1):
                assert sum(share(places, processes, rank) for rank in range(processes)) == places

    def test_more_processes_than_places_have_one_each(self) -> None:
        assert [share(2, 4, rank) for rank in range(4)] == [1, 1, 1, 1]

    def test_all_who_ask_one_backend_share_its_turns(self) -> None:
        one = cluster("prod", RateLimit(max_concurrent=1))
        metrics, series = pace_of(one, "http://x"), pace_of(one, "http://x")
        assert metrics is series
        assert pace_of(one, "http://y") is not metrics
        assert pace_of(cluster("stage", RateLimit()), "http://x") is not metrics

    def test_a_share_holds_for_what_is_there_and_for_what_comes_later(self) -> None:
        two = cluster("prod", RateLimit(max_concurrent=4))
        before = pace_of(two, "http://before")
        pace.divide("prod", 4, 0)
        pace.divide("other", 1, 0)
        for turns in (before, pace_of(two, "http://after")):
            with turns.turn(0, FAR), pytest.raises(Rejected, match="asked 1 things"), turns.turn(0, FAR):
                pass

    def test_a_larger_share_lets_in_who_waits(self) -> None:
        turns, got = held(RateLimit(max_concurrent=2), 2), threading.Event()

        def work() -> None:
            with turns.turn(30, FAR):
                got.set()

        with turns.turn(0, FAR):
            waiting = threading.Thread(target=work)
            waiting.start()
            while not turns._line:
                time.sleep(0.001)
            assert not got.is_set()
            turns.hold(RateLimit(max_concurrent=2), 1, 0)
            assert got.wait(10)
            waiting.join()

    def test_a_backend_nobody_asks_any_more_is_forgotten(self) -> None:
        # What other tests have left behind may be found to be garbage at any time.
        gc.collect()
        known = len(pace._paces)
        turns = pace_of(cluster("gone", RateLimit()), "http://x")
        assert len(pace._paces) == known + 1
        del turns
        gc.collect()
        assert len(pace._paces) == known

import os
import time
import warnings

import pytest

from federation_core.connectors.stores import shared_clock
from federation_core.connectors.stores.redis import connect
from federation_core.connectors.stores.shared_clock import SharedClock

HOUR_MS = 3_600_000


def redis_ms(url: str) -> int:
    seconds, micros = connect(url).time()
    return int(seconds * 1000 + micros // 1000)


@pytest.mark.parametrize("skew_ms", [-HOUR_MS, 0, HOUR_MS])
def test_the_clock_is_redis_and_not_the_machines(redis_url: str, skew_ms: int) -> None:
    clock = SharedClock(redis_url, own_clock=lambda: redis_ms(redis_url) + skew_ms)
    before_ms = redis_ms(redis_url)
    # A look may be off by half of its round trip.
    assert before_ms - 1_000 <= clock() <= redis_ms(redis_url) + 1_000


def test_between_two_looks_it_goes_on_by_the_monotonic_clock(redis_url: str) -> None:
    now_s = [100.0]
    clock = SharedClock(redis_url, monotonic=lambda: now_s[0])
    first_ms = clock()
    now_s[0] += 7
    assert clock() - first_ms == 7_000


def test_it_looks_again_after_a_minute(redis_url: str) -> None:
    now_s = [100.0]
    clock = SharedClock(redis_url, monotonic=lambda: now_s[0])
    clock()
    now_s[0] += 3_600
    # The monotonic clock has run away; Redis has not.
    assert_comes_back(clock, redis_url)


def test_a_later_look_keeps_nobody_waiting(redis_url: str) -> None:
    now_s = [100.0]
    clock = SharedClock(redis_url, monotonic=lambda: now_s[0])
    first_ms = clock()
    connect(redis_url).client_pause(200)
    now_s[0] += 3_600
    # Had it waited for the look, it would not have believed the monotonic clock.
    assert [clock() for _ in range(3)] == [first_ms + HOUR_MS] * 3
    assert_comes_back(clock, redis_url)


def test_a_child_of_a_process_that_was_looking_looks_for_itself(redis_url: str) -> None:
    now_s = [100.0]
    clock = SharedClock(redis_url, monotonic=lambda: now_s[0])
    clock()
    connect(redis_url).client_pause(200)
    now_s[0] += 3_600
    clock()
    with warnings.catch_warnings():
        # That a process with threads is forked is what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        ended_badly = 1
        try:
            assert_comes_back(clock, redis_url)
            ended_badly = 0
        finally:
            os._exit(ended_badly)
    assert os.waitpid(child, 0)[1] == 0


def assert_comes_back(clock: SharedClock, redis_url: str) -> None:
    until_s = time.monotonic() + 10
    while abs(clock() - redis_ms(redis_url)) >= 1_000:
        assert time.monotonic() < until_s
        time.sleep(0.005)


def test_without_redis_it_is_the_machines_own_and_redis_is_not_asked_at_every_call() -> None:
    looks = []
    clock = SharedClock("redis://127.0.0.1:1/0", own_clock=lambda: 42, monotonic=lambda: looks.append(1) or 0.0)
    assert clock() == 42
    asked = len(looks)
    assert [clock() for _ in range(5)] == [42] * 5
    assert len(looks) == asked + 5


class Odd:
    """A Redis whose answer is not the time."""

    def __init__(self) -> None:
        self.asked = 0

    def time(self) -> tuple[str]:
        self.asked += 1
        return ("noon",)


def test_an_answer_that_is_no_time_leaves_the_clock_as_it_was_and_is_not_asked_for_at_every_call(
    redis_url: str,
) -> None:
    now_s, odd = [100.0], Odd()
    clock = SharedClock(redis_url, own_clock=lambda: 42, monotonic=lambda: now_s[0])
    clock._redis = odd
    assert [clock() for _ in range(5)] == [42] * 5
    assert odd.asked == 1
    clock = SharedClock(redis_url, monotonic=lambda: now_s[0])
    first_ms, clock._redis = clock(), odd
    now_s[0] += 3_600
    for _ in range(5):
        assert clock() == first_ms + HOUR_MS
        assert clock._looker is not None
        clock._looker.join()
    assert odd.asked == 2


def test_a_thread_that_cannot_be_started_is_not_tried_at_every_call(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, tried = [100.0], []

    def refuse(*_: object) -> None:
        tried.append(1)
        raise RuntimeError("can't start new thread")

    clock = SharedClock(redis_url, monotonic=lambda: now_s[0])
    first_ms = clock()
    monkeypatch.setattr(shared_clock.Thread, "start", refuse)
    now_s[0] += 3_600
    assert [clock() for _ in range(5)] == [first_ms + HOUR_MS] * 5
    assert tried == [1]
    monkeypatch.undo()
    now_s[0] += 60
    assert_comes_back(clock, redis_url)

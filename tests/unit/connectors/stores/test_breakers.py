"""The steps of a breaker, as Redis takes them, with a clock that the test sets."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation_core.connectors.stores.breakers import (
    EVERYBODY_MS,
    FAILURES,
    FIRST_PAUSE_MS,
    LONGEST_PAUSE_MS,
    PROBE_MS,
    QUERY_WORDS,
    STEPS,
    TTL_MS,
    read_breaker,
)
from federation_core.connectors.stores.redis import connect
from federation_core.health import BackendBreaker, Breaker

START_MS = 1_700_000_000_000
#: One beat after the other: now, report, worker, answered, failed, words, able, who lives → the breaker, whether told.
_BEATS = (
    "local now = 0\n"
    + STEPS
    + """
local b, out = nil, {}
for i = 1, #ARGV, 8 do
  now = tonumber(ARGV[i])
  local worker = ARGV[i + 2]
  local able, living = ARGV[i + 6] == '1', {}
  for name in string.gmatch(ARGV[i + 7], '.') do living[name] = true end
  b = breaker_after(b, worker, ARGV[i + 1], ARGV[i + 3] == '1', tonumber(ARGV[i + 4]), ARGV[i + 5], living)
  local mine = b ~= nil and breaker_probed_by(b, worker, able, living)
  -- As it rests in Redis between two beats.
  local kept = b and breaker_written(b) or ''
  b = breaker_read(kept)
  out[#out + 1] = kept
  out[#out + 1] = mine and 1 or 0
end
return out
"""
)


@dataclass(frozen=True)
class Beat:
    """What one worker brings at one moment."""

    at_ms: int
    answered: bool = False
    failed: int = 0
    worker: str = "a"
    #: The workers of the cluster; "" for this one alone.
    living: str = ""
    number: int | None = None
    words: str = "it is dead (1)"
    able: bool = True

    @property
    def alone(self) -> bool:
        return set(self.living) <= {self.worker}


class Course:
    """Breakers after each beat, and whether who beats is told to probe."""

    def __init__(self, redis_url: str) -> None:
        self._client = connect(redis_url)
        self._steps: Any = self._client.register_script(_BEATS)

    def after(self, *beats: Beat) -> list[tuple[BackendBreaker | None, bool]]:
        args: list[Any] = []
        for place, beat in enumerate(beats):
            number = place if beat.number is None else beat.number
            report = f"{beat.worker}#{number}"
            args += [START_MS + beat.at_ms, report, beat.worker, int(beat.answered), beat.failed, beat.words]
            args += [int(beat.able), beat.living or beat.worker]
        out = self._steps(args=args)
        return [(read_breaker(kept, -START_MS), bool(mine)) for kept, mine in zip(out[::2], out[1::2], strict=True)]


@pytest.fixture
def course(redis_url: str) -> Course:
    return Course(redis_url)


def test_three_failures_in_a_row_open_a_breaker_and_two_do_not(course: Course) -> None:
    (first, _), (second, _), (third, told) = course.after(*(Beat(at, failed=1) for at in (0, 1_000, 2_000)))
    assert first == BackendBreaker(Breaker.CLOSED, 0, 0, 1, "it is dead (1)")
    assert second == BackendBreaker(Breaker.CLOSED, 0, 0, 2, "it is dead (1)")
    assert third == BackendBreaker(Breaker.OPEN, 2_000, 2_000 + FIRST_PAUSE_MS, 3, "it is dead (1)")
    assert not told


def test_a_success_between_them_begins_the_count_anew(course: Course) -> None:
    beats = [Beat(0, failed=2), Beat(1_000, answered=True), Beat(2_000, failed=2), Beat(3_000, answered=True, failed=2)]
    states = [b for b, _ in course.after(*beats)]
    assert [b and b.failures for b in states] == [2, None, 2, 2]
    assert all(b is None or b.state is Breaker.CLOSED for b in states)


def test_a_report_that_comes_twice_counts_once(course: Course) -> None:
    beats = [Beat(0, failed=2, number=7), Beat(100, failed=2, number=7), Beat(200, failed=1, number=8)]
    assert [b and (b.state.value, b.failures) for b, _ in course.after(*beats)] == [
        ("closed", 2),
        ("closed", 2),
        ("open", 3),
    ]


def test_of_several_workers_everyone_must_have_had_his_say_first(course: Course) -> None:
    seen = [Beat(at, failed=1, worker=who, living="ab") for at, who in ((0, "a"), (1_000, "b"), (2_000, "a"))]
    late = Beat(EVERYBODY_MS, failed=1, worker="b", living="ab")
    states = [b and b.state for b, _ in course.after(*seen, late)]
    assert states == [Breaker.CLOSED, Breaker.CLOSED, Breaker.CLOSED, Breaker.OPEN]


def test_one_worker_that_cannot_reach_a_backend_never_closes_it_to_the_others(course: Course) -> None:
    beats = []
    for at_ms in range(0, 120_000, 1_000):
        beats.append(Beat(at_ms, failed=1, worker="a", living="ab"))
        if at_ms % 5_000 == 0:
            beats.append(Beat(at_ms + 500, answered=True, worker="b", living="ab"))
    assert {b.state for b, _ in course.after(*beats) if b is not None} == {Breaker.CLOSED}


def test_when_the_pause_is_over_each_worker_is_told_to_probe_and_told_so_until_it_has(course: Course) -> None:
    over, both = FIRST_PAUSE_MS, "ab"
    beats = [Beat(0, failed=3), Beat(over - 1), Beat(over), Beat(over + 1, worker="b"), Beat(over + 1_000)]
    beats += [Beat(over + 1_100, failed=1, living=both), Beat(over + 1_200, worker="b", living=both)]
    course_of = course.after(*beats)
    assert [(b and b.state.value, told) for b, told in course_of] == [
        ("open", False),
        ("open", False),
        ("half_open", True),
        ("half_open", True),
        ("half_open", True),
        ("half_open", False),
        ("half_open", True),
    ]
    # It is shut since it opened, whatever is tried meanwhile.
    assert {b.since_ms for b, _ in course_of if b is not None} == {0}


def test_a_probe_that_finds_it_alive_closes_it(course: Course) -> None:
    *_, (last, told) = course.after(Beat(0, failed=3), Beat(1_000), Beat(2_000, answered=True))
    assert (last, told) == (None, False)


def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest(course: Course) -> None:
    beats, at_ms, pauses, pause_ms = [Beat(0, failed=3)], 0, [], FIRST_PAUSE_MS
    for _ in range(8):
        at_ms += pause_ms
        beats += [Beat(at_ms), Beat(at_ms + 500, failed=1)]
        at_ms += 500
        pause_ms = min(2 * pause_ms, LONGEST_PAUSE_MS)
        pauses.append(pause_ms)
    found = course.after(*beats)
    assert [told for _, told in found[1::2]] == [True] * 8
    again = [(b.state, b.retry_ms - beat.at_ms) for (b, _), beat in zip(found[2::2], beats[2::2], strict=True) if b]
    assert again == [(Breaker.OPEN, pause) for pause in pauses]
    assert pauses[-1] == LONGEST_PAUSE_MS


def test_a_worker_that_alone_cannot_reach_a_backend_keeps_it_shut_to_nobody(course: Course) -> None:
    """However often it is the first to be told, and to say so."""
    both, over = "ab", EVERYBODY_MS + FIRST_PAUSE_MS
    beats = [Beat(at, failed=2, worker=who, living=both) for at, who in ((0, "a"), (EVERYBODY_MS, "b"))]
    beats += [Beat(over, living=both), Beat(over + 50, failed=1, living=both)]
    beats += [Beat(over + at_ms, living=both) for at_ms in (100, 150, 200)]
    beats += [Beat(over + 900, worker="b", living=both), Beat(over + 950, worker="b", answered=True, living=both)]
    found = course.after(*beats)
    assert [told for _, told in found] == [False, False, True, False, False, False, False, True, False]
    assert {b and b.state for b, _ in found[2:-1]} == {Breaker.HALF_OPEN}
    assert found[-1][0] is None


def test_when_all_workers_have_failed_it_opens_again_at_once_and_for_twice_as_long(course: Course) -> None:
    both, over = "ab", FIRST_PAUSE_MS
    beats = [Beat(0, failed=3), Beat(over, living=both), Beat(over + 100, worker="b", living=both)]
    beats += [Beat(over + 200, failed=1, living=both), Beat(over + 300, worker="b", failed=1, living=both)]
    *_, (last, told) = course.after(*beats)
    assert last is not None
    assert (last.state, last.retry_ms - over - 300, told) == (Breaker.OPEN, 2 * FIRST_PAUSE_MS, False)


def test_one_that_says_nothing_is_waited_for_no_longer_than_a_probe(course: Course) -> None:
    over = FIRST_PAUSE_MS
    said = [Beat(0, failed=3), Beat(over, living="ab"), Beat(over + 500, failed=1, living="ab")]
    *_, (waits, _), (over_, _) = course.after(*said, *(Beat(over + PROBE_MS + ms, living="ab") for ms in (-1, 0)))
    assert waits is not None
    assert over_ is not None
    assert (waits.state, over_.state) == (Breaker.HALF_OPEN, Breaker.OPEN)
    assert over_.retry_ms == over + PROBE_MS + 2 * FIRST_PAUSE_MS


def test_where_nobody_has_said_anything_all_are_told_again(course: Course) -> None:
    over = FIRST_PAUSE_MS
    *_, (last, told) = course.after(Beat(0, failed=3), Beat(over), Beat(over + PROBE_MS, worker="b"))
    assert last is not None
    assert (last.state, last.retry_ms, told) == (Breaker.HALF_OPEN, over + 2 * PROBE_MS, True)


def test_one_that_cannot_probe_is_told_nothing_and_not_waited_for(course: Course) -> None:
    both, over = "ab", FIRST_PAUSE_MS
    beats = [Beat(0, failed=3), Beat(over, worker="b", able=False, living=both), Beat(over + 1, living=both)]
    beats += [Beat(over + 100, worker="b", able=False, living=both), Beat(over + 200, failed=1, living=both)]
    found = course.after(*beats)
    states = [b and b.state.value for b, _ in found]
    assert states == ["open", "open", "half_open", "half_open", "open"]
    assert [told for _, told in found] == [False, False, True, False, False]


def test_the_words_are_those_of_the_last_probe_and_ours_where_only_queries_have_failed(course: Course) -> None:
    beats = [Beat(0, failed=1, words=""), Beat(1, failed=1), Beat(2, failed=1, words="")]
    said = [b and b.words for b, _ in course.after(*beats)]
    assert said == [QUERY_WORDS, "it is dead (1)", "it is dead (1)"]


def test_what_a_query_finds_that_began_before_it_opened_moves_no_pause(course: Course) -> None:
    (opened, _), (later, _) = course.after(Beat(0, failed=3), Beat(500, failed=1))
    assert opened is not None
    assert later is not None
    assert (later.retry_ms, later.failures) == (opened.retry_ms, 4)


def test_what_is_kept_outlives_the_longest_pause_and_a_probe() -> None:
    assert LONGEST_PAUSE_MS + PROBE_MS < TTL_MS


@pytest.mark.parametrize("junk", [b"", b"open", b"shut 1 2 3 4 - - x", b"open x 2 3 4 - - x", b"\xff 1 2 3 4 - - x"])
def test_what_is_no_breaker_is_none(junk: bytes) -> None:
    assert read_breaker(junk) is None


SEEN = [(False, 0), (False, 1), (True, 0), (True, 1)]


def judge(beats: list[Beat], found: list[tuple[BackendBreaker | None, bool]]) -> None:
    """Hold a course to what a breaker promises."""
    in_a_row, since_ms, before, known = 0, 0, Breaker.CLOSED, set[tuple[str, int | None]]()
    for place, (beat, (after, told)) in enumerate(zip(beats, found, strict=True)):
        said = (beat.worker, place if beat.number is None else beat.number)
        if beat.answered:
            in_a_row = 0
        if beat.failed and said not in known:
            since_ms = beat.at_ms if in_a_row == 0 else since_ms
            in_a_row += beat.failed
        known.add(said)
        state = after.state if after else Breaker.CLOSED
        if before is Breaker.CLOSED and state is not Breaker.CLOSED:
            assert in_a_row >= FAILURES
            assert beat.alone or beat.at_ms - since_ms >= EVERYBODY_MS
        if beat.answered and beat.failed < FAILURES:
            assert state is Breaker.CLOSED
        if after is not None and state is not Breaker.CLOSED:
            # There is always a moment at which somebody is told.
            assert beat.at_ms < after.retry_ms <= beat.at_ms + max(LONGEST_PAUSE_MS, PROBE_MS)
        assert not told or state is Breaker.HALF_OPEN
        before = state


def test_every_course_of_five_beats_keeps_what_a_breaker_promises(course: Course) -> None:
    steps = [(seen, gap_ms) for seen in SEEN for gap_ms in (500, FIRST_PAUSE_MS)]
    for chosen in itertools.product(steps, repeat=4):
        at_ms, beats = 0, [Beat(0, failed=2)]
        for (answered, failed), gap_ms in chosen:
            at_ms += gap_ms
            beats.append(Beat(at_ms, answered, failed))
        judge(beats, course.after(*beats))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 40_000), st.sampled_from(SEEN), st.integers(0, 4), st.sampled_from("abc"), st.booleans()
        ),
        max_size=40,
    )
)
def test_any_course_of_several_workers_keeps_what_a_breaker_promises(
    course: Course, steps: list[tuple[int, tuple[bool, int], int, str, bool]]
) -> None:
    at_ms, beats = 0, []
    for gap_ms, (answered, failed), more, worker, alone in steps:
        at_ms += gap_ms
        beats.append(Beat(at_ms, answered, failed and failed + more, worker, "" if alone else "abc"))
    found = course.after(*beats)
    judge(beats, found)
    # However it stands: somebody who beats on is told in the end, and closes it.
    end = [Beat(at_ms + LONGEST_PAUSE_MS + PROBE_MS), Beat(at_ms + LONGEST_PAUSE_MS + PROBE_MS + 1, answered=True)]
    *_, (last, told), (closed, _) = course.after(*beats, *end)
    assert told is (last is not None and last.state is not Breaker.CLOSED)
    assert closed is None

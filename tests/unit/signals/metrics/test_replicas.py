"""Replicas of one series become one: a replica's samples, its gaps filled with another's, and no false reset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.labels import Labels
from federation_core.signals.metrics.frame import Frame, Grid, SampleColumns
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.replicas import NO_REPLICAS, Replicas
from tests.support.sample_store import STALE, Series, labels, series

REPLICAS = Replicas(("replica",))
STEP = 15_000
Points = list[tuple[int, float]]


def points(values: Iterable[float | None], first_ms: int = 0) -> Points:
    return [(first_ms + i * STEP, value) for i, value in enumerate(values) if value is not None]


def rows(columns: SampleColumns) -> dict[Labels, Points]:
    return {
        row: [(int(t), float(v)) for t, v in zip(columns.t_ms[a:b], columns.values[a:b], strict=True)]
        for row, a, b in zip(columns.labels, columns.offsets, columns.offsets[1:], strict=False)
    }


def united(*replicas: Points) -> Points:
    held = [series(f'x{{replica="{name}"}}', found) for name, found in zip("abc", replicas, strict=False)]
    found = rows(REPLICAS.united(SampleColumns.of(held)))
    assert list(found) == [labels("x")]
    # In whatever order they come.
    assert repr(rows(REPLICAS.united(SampleColumns.of(held[::-1])))) == repr(found)
    return found[labels("x")]


def test_series_that_differ_in_anything_else_stay_apart() -> None:
    held: list[Series] = [series(f'x{{job="{job}",replica="a"}}', points([1, 2])) for job in ("p", "q")]
    assert list(rows(REPLICAS.united(SampleColumns.of(held)))) == [labels('x{job="p"}'), labels('x{job="q"}')]


def test_without_replicas_everything_stays_as_it_is() -> None:
    columns = SampleColumns.of([series('x{replica="a"}', points([1, 2]))])
    assert NO_REPLICAS.united(columns) is columns


def test_samples_are_one_replicas_and_not_interleaved() -> None:
    assert united(points(range(10)), points(range(10), 4_000)) == points(range(10))


def test_the_replica_with_the_most_samples_is_taken_and_of_equals_the_first_by_label() -> None:
    a, b = points([None, None, 2, 3, 4]), points([0.5, 1.5, 2.5, 3.5, 4.5])
    assert united(a, b) == b
    # One sample more is where the span was cut.
    assert united(points([0, 1, 2, 3]), points([0, 1, 2, 3, 4], -1_000)) == points([0, 1, 2, 3])


@pytest.mark.parametrize(
    "lost", [{4}, {3, 4, 5}, {0, 1, 2}, {7, 8, 9}, {2, 5, 6}], ids=["one", "three", "first", "last", "twice"]
)
def test_a_gap_is_filled_and_only_the_gap(lost: set[int]) -> None:
    a = points([None if i in lost else float(i) for i in range(10)])
    # Of `c` there is less: it has nothing to add where `b` has filled the gap.
    b, c = points([i + 0.25 for i in range(10)], 1_000)[:], points([i + 0.5 for i in range(9)], 2_000)
    wanted = sorted(a + [(t, v) for t, v in b if t // STEP in lost])
    if len(lost) == 1:
        assert united(a, b, c) == wanted
    assert united(a, [(t, v) for t, v in b if t // STEP in lost | {min(lost) - 1}]) == wanted


def test_of_a_gap_in_both_nothing_is_made_up() -> None:
    a = points([0, 1, None, None, None, 5])
    b = points([0, 1, 2, None, None, 5])
    assert united(a, b) == points([0, 1, 2, None, None, 5])


def test_a_counter_that_lags_in_the_other_replica_does_not_seem_reset() -> None:
    a = points([10, 20, 30, None, None, 60, 70])
    lagging = points([0, 8, 18, 28, 44, 54, 64])
    assert united(lagging[:3], a[:3]) == lagging[:3]
    # Its first sample in the gap is still below what has been seen.
    assert united(a, lagging[3:]) == points([10, 20, 30, None, 44, 60, 70])
    # Its last one is above what is seen next.
    leading = points([None, None, None, 41, 61])
    assert united(a, leading) == points([10, 20, 30, 41, None, 60, 70])


def test_a_reset_that_a_replica_has_seen_is_kept() -> None:
    a = points([10, 20, 30, None, None, 9, 13])
    assert united(a, points([None, None, 31, 2, 5])) == points([10, 20, 30, 2, 5, 9, 13])
    assert united(a, points([None, None, None, 40, 50])) == points([10, 20, 30, 40, 50, 9, 13])
    back = points([10, 20, 30, None, None, 35, 40])
    assert united(back, points([None, None, None, 60, 90, 34])) == points([10, 20, 30, 60, 90, 35, 40])


def test_a_gauge_loses_one_sample_at_a_switch_at_most() -> None:
    a = points([50, 50, 50, None, None, None, None, 5, 5])
    assert united(a, points([None, None, None, 7, 8, 8, 9])) == points([50, 50, 50, None, 8, 8, 9, 5, 5])


def test_an_end_holds_if_no_replica_goes_on() -> None:
    ends = [*points([1, 2]), (2 * STEP, float(STALE))]
    alone = [*ends, (2 * STEP + 1_000, 7.0)]
    assert repr(united(alone)) == repr([(t, float(value)) for t, value in alone])
    later = points([1, 2, 3, 4], 1_000)
    assert united(later, ends) == later
    found = united(ends, points([1, 2], 1_000))
    assert found[:2] == points([1, 2])
    assert [t for t, _ in found] == [0, STEP, 2 * STEP]
    assert np.isnan(found[2][1])


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abab-")), min_size=12, max_size=60), st.integers(0, 1_000)
)
def test_of_replicas_that_scrape_together_no_sample_is_missed(draw: list[tuple[int, str]], seed: int) -> None:
    """A counter with resets; whatever one replica has lost and the other has is there."""
    truth, value = [], 100.0
    for growth, _ in draw:
        value = 0.0 if growth == 9 and seed % 2 else value + growth
        truth.append(value)
    lost: dict[str, set[int]] = {"a": set(), "b": set()}
    for place, (_, loser) in enumerate(draw):
        # Each has the ends, and never loses two of three.
        if loser in lost and 0 < place < len(draw) - 1 and place - 1 not in lost["a"] | lost["b"]:
            lost[loser].add(place)
    a, b = (points([None if i in lost[name] else v for i, v in enumerate(truth)]) for name in "ab")
    assert united(a, b) == points(truth)


@given(
    st.integers(1, STEP - 1),
    st.lists(st.sampled_from("ab---"), min_size=20, max_size=80),
    st.integers(-200, 200),
)
def test_going_over_makes_no_reset_and_no_crowd(phase_ms: int, losses: Sequence[str], skew_ms: int) -> None:
    """A counter that grows by one a millisecond, scraped at other moments, by a clock that is somewhat off."""
    a = [(i * STEP, float(i * STEP)) for i, loser in enumerate(losses) if loser != "a"]
    b = [(t, float(t + skew_ms)) for i, loser in enumerate(losses) if loser != "b" for t in [i * STEP + phase_ms]]
    if len(a) < len(losses) // 2 or len(b) < len(losses) // 2:
        return
    found = united(a, b)
    times, values = (np.array(column) for column in zip(*found, strict=True))
    assert (np.diff(values) >= 0).all()
    assert (np.diff(times) >= STEP / 2).all()


class TestSelectors:
    @pytest.mark.parametrize(
        ("asked", "left"),
        [
            ('x{replica!="a"}', "x"),
            ('x{replica=""}', "x"),
            ('x{replica=~".*",job="j"}', 'x{job="j"}'),
            ('x{replica="a"}', ""),
            ('x{replica=~".+"}', ""),
        ],
    )
    def test_a_condition_on_the_label_meets_a_label_that_is_not_there(self, asked: str, left: str) -> None:
        found = REPLICAS.asked(parse(asked).selector)  # type: ignore[union-attr]
        assert found == (parse(left).selector if left else None)  # type: ignore[union-attr]


def test_a_row_is_present_where_any_replica_is() -> None:
    grid = Grid(0, STEP, 3)
    present = np.array([[True, False, False], [False, True, False], [True, True, True]])
    frame = Frame(
        (labels('x{replica="a"}'), labels('x{replica="b"}'), labels('y{replica="a"}')),
        grid,
        np.arange(9.0).reshape(3, 3),
        present,
    )
    found = REPLICAS.seen(frame)
    assert found.labels == (labels("x"), labels("y"))
    assert found.present.tolist() == [[True, True, False], [True, True, True]]
    assert found.values[0, :2].tolist() == [0.0, 4.0]

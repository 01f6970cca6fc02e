"""Counters on a grid of steps: where a rise lies, where flat samples are, what survives."""

from __future__ import annotations

import numpy as np
import pytest

from federation_core.connectors.otlp.derive_counters import LIVE_STEPS, Counters, step_of_ms

KEY, OTHER = ("log", "web", "info"), ("log", "orders", "info")


def closed(counters: Counters, until_step: int) -> dict[tuple[str, ...], list[tuple[int, float]]]:
    """Close steps; return (step, value) by key."""
    names = list(counters.keys)
    out: dict[tuple[str, ...], list[tuple[int, float]]] = {}
    for steps, keys, rows in counters.close(until_step):
        for step, key, row in zip(steps.tolist(), keys.tolist(), rows.tolist(), strict=True):
            out.setdefault(names[key], []).append((step, row[0]))
    return out


def count(counters: Counters, *steps: int, key: tuple[str, ...] = KEY) -> None:
    for step in steps:
        counters.touch(step)
        counters.add(key, step, (1.0,))


def test_a_moment_on_the_grid_belongs_to_the_step_it_ends() -> None:
    assert [step_of_ms(t) for t in (1, 14_999, 15_000, 15_001)] == [1, 1, 1, 2]


def test_a_counter_begins_with_a_zero_one_step_before_its_first_rise() -> None:
    counters = Counters(1)
    count(counters, 100, 102)
    assert closed(counters, 103)[KEY] == [(99, 0), (100, 1), (101, 1), (102, 2), (103, 2)]


def test_a_counter_that_comes_later_also_begins_with_a_zero() -> None:
    counters = Counters(1)
    count(counters, 100)
    closed(counters, 101)
    count(counters, 102, key=OTHER)
    assert closed(counters, 102) == {KEY: [(102, 1)], OTHER: [(101, 0), (102, 1)]}


def test_a_step_is_written_once() -> None:
    counters = Counters(1)
    count(counters, 100)
    closed(counters, 105)
    assert closed(counters, 105) == {}


def test_a_late_rise_counts_in_the_first_open_step() -> None:
    counters = Counters(1)
    count(counters, 100)
    closed(counters, 105)
    count(counters, 99)
    assert closed(counters, 106)[KEY] == [(106, 2)]


def test_counters_go_on_flat_for_five_minutes_without_telemetry_and_no_longer() -> None:
    counters = Counters(1)
    count(counters, 100)
    steps = [step for step, _ in closed(counters, 500)[KEY]]
    assert steps == list(range(99, 100 + LIVE_STEPS + 1))


def test_telemetry_of_another_kind_keeps_counters_going() -> None:
    counters = Counters(1)
    count(counters, 100)
    counters.touch(115)
    assert closed(counters, 500)[KEY][-1] == (115 + LIVE_STEPS, 1)


def test_after_a_silence_a_counter_resumes_one_step_before_it_rises() -> None:
    counters = Counters(1)
    count(counters, 100)
    closed(counters, 300)
    count(counters, 400)
    assert closed(counters, 400)[KEY] == [(399, 1), (400, 2)]


def test_a_silence_within_one_closing_looks_the_same_as_over_several() -> None:
    at_once, bit_by_bit = Counters(1), Counters(1)
    count(at_once, 100, 400, 401)
    whole = closed(at_once, 410)[KEY]
    parts: list[tuple[int, float]] = []
    for step in range(100, 411):
        if step in (100, 400, 401):
            count(bit_by_bit, step)
        parts += closed(bit_by_bit, step).get(KEY, [])
    assert whole == sorted(parts)


def test_a_jump_of_the_clock_writes_no_samples_for_the_time_between() -> None:
    counters = Counters(1)
    count(counters, 100)
    assert len(closed(counters, 50_000_000)[KEY]) == LIVE_STEPS + 2


def test_values_are_the_same_however_many_steps_are_closed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(7)
    events = [(("log", f"s{random.integers(9)}", "info"), int(random.integers(100, 400))) for _ in range(2000)]
    results = []
    for chunk in (1_000_000, 50, 1):
        monkeypatch.setattr("federation_core.connectors.otlp.derive_counters.CHUNK_VALUES", chunk)
        counters = Counters(1)
        for key, step in events:
            count(counters, step, key=key)
        results.append(closed(counters, 420))
    assert results[0] == results[1] == results[2]
    assert sum(values[-1][1] for values in results[0].values()) == 2000


def test_totals_stay_exact_when_increments_are_summed_before_their_step_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("federation_core.connectors.otlp.derive_counters.COMPACT_AT", 3)
    counters = Counters(1)
    count(counters, *[100, 101, 100, 102, 100, 101, 100])
    assert closed(counters, 102)[KEY] == [(99, 0), (100, 4), (101, 6), (102, 7)]


def test_state_carries_over_everything() -> None:
    counters, again = Counters(1), Counters(1)
    count(counters, 100, 101, 107)
    closed(counters, 103)
    again.load(counters.dump())
    count(counters, 104, 90)
    count(again, 104, 90)
    assert closed(again, 108) == closed(counters, 108) != {}


def test_a_counter_idle_beyond_the_retention_is_forgotten_and_begins_anew() -> None:
    counters = Counters(1)
    count(counters, 100)
    count(counters, 200, key=OTHER)
    closed(counters, 210)
    assert counters.forget_idle(150)
    assert list(counters.keys) == [OTHER]
    count(counters, 211)
    assert closed(counters, 211) == {KEY: [(210, 0), (211, 1)], OTHER: [(211, 1)]}


def test_a_counter_with_a_rise_still_waiting_is_not_forgotten() -> None:
    counters = Counters(1)
    count(counters, 100)
    closed(counters, 110)
    count(counters, 300)
    assert not counters.forget_idle(250)
    assert closed(counters, 300)[KEY][-1] == (300, 2)

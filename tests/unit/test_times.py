"""Instants and durations as users write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import InvalidRequest
from federation_core.times import format_duration, format_time, parse_duration_ms, parse_time_ms

NOW = 1_795_470_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5m", 300_000), ("1h30m", 5_400_000), ("250ms", 250), ("1d", 86_400_000), ("1.5", 1500), ("0s", 0)],
)
def test_durations_are_read_as_promql_reads_them(text: str, expected: int) -> None:
    assert parse_duration_ms(text) == expected


@pytest.mark.parametrize("text", ["", "x", "30m1h", "1h1h", "-5m", "5 m", "5M", "NaN", "1e400"])
def test_what_is_no_duration_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_duration_ms(text, "step")
    assert caught.value.field == "step"
    assert caught.value.expected


@given(st.integers(min_value=0, max_value=10**13))
def test_a_printed_duration_reads_back_to_itself(duration_ms: int) -> None:
    assert parse_duration_ms(format_duration(duration_ms)) == duration_ms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("-1h", NOW - 3_600_000),
        ("1795470000.5", 1_795_470_000_500),
        ("2026-11-23T21:40:00Z", 1_795_470_000_000),
        ("2026-11-23T22:40:00+01:00", 1_795_470_000_000),
    ],
)
def test_instants_are_rfc_3339_unix_seconds_or_relative(text: str, expected: int) -> None:
    assert parse_time_ms(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T21:40:00",
        "2026-11-23",
        "yesterday",
        "",
        "1e300",
        "nan",
        "inf",
        "-62135596801",
        "-1" + "0" * 5000 + "s",
    ],
)
def test_an_instant_that_could_mean_two_things_or_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_time_ms(text, NOW, "start")


def test_times_are_printed_in_utc_and_say_so() -> None:
    assert format_time(NOW) == "2026-11-23T21:40:00.000Z"


def test_every_instant_that_is_accepted_can_be_printed() -> None:
    assert format_time(parse_time_ms("-62135596800", NOW)) == "0001-01-01T00:00:00.000Z"
    assert format_time(parse_time_ms("253402300799.999", NOW)) == "9999-12-31T23:59:59.999Z"


def test_digits_without_end_are_a_duration_out_of_range() -> None:
    with pytest.raises(InvalidRequest, match="out of range"):
        parse_duration_ms("9" * 5000 + "s")

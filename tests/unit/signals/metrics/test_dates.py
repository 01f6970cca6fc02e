"""Parts of dates, against Python's calendar and, beyond its years, against what Go's has."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame
from tests.support.instants import at, value_at, vector
from tests.support.sample_store import evaluate_one, series

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PARTS: dict[str, Callable[[datetime], int]] = {
    "day_of_month": lambda date: date.day,
    "day_of_week": lambda date: date.isoweekday() % 7,
    "day_of_year": lambda date: date.timetuple().tm_yday,
    "days_in_month": lambda date: monthrange(date.year, date.month)[1],
    "hour": lambda date: date.hour,
    "minute": lambda date: date.minute,
    "month": lambda date: date.month,
    "year": lambda date: date.year,
}


def of(part: str, seconds: float) -> float:
    return value_at(f"{part}(x)", vector(("x", seconds)))


@pytest.mark.parametrize("part", PARTS)
def test_ten_thousand_moments_of_ten_thousand_years_are_those_of_the_calendar(part: str) -> None:
    rng = np.random.default_rng(5)
    # From the first to the last day that Python's calendar has, and around the ends of many Februaries.
    seconds = rng.integers(-62_135_596_800, 253_402_300_799, 9_000)
    februaries = [
        int((datetime(int(year), 3, 1, tzinfo=UTC) - EPOCH).total_seconds()) + int(shift)
        for year, shift in zip(rng.integers(1, 9999, 500), rng.integers(-172_800, 172_800, 500), strict=True)
    ]
    moments = [*seconds.tolist(), *februaries]
    store = [series("x", [(i * 1000, float(moment)) for i, moment in enumerate(moments)])]
    got = evaluate_one(f"{part}(x)", store, TimeRange(0, (len(moments) - 1) * 1000, 1000))
    assert isinstance(got, Frame)
    assert got.values[0].tolist() == [PARTS[part](EPOCH + timedelta(seconds=moment)) for moment in moments]


@pytest.mark.parametrize(
    ("text", "last_day"),
    [
        ("2000-02-28", 29),
        ("2000-02-29", 29),
        ("1900-02-28", 28),
        ("2023-02-01", 28),
        ("2024-02-01", 29),
        ("2023-12-31", 31),
    ],
)
def test_leap_years(text: str, last_day: int) -> None:
    date = datetime.fromisoformat(text).replace(tzinfo=UTC)
    assert of("days_in_month", date.timestamp()) == last_day


@pytest.mark.parametrize("year", [4, 1600, 2000, 2024, 2400])
def test_the_leap_day_is_the_29th_of_february(year: int) -> None:
    seconds = datetime(year, 2, 29, 12, tzinfo=UTC).timestamp()
    assert [of(part, seconds) for part in ("month", "day_of_month", "day_of_year")] == [2.0, 29.0, 60.0]


def test_times_are_cut_to_seconds_towards_zero() -> None:
    assert of("day_of_month", -0.9) == 1.0
    assert of("hour", -0.9) == 0.0
    assert of("year", -1.0) == 1969.0
    assert of("minute", 59.999) == 0.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e300, -(2.0**63), 2.0**63])
def test_what_64_bits_cannot_hold_is_the_moment_that_prometheus_makes_of_it(value: float) -> None:
    # What Debian's Prometheus 2.42 on amd64 answers.
    asked = ("year", "month", "day_of_month", "day_of_year", "day_of_week", "hour", "minute", "days_in_month")
    assert [of(part, value) for part in asked] == [292_277_026_596.0, 12.0, 4.0, 339.0, 0.0, 15.0, 30.0, 31.0]


def test_the_far_ends_of_what_64_bits_hold() -> None:
    assert of("year", -9_223_372_028_715_321_600.0) == -292_277_022_399.0
    assert of("year", 9_223_372_036_854_774_784.0) == 292_277_026_596.0
    assert of("month", -62_135_596_801.0) == 12.0
    assert of("year", -62_135_596_801.0) == 0.0


def test_without_an_argument_it_is_the_evaluation_time() -> None:
    assert at("hour()", time_s=7 * 3600 + 59.9) == {"": 7.0}
    assert at("year()", time_s=-1) == {"": 1969.0}
    got = evaluate_one("minute()", [], TimeRange(0, 180_000, 60_000))
    assert isinstance(got, Frame)
    assert got.values.tolist() == [[0.0, 1.0, 2.0, 3.0]]


def test_names_are_dropped() -> None:
    assert at("hour(x)", vector(('x{a="1"}', 3600))) == {"a=1": 1.0}

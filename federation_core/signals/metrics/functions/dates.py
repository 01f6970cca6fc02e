"""Parts of a date in UTC, of times in seconds.

Rule: the calendar is the proleptic Gregorian one. A time is cut to whole seconds towards zero; NaN and what 64 bits
cannot hold become the smallest number of seconds, as on Prometheus' machines, which is a date in the year 292277026596.
Whole arrays are computed with integers: there is no loop, and no date out of reach.
Source: Prometheus documentation, "Functions / day_of_month, …"; documentation of Go's package time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from federation_core.labels import Labels
from federation_core.signals.metrics.frame import Bools, Floats, Frame, Ints
from federation_core.signals.metrics.functions.contract import Apply, Argument, Context, Function, frame_argument

_DAY_S = 86_400
#: Days and years repeat after 400 years.
_ERA_DAYS, _ERA_YEARS = 146_097, 400
#: The years are counted from here, so far back that no time is before it.
_ORIGIN_YEAR = -730_692_556 * _ERA_YEARS
#: Days from the 1st of January after the origin year to that of 1970; from the 1st of March before it, 306 more.
_ORIGIN_TO_UNIX_DAYS = 106_751_991_073_094
_MARCH_TO_JANUARY_DAYS = 306
#: For a year that begins in March, so that a leap day is its last one: the days before each month, and the length of
#: each month where February has 28 days.
_DAYS_BEFORE = np.array([0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337])
_MONTH_DAYS = np.array([31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 28])


@dataclass(frozen=True, slots=True, eq=False)
class Dates:
    """Moments: the second of the day, days since the origin, and the date in a calendar whose years begin in March.

    `month` and `day`, of the year, are counted from 0.
    """

    second: Ints
    days: Ints
    march_year: Ints
    month: Ints
    day: Ints

    @classmethod
    def of(cls, seconds: Floats) -> Dates:
        """Return the dates of times in seconds since 1970."""
        fits = np.abs(seconds) < 2.0**63
        whole = np.where(fits, np.where(fits, seconds, 0.0).astype(np.int64), np.iinfo(np.int64).min)
        # Without sign, what lies before the origin comes round to the far future, as it does in Go.
        since = whole.view(np.uint64) + np.uint64(_ORIGIN_TO_UNIX_DAYS * _DAY_S)
        days = (since // np.uint64(_DAY_S)).astype(np.int64)
        era, in_era = np.divmod(days + _MARCH_TO_JANUARY_DAYS, _ERA_DAYS)
        # The day of the era less the leap days so far is a number of years of 365 days.
        year = (in_era - in_era // 1_460 + in_era // 36_524 - in_era // 146_096) // 365
        day = in_era - (365 * year + year // 4 - year // 100)
        month = np.searchsorted(_DAYS_BEFORE, day, side="right") - 1
        second = (since % np.uint64(_DAY_S)).astype(np.int64)
        return cls(second, days, era * _ERA_YEARS + year + _ORIGIN_YEAR, month, day)

    @property
    def year(self) -> Ints:
        """The calendar year: January and February belong to the next one."""
        year: Ints = self.march_year + (self.month >= 10)
        return year

    @property
    def in_leap_year(self) -> Bools:
        """Whether the calendar year has 366 days."""
        year = self.year
        leap: Bools = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
        return leap


def _day_of_month(dates: Dates) -> Ints:
    day: Ints = dates.day - _DAYS_BEFORE[dates.month] + 1
    return day


def _day_of_week(dates: Dates) -> Ints:
    # The origin's first January begins with a Monday; Sunday is 0.
    day: Ints = (dates.days + 1) % 7
    return day


def _day_of_year(dates: Dates) -> Ints:
    since_january = dates.day - _MARCH_TO_JANUARY_DAYS
    before_march = dates.day + 60 + dates.in_leap_year
    return np.where(since_january >= 0, since_january + 1, before_march)


def _days_in_month(dates: Dates) -> Ints:
    days: Ints = _MONTH_DAYS[dates.month] + ((dates.month == 11) & dates.in_leap_year)
    return days


def _hour(dates: Dates) -> Ints:
    return dates.second // 3_600


def _minute(dates: Dates) -> Ints:
    return dates.second // 60 % 60


def _month(dates: Dates) -> Ints:
    month: Ints = (dates.month + 2) % 12 + 1
    return month


def _year(dates: Dates) -> Ints:
    return dates.year


def _of_dates(part: Callable[[Dates], Ints]) -> Apply:
    def apply(arguments: Sequence[Argument], context: Context) -> Frame:
        times = frame_argument(arguments[0]) if arguments else _evaluation_times(context)
        return replace(times, values=part(Dates.of(times.values)).astype(np.float64))

    return apply


def _evaluation_times(context: Context) -> Frame:
    seconds = context.grid.times_ms[None] / 1000
    return Frame((Labels(),), context.grid, seconds, np.ones(seconds.shape, dtype=np.bool_))


_PARTS: Mapping[str, Callable[[Dates], Ints]] = {
    "day_of_month": _day_of_month,
    "day_of_week": _day_of_week,
    "day_of_year": _day_of_year,
    "days_in_month": _days_in_month,
    "hour": _hour,
    "minute": _minute,
    "month": _month,
    "year": _year,
}

FUNCTIONS = tuple(Function(name, _of_dates(part)) for name, part in _PARTS.items())

"""Instants and durations as Prometheus' HTTP API reads them, to the millisecond.

Rule: an instant in seconds is rounded to a millisecond, halves away from zero; RFC 3339 and durations lose what is
below one, toward 1970. What Prometheus takes and then computes nonsense with is refused: an infinite instant, a step
shorter than a millisecond. Its overflow of instants before 1678 and after 2261 is not copied.
Source: a real Prometheus' answers (`tests/contract/test_prometheus_times.py`); RFC 3339.
"""

from __future__ import annotations

import math
import re
from datetime import datetime

from federation_core.errors import InvalidRequest
from federation_core.times import MAX_MS, MIN_MS, parse_duration_ms

_DIGITS = "[0-9](_?[0-9])*"
_NUMBER = re.compile(rf"[+-]?({_DIGITS}(\.({_DIGITS})?)?|\.{_DIGITS})([eE][+-]?{_DIGITS})?")
_RFC_3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})([.,][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_DURATION = re.compile(r"[0-9a-z]+")
#: What Prometheus' own client sends for "from the beginning" and "to the end".
_ENDS = {"-292273086-05-16T16:47:06Z": MIN_MS, "292277025-08-18T07:12:54.999999999Z": MAX_MS}
#: The longest duration of Prometheus, which counts nanoseconds in 64 bits.
_LONGEST_MS = (2**63 - 1) // 10**6
_LONGEST_S = 2**63 / 10**9


def read_instant_ms(text: str) -> int:
    """Read seconds since the epoch, with a fraction or not, or RFC 3339.

    Raises ValueError: it is neither, with what is wrong.

    >>> read_instant_ms("0.0005"), read_instant_ms("1970-01-01T00:00:00.0009Z"), read_instant_ms("-1.5")
    (1, 0, -1500)
    """
    if text in _ENDS:
        return _ENDS[text]
    at_ms = None
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        at_ms = _rounded_ms(seconds) if math.isfinite(seconds) else None
    elif found := _RFC_3339.fullmatch(text):
        at_ms = _cut_ms(*found.groups())
    if at_ms is None:
        raise ValueError(f'cannot parse "{text}" to a valid timestamp')
    if not MIN_MS <= at_ms <= MAX_MS:
        raise ValueError(f'"{text}" is not within the years 1 to 9999')
    return at_ms


def read_duration_ms(text: str) -> int:
    """Read seconds, with a sign and a fraction or not, or a duration such as `1m30s`; what is below 1 ms is cut off.

    Raises ValueError: it is neither, or too long.

    >>> read_duration_ms("1.0009"), read_duration_ms("1m30s"), read_duration_ms("-0.5")
    (1000, 90000, -500)
    """
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        if abs(seconds) > _LONGEST_S:
            raise ValueError(f'cannot parse "{text}" to a valid duration. It overflows int64')
        # By way of whole nanoseconds, as there: 1.001 s are 1,000,999,999 of them, and so 1000 ms.
        return _toward_zero(int(seconds * 1e9))
    try:
        duration_ms = parse_duration_ms(text) if _DURATION.fullmatch(text) else None
    except InvalidRequest:
        duration_ms = None
    if duration_ms is None or duration_ms > _LONGEST_MS:
        raise ValueError(f'cannot parse "{text}" to a valid duration')
    return duration_ms


def _rounded_ms(seconds: float) -> int:
    fraction, whole = math.modf(seconds)
    thousandths = abs(fraction) * 1000
    below = math.floor(thousandths)
    nearest = below + (thousandths - below >= 0.5)
    return int(whole) * 1000 + (nearest if seconds >= 0 else -nearest)


def _cut_ms(moment: str, fraction: str | None, zone: str) -> int | None:
    try:
        seconds = int(datetime.fromisoformat(moment + zone).timestamp())
    except (ValueError, OverflowError):
        return None
    return _toward_zero(seconds * 10**9 + int((fraction or ".0")[1:].ljust(9, "0")))


def _toward_zero(duration_ns: int) -> int:
    return duration_ns // 10**6 if duration_ns >= 0 else -(-duration_ns // 10**6)

"""Durations as TraceQL writes them, in nanoseconds inside."""

from __future__ import annotations

import re
from fractions import Fraction

from federation_core.errors import InvalidRequest

_UNIT_NS = {
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "µs": 1_000,
    "ns": 1,
}
_PART = r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)"
_PARTS = re.compile(_PART)
#: A duration that no letter, digit or dot continues.
DURATION = re.compile(rf"(?:{_PART})+(?![A-Za-z0-9_µ.])")
#: The longest duration, which is what 64 bits hold, and the longest text that is read as one.
MAX_NS, _LONGEST = 2**63 - 1, 200


def parse_duration_ns(text: str, field: str = "duration") -> int:
    """Read a duration such as `100ms` or `1m30s`; return nanoseconds.

    Raises InvalidRequest: naming `field`, what was given and what would be right, also where it is beyond 64 bits.

    >>> parse_duration_ns("1.5ms")
    1500000
    """
    text = text.strip()
    if len(text) <= _LONGEST and DURATION.fullmatch(text):
        duration_ns = round(sum(Fraction(number) * _UNIT_NS[unit] for number, unit in _PARTS.findall(text)))
        if duration_ns <= MAX_NS:
            return duration_ns
    raise InvalidRequest(
        f"{field}: {text[:_LONGEST]!r} is not a duration",
        field=field,
        got=text[:_LONGEST],
        expected="a duration such as 250us, 100ms or 1m30s, at most 292 years",
    )


def print_duration(duration_ns: int) -> str:
    """Print a duration in the largest unit that keeps it whole.

    >>> print_duration(1_500_000_000), print_duration(0)
    ('1500ms', '0ns')
    """
    whole = (unit for unit, unit_ns in _UNIT_NS.items() if duration_ns and duration_ns % unit_ns == 0)
    unit = next(whole, "ns")
    return f"{duration_ns // _UNIT_NS[unit]}{unit}"

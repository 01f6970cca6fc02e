"""Instants and durations as users write them, in milliseconds inside.

Rule: a text that can be read two ways is refused. Durations follow the Prometheus documentation, "Querying
basics / Float literals and time durations"; instants are RFC 3339, unix seconds or relative to now.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from federation_core.errors import InvalidRequest

_UNIT_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
# Units must descend and appear once each; the pattern is ours and linear, so `re` is safe here.
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>[0-9]+){unit})?" for unit in _UNIT_MS))
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|[+-]?\.[0-9]+")
#: The instants accepted, from the start of the year 1 to the end of the year 9999, in milliseconds since the epoch.
MIN_MS, MAX_MS = -62_135_596_800_000, 253_402_300_799_999


def parse_duration_ms(text: str, field: str = "duration") -> int:
    """Read `1h30m`, `250ms` or a plain number of seconds; return milliseconds.

    Raises InvalidRequest: naming `field`, what was given and what would be right.

    >>> parse_duration_ms("1h30m"), parse_duration_ms("15")
    (5400000, 15000)
    """
    text = text.strip()
    if _NUMBER.fullmatch(text) and not text.startswith(("-", "+")):
        return _bounded(float(text) * 1000, field, text)
    found = _DURATION.fullmatch(text)
    if not text or found is None or not any(found.groups()):
        raise InvalidRequest(
            f"{field}: {text!r} is not a duration",
            field=field,
            got=text,
            expected="a duration such as 30s, 5m or 1h30m",
        )
    # Digits without end are read as infinity, where `int` would refuse them with an error of its own.
    return _bounded(sum(float(n) * _UNIT_MS[unit] for unit, n in found.groupdict().items() if n), field, text)


def format_duration(duration_ms: int) -> str:
    """Print a duration as PromQL does, the largest exact units first.

    >>> format_duration(5_400_000), format_duration(0)
    ('1h30m', '0s')
    """
    if duration_ms == 0:
        return "0s"
    sign, rest, out = ("-" if duration_ms < 0 else ""), abs(duration_ms), []
    for unit, unit_ms in _UNIT_MS.items():
        # Years and weeks are printed only where nothing is left over, as Prometheus does.
        if unit in ("y", "w") and rest % unit_ms:
            continue
        if rest >= unit_ms:
            out.append(f"{rest // unit_ms}{unit}")
            rest %= unit_ms
    return sign + "".join(out)


def parse_time_ms(text: str | int | float, now_ms: int, field: str = "time") -> int:
    """Read an instant: RFC 3339, unix seconds, `now`, or relative as in `-1h`; return ms since the epoch.

    Raises InvalidRequest: also for RFC 3339 text without a zone, which could mean two instants.

    >>> parse_time_ms("-1h", 7_200_000), parse_time_ms("1970-01-01T00:00:01Z", 0), parse_time_ms(1.5, 0)
    (3600000, 1000, 1500)
    """
    raw = str(text).strip()
    if raw == "now":
        return now_ms
    if _NUMBER.fullmatch(raw):
        return _bounded(float(raw) * 1000, field, raw)
    if raw.startswith("-"):
        return _bounded(now_ms - parse_duration_ms(raw[1:], field), field, raw)
    try:
        moment = datetime.fromisoformat(raw)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        what = "is not an instant" if moment is None else "has no time zone"
        raise InvalidRequest(
            f"{field}: {raw!r} {what}",
            field=field,
            got=raw,
            expected="RFC 3339 with a zone (2026-11-24T05:00:00Z), unix seconds, or relative such as -1h",
        )
    return _bounded(moment.timestamp() * 1000, field, raw)


def format_time(time_ms: int) -> str:
    """Print an instant as RFC 3339 in UTC with milliseconds.

    >>> format_time(1500)
    '1970-01-01T00:00:01.500Z'
    """
    seconds, rest_ms = divmod(time_ms, 1000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ms * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _bounded(value_ms: float, field: str, text: str) -> int:
    if not MIN_MS <= value_ms <= MAX_MS:
        raise InvalidRequest(
            f"{field}: {text!r} is out of range", field=field, got=text, expected="within the years 1 to 9999"
        )
    return round(value_ms)

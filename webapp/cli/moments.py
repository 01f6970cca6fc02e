"""Instants and durations as they are shown: in the zone of this machine (`TZ`), which is always named."""

from __future__ import annotations

from datetime import datetime

#: Rising units of a duration in nanoseconds.
_UNITS = ((1_000, "µs"), (1_000_000, "ms"), (1_000_000_000, "s"))
#: Falling units of an age in milliseconds.
_AGES = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"))


def moment(time_ms: float, *, milliseconds: bool = False) -> str:
    """Return the local date and time."""
    return _local(time_ms).strftime("%Y-%m-%d %H:%M:%S") + (f".{int(time_ms) % 1000:03d}" if milliseconds else "")


def clock(time_ms: float, *, seconds: bool = True) -> str:
    """Return the local time of day."""
    return _local(time_ms).strftime("%H:%M:%S" if seconds else "%H:%M")


def zone(time_ms: float) -> str:
    """Return the name of the local zone at that instant, with its offset where the name hides it."""
    local = _local(time_ms)
    name, offset = local.strftime("%Z"), local.strftime("%z")
    written = f"{offset[:3]}:{offset[3:5]}"
    return name if name == "UTC" else f"UTC{written}" if name.startswith(("+", "-")) else f"{name} (UTC{written})"


def interval(start_ms: float, end_ms: float) -> str:
    """Return `2026-11-24 05:00:00 – 06:00:00 CET (UTC+01:00)`."""
    same_day = _local(start_ms).date() == _local(end_ms).date()
    return f"{moment(start_ms)} – {clock(end_ms) if same_day else moment(end_ms)} {zone(end_ms)}"


def duration(duration_ns: float) -> str:
    """Return a duration in the unit that leaves one to three digits before the point.

    >>> duration(1_500_000), duration(250), duration(12_000_000_000)
    ('1.50 ms', '250 ns', '12.0 s')
    """
    for unit_ns, unit in reversed(_UNITS):
        if abs(duration_ns) >= unit_ns:
            value = duration_ns / unit_ns
            digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
            return f"{value:.{digits}f} {unit}"
    return f"{duration_ns:.0f} ns"


def ago(age_ms: float) -> str:
    """Return how long ago something was, in the largest unit of which it has at least two, or in seconds.

    >>> ago(400), ago(12_000), ago(119_000), ago(840_000), ago(7_300_000), ago(200_000_000)
    ('just now', '12 s ago', '119 s ago', '14 min ago', '2 h ago', '2 d ago')
    """
    if age_ms < 1000:
        return "just now"
    for unit_ms, unit in _AGES:
        if age_ms >= 2 * unit_ms:
            return f"{age_ms // unit_ms:.0f} {unit} ago"
    return f"{age_ms // 1000:.0f} s ago"


def _local(time_ms: float) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000).astimezone()

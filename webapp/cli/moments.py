"""Instants and durations as they are shown: in the zone of this machine (`TZ`), which is always named."""

from __future__ import annotations

from datetime import datetime

#: Rising units of a duration in nanoseconds.
_UNITS = ((1_000, "µs"), (1_000_000, "ms"), (1_000_000_000, "s"))


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


def _local(time_ms: float) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000).astimezone()

"""Text from clusters on a terminal, and times."""

from __future__ import annotations

import pytest

from webapp.cli import moments
from webapp.cli.terminal import plain, printable


@pytest.mark.parametrize(
    "text",
    ["\x1b[2J", "\x1b]0;title\x07", "a\rb", "\x9b31m", "\u202etxt.exe", "line\u2028break", "\x00", "\x7f"],
)
def test_no_control_or_reordering_character_reaches_the_terminal(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable("plain Zürich\t✓") == "plain Zürich\t✓"


def test_what_looks_like_markup_is_shown_as_it_is() -> None:
    assert plain("[red]x[/red]").plain == "[red]x[/red]"


def test_a_time_is_local_and_its_zone_is_named() -> None:
    at_ms = 1_795_500_000_123
    assert moments.moment(at_ms) == "2026-11-24 07:00:00"
    assert moments.moment(at_ms, milliseconds=True) == "2026-11-24 07:00:00.123"
    assert moments.zone(at_ms) == "CET (UTC+01:00)"
    assert moments.zone(1_783_000_000_000) == "CEST (UTC+02:00)"


def test_an_interval_names_the_second_day_only_if_it_is_another() -> None:
    at_ms = 1_795_500_000_000
    assert moments.interval(at_ms, at_ms + 60_000) == "2026-11-24 07:00:00 – 07:01:00 CET (UTC+01:00)"
    assert moments.interval(at_ms, at_ms + 86_400_000).count("2026-11-2") == 2


def test_durations_are_in_a_readable_unit() -> None:
    assert [moments.duration(ns) for ns in (999, 1_000, 999_000_000, 90_000_000_000, 0, -40_000_000)] == [
        "999 ns",
        "1.00 µs",
        "999 ms",
        "90.0 s",
        "0 ns",
        "-40.0 ms",
    ]

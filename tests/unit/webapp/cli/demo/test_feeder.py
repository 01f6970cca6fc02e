"""The feeder as a process that may be killed: what it finds again."""

from __future__ import annotations

from pathlib import Path

from webapp.cli.demo import feeder


def test_a_feeder_that_is_started_again_finds_when_the_shop_was_opened(tmp_path: Path) -> None:
    first = feeder._origin_ms(tmp_path, 10_000_000_000)
    assert first < 10_000_000_000 - feeder.HISTORY_HOURS * 3_600_000
    assert feeder._origin_ms(tmp_path, 10_000_900_000) == first


def test_a_torn_note_of_the_opening_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / feeder.ORIGIN).write_text("")
    first = feeder._origin_ms(tmp_path, 10_000_000_000)
    assert feeder._origin_ms(tmp_path, 10_000_900_000) == first

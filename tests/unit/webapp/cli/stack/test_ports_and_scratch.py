"""The port that is taken, and the folder that goes."""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path

import pytest

from webapp.cli.stack import ports
from webapp.cli.stack.ports import PortBusy, address, listen
from webapp.cli.stack.scratch import Scratch


def test_a_port_that_is_asked_for_and_busy_is_an_error_that_says_what_to_do() -> None:
    with listen("127.0.0.1", 0) as holder, pytest.raises(PortBusy, match=r"in use.*--port"):
        listen("127.0.0.1", holder.getsockname()[1])


def test_without_a_port_the_next_free_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with listen("127.0.0.1", 0) as holder:
        busy = holder.getsockname()[1]
        monkeypatch.setattr(ports, "DEFAULT_PORT", busy)
        with listen("127.0.0.1", None) as taken:
            assert busy < taken.getsockname()[1] < busy + 50


def test_an_address_can_be_opened_from_this_machine() -> None:
    with listen("0.0.0.0", 0) as everywhere, listen("127.0.0.1", 0) as here:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address(everywhere))
        assert address(here).endswith(str(here.getsockname()[1]))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of our own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def age(folder: Path) -> None:
    past_s = time.time() - 3600
    os.utime(folder, (past_s, past_s))


def test_the_folder_is_gone_when_the_run_ends(temporary: Path) -> None:
    with Scratch() as scratch:
        (scratch.path / "redis").mkdir()
    assert list(temporary.iterdir()) == []


def test_a_folder_that_is_kept_stays(temporary: Path) -> None:
    with Scratch() as scratch:
        scratch.keep()
    assert scratch.path.is_dir()
    age(scratch.path)
    with Scratch():
        assert scratch.path.is_dir()


def test_what_a_killed_run_left_is_removed_and_what_a_living_one_uses_is_not(temporary: Path) -> None:
    with Scratch() as living:
        dead = temporary / "appsentry-dead"
        dead.mkdir()
        (dead / "owner.lock").touch()
        other = temporary / "appsentry-of-somebody-else"
        other.mkdir()
        for folder in (living.path, dead, other):
            age(folder)
        with Scratch():
            assert living.path.is_dir()
            assert other.is_dir()
            assert not dead.exists()

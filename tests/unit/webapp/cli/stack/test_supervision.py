"""A role that ends is started again: when, after what, and what is said. Real processes, the clock is ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.webapp.cli.stack.test_journal import wait_for
from tests.unit.webapp.cli.stack.test_processes import FAMILY, gone
from webapp.cli.stack.guard import Guard
from webapp.cli.stack.journal import Journal
from webapp.cli.stack.process import Process, Role
from webapp.cli.stack.supervision import LONGEST_WAIT_S, OFTEN, SETTLED_S, STABLE_S, Backoff, Supervised


class Stage:
    """One supervised role, a clock that is turned by hand, and everything that was told."""

    def __init__(self, folder: Path, script: str) -> None:
        self.guard = Guard()
        self.journal = Journal(folder / "log", lambda role, text: None)
        self.folder = folder
        self.now_s = 1000.0
        self.told: list[str] = []
        self.broken: OSError | None = None
        role = Role("it", [sys.executable, "-c", script], dict(os.environ))
        self.role = Supervised(role, self._launch, self.journal.last_words, self.now_s)

    def _launch(self, role: Role) -> Process:
        if self.broken is not None:
            raise self.broken
        return Process(role, str(self.folder), self.guard, self.journal)

    def look(self, later_s: float = 0.0) -> None:
        self.now_s += later_s
        self.role.look(self.now_s, self.told.append)

    @property
    def process(self) -> Process:
        assert self.role.process is not None
        return self.role.process

    def has_ended(self) -> None:
        """Wait until the present process has ended of itself, and notice it."""
        wait_for(lambda: self.process.status() is not None)
        self.look()

    def close(self) -> None:
        if self.role.process is not None:
            self.process.end(0)
        self.journal.close()
        self.guard.dismiss()


@pytest.fixture
def steady(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, FAMILY)
    yield stage
    stage.close()


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, "print('no such table', flush=True); raise SystemExit(7)")
    yield stage
    stage.close()


def kill(stage: Stage) -> None:
    os.kill(stage.process.pid, 9)
    stage.has_ended()


def test_waits_double_up_to_the_longest_and_begin_anew_after_a_stable_run() -> None:
    backoff = Backoff()
    waits = [backoff.after(1.0) for _ in range(2000)]
    assert waits[:7] == [0.5, 1, 2, 4, 8, 16, LONGEST_WAIT_S]
    assert waits[-1] == LONGEST_WAIT_S
    assert backoff.after(STABLE_S) == 0.5


def test_a_killed_role_is_started_again_once_its_wait_is_over_and_both_are_said(steady: Stage) -> None:
    first = steady.process.pid
    kill(steady)
    assert steady.told == ["it ended (signal SIGKILL) and is started again"]
    steady.look(0.4)
    assert steady.role.process is None
    steady.look(0.2)
    assert steady.process.pid != first
    steady.look(SETTLED_S)
    steady.look(1)
    assert steady.told[1:] == ["it runs again"]


def test_nothing_is_left_of_a_role_before_it_is_started_again(steady: Stage) -> None:
    wait_for(lambda: bool(steady.journal.last_words("it")))
    child = int(steady.journal.last_words("it")[0])
    kill(steady)
    assert gone(child)


def test_a_role_that_fails_again_and_again_is_said_clearly_with_its_last_words(failing: Stage) -> None:
    for _ in range(OFTEN):
        failing.look(LONGEST_WAIT_S)
        if failing.role.process is None:
            failing.look()
        wait_for(lambda: bool(failing.journal.last_words("it")))
        if failing.role.process is not None:
            failing.has_ended()
    said = failing.told[-1]
    assert said.startswith(f"it fails again and again: it ended (exit status 7), {failing.role.backoff.ends} times")
    assert "no such table" in said


def test_a_role_that_goes_on_failing_is_not_told_each_time(failing: Stage) -> None:
    while failing.role.backoff.ends < 3 * OFTEN:
        failing.has_ended()
        failing.look(LONGEST_WAIT_S)
    assert len(failing.told) == OFTEN


def test_a_role_that_cannot_even_be_started_is_tried_again(steady: Stage) -> None:
    kill(steady)
    steady.broken = OSError(11, "Resource temporarily unavailable")
    steady.look(1)
    assert "could not be started: Resource temporarily unavailable" in steady.told[-1]
    steady.broken = None
    steady.look(LONGEST_WAIT_S)
    assert steady.process.status() is None

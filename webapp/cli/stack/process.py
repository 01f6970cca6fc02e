"""One role of the stack as a process: started in a session of its own, ended with all it has started itself."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from webapp.cli.stack.guard import Guard
from webapp.cli.stack.journal import Journal

_LAST_BREATH_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Role:
    """What to run: `title` is how messages call it. `inherits` are file descriptors that it takes over."""

    title: str
    argv: Sequence[str]
    environ: Mapping[str, str] = field(repr=False)
    inherits: tuple[int, ...] = ()


class Process:
    """A running role. Its process group is its own, so that a Ctrl-C of the terminal reaches us alone."""

    def __init__(self, role: Role, cwd: str, guard: Guard, journal: Journal) -> None:
        self.role = role
        self._guard = guard
        reading, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                guard.signing_in(role.argv),
                env=dict(role.environ),
                cwd=cwd,
                stdin=guard.door,
                stdout=writing,
                stderr=writing,
                pass_fds=role.inherits,
                start_new_session=True,
            )
        finally:
            os.close(writing)
        journal.follow(role.title, reading)

    @property
    def pid(self) -> int:
        """The process id, which is its process group's and session's id too."""
        return self._process.pid

    def status(self) -> int | None:
        """Return the exit status, or None while it runs; a signal's number is negative."""
        return self._process.poll()

    def ask_to_end(self) -> None:
        """Send SIGTERM to the role, which ends what it started."""
        if self.status() is None:
            self._process.send_signal(signal.SIGTERM)

    def end(self, by_s: float) -> None:
        """Wait until `by_s` (monotonic seconds) for the whole group to be gone, then kill what is left of it."""
        while time.monotonic() < by_s and (self.status() is None or self._group_lives()):
            time.sleep(0.02)
        if self._group_lives():
            self._signal_group(signal.SIGKILL)
        self._process.wait()
        # Whoever died with it does so a moment later; zombies that nobody collects are not waited for.
        gone_by_s = time.monotonic() + _LAST_BREATH_S
        while self._group_lives() and time.monotonic() < gone_by_s:
            time.sleep(0.005)
        self._guard.forget(self.pid)

    def _group_lives(self) -> bool:
        return self._signal_group(0)

    def _signal_group(self, number: int) -> bool:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            # Some systems answer so for a group of nothing but zombies.
            return False
        return True


def how_it_ended(status: int) -> str:
    """Say an exit status in words.

    >>> how_it_ended(3), how_it_ended(-9)
    ('exit status 3', 'signal SIGKILL')
    """
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

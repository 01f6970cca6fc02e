"""The command line as its users run it: a process of its own, found again by a mark in its environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

PROJECT = Path(__file__).parents[2]
#: Longer than any start on a busy machine; a test that waits so long has failed.
PATIENCE_S = 90.0
_MARK = "APPSENTRY_TEST_MARK"
_ADDRESS = re.compile(r"answers? at (http://\S+)")


def environment(mark: str, **more: str) -> dict[str, str]:
    """Return an environment that finds our packages, holds no setting of the caller's, and carries the mark."""
    ours = ("APPSENTRY_", "CLUSTER_CONFIG", "REDIS_URL", "AUTH_", "JWT_", "COVERAGE", "LOG_LEVEL", "TZ")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": str(PROJECT), _MARK: mark, **more}


def run(*arguments: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a folder that is not the project's."""
    return subprocess.run(
        [sys.executable, "-m", "webapp.cli", *arguments],
        env=environment("", TMPDIR=str(folder), **environ),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


class Running:
    """A command that stays up, with everything it has started."""

    def __init__(self, *arguments: str, folder: Path, **environ: str) -> None:
        self.mark = uuid.uuid4().hex
        self._output = folder / f"{self.mark}.out"
        self._seen: set[psutil.Process] = set()
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "webapp.cli", *arguments],
                env=environment(self.mark, TMPDIR=str(folder), **environ),
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def said(self) -> str:
        """Everything it has written so far."""
        return self._output.read_text()

    def url(self) -> str:
        """Wait until it says its address, and return that."""
        self.until(lambda: _ADDRESS.search(self.said()) is not None)
        found = _ADDRESS.search(self.said())
        assert found is not None
        self.family()
        return found[1]

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait for something that must happen while it runs."""
        give_up_s = time.monotonic() + PATIENCE_S
        while not happened():
            assert self._process.poll() is None, f"it ended with {self._process.returncode}:\n{self.said()}"
            assert time.monotonic() < give_up_s, f"it did not happen:\n{self.said()}"
            time.sleep(0.05)

    def family(self) -> dict[int, str]:
        """Return the living processes that it has started or that carry its mark, itself included: id → command line.

        A process that was seen once is asked for again: redis-server writes its title over its environment.
        """
        self._seen.update(_marked(self.mark))
        if self._process.poll() is None:
            self._seen.update(psutil.Process(self.pid).children(recursive=True))
        commands = {process.pid: _command(process) for process in self._seen}
        return {pid: command for pid, command in commands.items() if command is not None}

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal to it alone and return the exit status."""
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait until it ends by itself and return the exit status."""
        return self._process.wait(PATIENCE_S)

    def close(self) -> None:
        """Kill what is left of it, for a test that has failed half-way."""
        if self._process.poll() is None:
            self.end(signal.SIGTERM)
        for pid in self.family():
            os.kill(pid, signal.SIGKILL)


def wait_until(happened: Callable[[], bool], explain: Callable[[], object]) -> None:
    """Wait for something that must happen soon."""
    give_up_s = time.monotonic() + 15
    while not happened():
        assert time.monotonic() < give_up_s, explain()
        time.sleep(0.05)


def _command(process: psutil.Process) -> str | None:
    """Return the command line of a process that lives; None of one that has ended, be it while it is looked at."""
    try:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return None
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return None


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            environ: Mapping[str, str] = process.environ()
            if environ.get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found

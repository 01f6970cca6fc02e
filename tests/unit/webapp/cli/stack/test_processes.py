"""No process outlives its stack: real processes, really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.unit.webapp.cli.stack.test_journal import wait_for
from webapp.cli.stack.commands import environment
from webapp.cli.stack.guard import Guard
from webapp.cli.stack.journal import Journal
from webapp.cli.stack.process import Process, Role

#: A role with a child of its own; both ignore SIGTERM if told so. It prints the child's id.
FAMILY = """
import os, signal, subprocess, sys, time
if "stubborn" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import sys, time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
#: A stack in small: a guard, a family in its care, then a long sleep.
OWNER = """
import subprocess, sys, time
from webapp.cli.stack.guard import Guard
guard = Guard()
command = guard.signing_in([sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
family = subprocess.Popen(command, stdin=guard.door, start_new_session=True, stdout=subprocess.PIPE)
print(family.pid, int(family.stdout.readline()), guard.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def guard() -> Iterator[Guard]:
    guard = Guard()
    yield guard
    guard.dismiss()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "log", lambda role, text: None)
    yield journal
    journal.close()


def family(guard: Guard, journal: Journal, tmp_path: Path, *arguments: str) -> tuple[Process, int]:
    """Start a role with a child; return the role and the child's process id."""
    role = Role("family", [sys.executable, "-c", FAMILY, *arguments], dict(os.environ))
    process = Process(role, str(tmp_path), guard, journal)
    wait_for(lambda: bool(journal.last_words("family")))
    return process, int(journal.last_words("family")[0])


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def ignored(pid: int) -> int:
    """Return the signals that a process ignores, as the mask that Linux shows."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16)


def test_a_role_is_ended_together_with_its_children(guard: Guard, journal: Journal, tmp_path: Path) -> None:
    process, child = family(guard, journal, tmp_path)
    process.ask_to_end()
    process.end(time.monotonic() + 0.2)
    wait_for(lambda: gone(child))
    assert process.status() == -signal.SIGTERM


def test_a_role_that_does_not_listen_is_killed_in_time(guard: Guard, journal: Journal, tmp_path: Path) -> None:
    process, child = family(guard, journal, tmp_path, "stubborn")
    process.ask_to_end()
    process.end(time.monotonic() + 0.2)
    assert process.status() == -signal.SIGKILL
    wait_for(lambda: gone(child))


def test_a_role_has_a_session_of_its_own(guard: Guard, journal: Journal, tmp_path: Path) -> None:
    process, _ = family(guard, journal, tmp_path)
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    process.end(time.monotonic())


@pytest.mark.parametrize("manners", ["", "stubborn"])
def test_nothing_survives_when_the_owner_is_killed(manners: str) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, FAMILY, manners], stdout=subprocess.PIPE, text=True, env=environment(os.environ)
    )
    assert owner.stdout is not None
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    assert not any(map(gone, pids))
    owner.kill()
    owner.wait()
    owner.stdout.close()
    for pid in pids:
        wait_for(lambda pid=pid: gone(pid))


def test_a_process_is_known_before_it_becomes_what_it_is_to_be(tmp_path: Path) -> None:
    """The owner dies between starting a process and anything it could do about it."""
    born = tmp_path / "born"
    dying = """
import os, subprocess, sys
from webapp.cli.stack.guard import Guard
guard = Guard()
command = guard.signing_in(["sleep", "600"])
# The shell is held up before its first command, and the owner is gone meanwhile.
held = ["/bin/sh", "-c", 'echo $$ > "$0"; sleep 0.3; exec "$@"', sys.argv[1], *command]
subprocess.Popen(held, stdin=guard.door, start_new_session=True)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", dying, str(born)], check=True, env=environment(os.environ))
    wait_for(lambda: born.exists() and bool(born.read_text()))
    child = int(born.read_text())
    wait_for(lambda: gone(child))


def test_a_group_that_is_forgotten_is_left_alone() -> None:
    guard = Guard()
    command = guard.signing_in([sys.executable, "-c", "print('up', flush=True); import time; time.sleep(600)"])
    with subprocess.Popen(command, stdin=guard.door, stdout=subprocess.PIPE, start_new_session=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        guard.forget(other.pid)
        guard.door.close()
        wait_for(lambda: gone(guard.pid))
        assert other.poll() is None
        other.kill()
    guard.dismiss()


def test_a_guard_that_is_killed_is_replaced_by_one_that_knows_the_same_groups(journal: Journal, tmp_path: Path) -> None:
    guard = Guard()
    process, child = family(guard, journal, tmp_path)
    assert not guard.replace_if_dead([process.pid])
    os.kill(guard.pid, signal.SIGKILL)
    wait_for(lambda: gone(guard.pid))
    assert guard.replace_if_dead([process.pid])
    guard.door.close()
    wait_for(lambda: gone(child) and process.status() is not None)
    guard.dismiss()


def test_the_guard_outlives_signals_meant_for_the_terminal(guard: Guard) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    wait_for(lambda: all(ignored(guard.pid) >> number - 1 & 1 for number in numbers))
    for number in numbers:
        os.kill(guard.pid, number)
    time.sleep(0.05)
    assert not gone(guard.pid)


def test_a_dismissed_guard_ends_nobody(journal: Journal, tmp_path: Path) -> None:
    guard = Guard()
    process, _ = family(guard, journal, tmp_path)
    guard.dismiss()
    time.sleep(0.05)
    assert process.status() is None
    process.end(time.monotonic())

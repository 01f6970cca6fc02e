"""One run of the stack, from the first process to the last: signals, the temporary folder, the log, the port.

Rule: whichever way a run ends (a signal, a role's death, a mistake of ours), `Stack.stop` has run before the
process ends.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import click

from federation_core.config import Settings
from webapp.cli.stack.journal import Journal
from webapp.cli.stack.ports import DEFAULT_PORT, PortBusy, listen
from webapp.cli.stack.process import Role
from webapp.cli.stack.scratch import Scratch
from webapp.cli.stack.single_machine import Stack, StartFailed

LOG_NAME = "stack.log"
#: The exit code of a run that was ended before it had done what it was for.
INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Stopping:
    """What a signal does: it sets `event`, and interrupts, once, what runs while `interrupts` is true."""

    event: threading.Event = field(default_factory=threading.Event)
    interrupts: bool = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self.event.set()
        if self.interrupts:
            self.interrupts = False
            raise KeyboardInterrupt


@dataclass(frozen=True, slots=True)
class Run:
    """What to run and how to show it.

    `greeting` is said when the port is ours. `ready` is called with the address and the log's path when all is
    ready: it returns an exit code to end with, or None to stay up. `also` says whether the companions are ready.
    """

    greeting: str

    settings: Settings
    config: Path
    host: str
    port: int | None
    log: Path | None
    environ: Mapping[str, str]
    ready: Callable[[str, Path], int | None]
    companions: Sequence[Role] = ()
    also: Callable[[], bool] = lambda: True


def run(wanted: Run, scratch: Scratch) -> int:
    """Run the stack until it is told to stop, or `wanted.ready` has an exit code; return the exit code.

    Raises click.ClickException: the port is busy, or a role did not come up.
    """
    stopping = Stopping()
    try:
        listener = listen(wanted.host, wanted.port)
    except PortBusy as exc:
        raise click.ClickException(str(exc)) from None
    except OSError as exc:
        raise click.ClickException(f"--host: cannot listen on {wanted.host!r}: {exc.strerror}") from None
    if wanted.port is None and (taken := listener.getsockname()[1]) != DEFAULT_PORT:
        click.echo(f"Port {DEFAULT_PORT} is in use; taking {taken}.", err=True)
    try:
        journal = Journal(wanted.log or scratch.path / LOG_NAME, _tell_error)
    except OSError as exc:
        raise click.ClickException(f"--log: cannot write {wanted.log}: {exc.strerror}") from None
    click.echo(wanted.greeting, err=True)
    stack = Stack(wanted.settings, wanted.config, listener, journal, scratch.path, _tell)
    with _signals(stopping):
        try:
            return _run(wanted, stack, stopping, journal)
        except KeyboardInterrupt:
            return INTERRUPTED
        except StartFailed as exc:
            if wanted.log is None:
                scratch.keep()
            raise click.ClickException(f"{exc}\nThe log of all roles is {journal.path}") from None
        finally:
            stopping.interrupts = False
            stack.stop()
            journal.close()


def _run(wanted: Run, stack: Stack, stopping: Stopping, journal: Journal) -> int:
    stack.start(wanted.environ, wanted.companions, stopping.event)
    if not stack.wait_until_ready(stopping.event, wanted.also):
        return INTERRUPTED
    stopping.interrupts = True
    code = wanted.ready(stack.url, journal.path)
    stopping.interrupts = False
    if code is not None:
        return code
    stack.watch(stopping.event)
    click.echo("Stopping …", err=True)
    return 0


@contextmanager
def _signals(stopping: Stopping) -> Iterator[None]:
    """Have signals handled by `stopping` within the block; one that was ignored (nohup) stays so."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if not (number == signal.SIGHUP and handler is signal.SIG_IGN):
            signal.signal(number, stopping)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(text: str) -> None:
    click.echo(text, err=True)


def _tell_error(role: str, text: str) -> None:
    click.echo(click.style(f"{role}: ", fg="red") + text, err=True)

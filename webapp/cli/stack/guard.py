"""The guard: a tiny process that ends the stack's processes if we die without having done so ourselves.

Rule: nothing we start survives us, not even after `kill -9`. The guard reads the process groups from a pipe whose
writing end is ours: at its end, however it came, what is in those groups is ended, grandchildren included. A process
signs itself in before it becomes what it is to be, and holds the pipe open until then, so there is no moment at which
we can be killed and it is not known. A group that has ended is signed out: its number may soon be somebody else's.
A shell does it, because a second Python would cost more memory than the smallest role.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import IO, Final

_SCRIPT: Final = """
trap '' INT TERM HUP
groups=
while read -r sign group; do
  rest=
  for one in $groups; do [ "$one" = "$group" ] || rest="$rest $one"; done
  [ "$sign" = - ] || rest="$rest $group"
  groups=$rest
done
for group in $groups; do kill -TERM "-$group"; done
sleep 2
for group in $groups; do kill -KILL "-$group"; done
"""
#: Signs in on standard input, lets go of it, and becomes the command.
_SIGN_IN: Final = 'echo "+ $$" >&0 && exec "$@" </dev/null'


class Guard:
    """Watches over process groups until it is dismissed."""

    def __init__(self) -> None:
        self._process = _start()

    @property
    def pid(self) -> int:
        """The guard's process id."""
        return self._process.pid

    @property
    def door(self) -> IO[bytes]:
        """What `signing_in` needs as its standard input."""
        assert self._process.stdin is not None
        return self._process.stdin

    def signing_in(self, argv: Sequence[str]) -> list[str]:
        """Return a command line that gives its process group into the guard's care and becomes `argv`.

        It must lead a group of its own, and its standard input must be `door`.
        """
        return ["/bin/sh", "-c", _SIGN_IN, "sh", *argv]

    def forget(self, process_group: int) -> None:
        """Release a process group of which nothing is left."""
        self._say("-", process_group)

    def replace_if_dead(self, process_groups: Iterable[int]) -> bool:
        """Start another guard over these groups if this one has been killed; return whether it had been."""
        if self._process.poll() is None:
            return False
        self.door.close()
        self._process = _start()
        for process_group in process_groups:
            self._say("+", process_group)
        return True

    def dismiss(self) -> None:
        """End the guard without ending what it watched: that is gone already, and its ids may belong to others."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):
            self.door.close()

    def _say(self, sign: str, process_group: int) -> None:
        if self.door.closed:
            return
        # A guard that has just been killed is replaced by the next look at it.
        with suppress(BrokenPipeError):
            self.door.write(f"{sign} {process_group}\n".encode())
            self.door.flush()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A session of its own: what ends our terminal or our group must not end the guard.
        start_new_session=True,
        cwd="/",
        # Unbuffered, so that nothing of a broken pipe is left to be written at the end.
        bufsize=0,
    )

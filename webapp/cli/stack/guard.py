"""The guard: a tiny process that ends the stack's processes if we die without having done so ourselves.

Rule: nothing we start survives us, not even after `kill -9`. The guard reads the process groups from a pipe whose
only writing end is ours: at its end, however it came, what is in those groups is ended, grandchildren included.
A shell does it, because a second Python would cost more memory than the smallest role.
"""

from __future__ import annotations

import subprocess
from typing import Final

_SCRIPT: Final = """
trap '' INT TERM HUP
groups=
while read -r group; do groups="$groups $group"; done
for group in $groups; do kill -TERM "-$group"; done
sleep 2
for group in $groups; do kill -KILL "-$group"; done
"""


class Guard:
    """Watches over process groups until it is dismissed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # A session of its own: what ends our terminal or our group must not end the guard.
            start_new_session=True,
            cwd="/",
        )

    @property
    def pid(self) -> int:
        """The guard's process id."""
        return self._process.pid

    def watch(self, process_group: int) -> None:
        """Take a process group into care."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{process_group}\n".encode())
        self._process.stdin.flush()

    def dismiss(self) -> None:
        """End the guard without ending what it watched: that is gone already, and its ids may belong to others."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

"""What work is told when nobody wants it any more: a flag for work in steps, and a way to abort a call that blocks.

Rule: this is the contract only; threads are the running side's (`workers/cancelling.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol


class Cancellation(Protocol):
    """Whether one piece of work is cancelled; safe to use from several threads."""

    @property
    def cancelled(self) -> bool:
        """Whether the work is cancelled; it stays so."""
        ...

    def aborting(self, abort: Callable[[], None]) -> AbstractContextManager[None]:
        """Have `abort` called, from another thread, by any cancelling inside the block, and never after it.

        It must be quick, and safe to call twice.
        """
        ...

"""Keeping a role running: one that has ended is started again, later and later if that does not help, and it is said.

Rule: a role is never given up, because what stops it may pass (a full disk, another program's memory). Before it is
started again nothing is left of it. The first ends in a row are all told; of a role that goes on failing, only some.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from webapp.cli.stack.process import Process, Role, how_it_ended

#: The wait before a role is started again, doubled with each end in a row up to the longest, in seconds.
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
#: A role that has run for so long has got over what ended it.
STABLE_S: Final = 60.0
#: When a role that has been started again is said to run.
SETTLED_S: Final = 5.0
#: From this many ends in a row on, a role is said to fail again and again, and only every so many ends are told.
OFTEN: Final = 5
_TOLD_EVERY: Final = 20

Tell = Callable[[str], None]


@dataclass(slots=True)
class Backoff:
    """How many times in a row a role has ended, and how long to wait before it is started again."""

    ends: int = 0

    def after(self, ran_s: float) -> float:
        """Note an end after `ran_s` seconds; return the seconds to wait.

        >>> backoff = Backoff()
        >>> [backoff.after(ran_s) for ran_s in (0, 1, 2, 90)]
        [0.5, 1.0, 2.0, 0.5]
        """
        self.ends = 1 if ran_s >= STABLE_S else self.ends + 1
        # The exponent is bounded because a float is.
        return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self.ends - 1, 30))


class Supervised:
    """One role and its present process, if it has one; `launch` starts one, `last_words` says what it wrote last."""

    def __init__(
        self, role: Role, launch: Callable[[Role], Process], last_words: Callable[[str], list[str]], now_s: float
    ) -> None:
        self.role = role
        self.backoff = Backoff()
        self._launch = launch
        self._last_words = last_words
        self._started_s = now_s
        self._due_s = now_s
        self._settled = True
        self.process: Process | None = launch(role)

    def look(self, now_s: float, tell: Tell) -> None:
        """Notice an end, start what is due, and tell what happened; `now_s` is monotonic."""
        if self.process is not None and (status := self.process.status()) is not None:
            # What is left of its group would hold on to its queue or its files beside the new one.
            self.process.end(now_s)
            self.process = None
            self._ended(how_it_ended(status), now_s, tell)
        elif self.process is None and now_s >= self._due_s:
            self._started_s = now_s
            try:
                self.process = self._launch(self.role)
            except OSError as exc:
                self._ended(f"could not be started: {exc.strerror}", now_s, tell)
        elif self.process is not None and not self._settled and now_s - self._started_s >= SETTLED_S:
            self._settled = True
            tell(f"{self.role.title} runs again")

    def _ended(self, how: str, now_s: float, tell: Tell) -> None:
        wait_s = self.backoff.after(now_s - self._started_s)
        ends = self.backoff.ends
        self._due_s, self._settled = now_s + wait_s, False
        if ends > OFTEN and ends % _TOLD_EVERY:
            return
        if ends == 1:
            tell(f"{self.role.title} ended ({how}) and is started again")
            return
        often = f"fails again and again: it ended ({how})" if ends >= OFTEN else f"ended ({how})"
        words = "".join(f"\n    {line}" for line in self._last_words(self.role.title))
        said = f"; its last words:{words}" if words else ""
        tell(f"{self.role.title} {often}, {ends} times in a row; it is started again in {wait_s:g} s{said}")

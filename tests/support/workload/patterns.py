"""Texts that a regular expression accepts: so that series can be made which a query's conditions hit.

Rule: a text is offered only if RE2 itself accepts it; the reading here is a way to find candidates, not a second
engine. It knows literals, escapes, classes, groups, alternatives and repetitions, which is what dashboards use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

from federation_core.labels import compile_regex

#: What stands for any character.
WILDCARD = "0"
_CLASSES = {"d": "7", "w": "w", "s": " "}
#: What is tried of a class whose own characters are none of it.
_CHARACTERS = "abcxyz179_- "
_MOST_TEXTS = 24


def accepted_texts(pattern: str) -> list[str]:
    """Return texts that the anchored pattern accepts, its alternatives in order; shorter repetitions come first.

    >>> accepted_texts("PULL|PUSH"), accepted_texts("7.."), accepted_texts("2([.]0)?")
    (['PULL', 'PUSH'], ['700'], ['2', '2.0'])
    """
    regex = compile_regex(pattern)
    found = dict.fromkeys(islice(_Reader(pattern).alternatives(), _MOST_TEXTS))
    return [text for text in found if regex.fullmatch(text) is not None]


@dataclass
class _Reader:
    """Reads a pattern from left to right; every part is the list of texts that it may stand for."""

    pattern: str
    at: int = field(default=0)

    def alternatives(self) -> list[str]:
        """Read up to the end of the pattern or of the group."""
        found = self._sequence()
        while self._next() == "|":
            self.at += 1
            found += self._sequence()
        return found

    def _sequence(self) -> list[str]:
        texts = [""]
        while self._next() not in ("", "|", ")"):
            atom = self._repeated(self._atom())
            texts = list(islice((text + part for part in atom for text in texts), _MOST_TEXTS))
        return texts

    def _atom(self) -> list[str]:
        char = self._take()
        match char:
            case "(":
                if self.pattern.startswith("?:", self.at):
                    self.at += 2
                found = self.alternatives()
                self._take()
                return found
            case "[":
                return [self._class()]
            case "\\":
                escaped = self._take()
                return [_CLASSES.get(escaped, escaped)]
            case ".":
                return [WILDCARD]
            case "^" | "$":
                return [""]
        return [char]

    def _class(self) -> str:
        """Read a class and choose a character of it."""
        inner = ""
        while self._next() not in ("", "]") or not inner:
            inner += self._take()
        self._take()
        regex = compile_regex(f"[{inner}]")
        named = "" if inner.startswith("^") else inner
        return next((char for char in named + _CHARACTERS if regex.fullmatch(char)), "")

    def _repeated(self, atom: list[str]) -> list[str]:
        match self._next():
            case "?" | "*":
                self.at += 1
                return ["", *atom]
            case "+":
                self.at += 1
        return atom

    def _next(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def _take(self) -> str:
        self.at += 1
        return self.pattern[self.at - 1 : self.at]

"""What is looked at before the parser sees a text: size, nesting, operators; and where a bracket was left open.

Rule: the parser recurses on the process' own stack, so a text deep enough to exhaust it would kill the process.
Nothing reaches the parser that is not bounded here, and here alone a text is taken apart into tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from federation_core.errors import QuerySyntaxError, QueryTooLarge


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a text may be. `signs` is the longest run as in `---x`, `depth` the tree's, which recursion follows."""

    text_bytes: int
    nesting: int
    operators: int
    signs: int
    depth: int


#: A query, or a leaf: the scope's conditions are added to every selector of a leaf, so there is room for them.
QUERY = Bounds(text_bytes=32_768, nesting=64, operators=200, signs=16, depth=100)
#: What is left of such a query at the root: each of at most 201 averages in it has become a quotient of two sums.
ROOT = Bounds(text_bytes=2 * 32_768, nesting=128, operators=401, signs=16, depth=102)


class Token(NamedTuple):
    """A piece of the text, what it is, and where it begins."""

    kind: str
    word: str
    at: int


def _token_pattern(word: str) -> re.Pattern[str]:
    return re.compile(
        rf"""(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
          | (?P<raw>`[^`]*`)
          | (?P<comment>\#[^\r\n]*)
          | (?P<word>{word})
          | (?P<number>0[xX][0-9A-Za-z_.]*|(?:[0-9]|\.[0-9])(?:[eE][-+](?=[0-9])|[0-9A-Za-z_.])*)
          | (?P<open>[(\[{{])
          | (?P<close>[)\]}}])
          | (?P<operator>=~|!~|==|!=|>=|<=|[-+*/%^<>])
          | (?P<blank>[ \t\r\n]+)
          | (?P<other>.)""",
        re.VERBOSE | re.DOTALL,
    )


_TOKEN = _token_pattern("[A-Za-z_:][A-Za-z0-9_:]*")
#: Between the range and the step of a subquery the colon belongs to no name.
_TOKEN_OF_RANGE = _token_pattern("[A-Za-z_][A-Za-z0-9_]*")
_CLOSES = {")": "(", "]": "[", "}": "{"}
WORD_OPERATORS = frozenset({"and", "or", "unless", "atan2"})


def guard(text: str, bounds: Bounds = QUERY) -> list[Token]:
    """Check a text and return its tokens; together they are the text.

    Raises QueryTooLarge: too long, too deep, too many operators. QuerySyntaxError: a bracket or quote that does
    not close, or what is no Unicode text, with its place.
    """
    try:
        asked = len(text.encode())
    except UnicodeEncodeError as exc:
        raise syntax_error("half of a surrogate pair is no character", text, exc.start) from None
    if asked > bounds.text_bytes:
        raise too_large("bytes", asked, bounds.text_bytes)
    scan = _Scan(text, bounds)
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        found = scan.pattern().match(text, at)
        if found is None:  # Unreachable: the last alternative takes any character.
            raise syntax_error("this cannot be read", text, at)
        token = Token(found.lastgroup or "other", found.group(), at)
        tokens.append(token)
        if token.kind not in ("blank", "comment"):
            scan.see(token)
        at = found.end()
    scan.finish()
    return tokens


@dataclass(slots=True)
class _Scan:
    """What has been seen of a text so far: open brackets with their places, operators, the current run of signs."""

    text: str
    bounds: Bounds
    opened: list[tuple[str, int]] = field(default_factory=list)
    operators: int = 0
    signs: int = 0

    def pattern(self) -> re.Pattern[str]:
        """Return the pattern of the next token."""
        return _TOKEN_OF_RANGE if self.opened and self.opened[-1][0] == "[" else _TOKEN

    def see(self, token: Token) -> None:
        """Take in the next token that is no blank.

        Raises QuerySyntaxError, QueryTooLarge.
        """
        kind, word, at = token
        is_operator = kind == "operator" or (kind == "word" and word.lower() in WORD_OPERATORS)
        # Matchers inside braces are no operators, and are bounded by the length alone.
        self.operators += is_operator and not (self.opened and self.opened[-1][0] == "{")
        self.signs = self.signs + 1 if is_operator and word in "+-" else 0
        if kind == "open":
            self.opened.append((word, at))
        elif kind == "close":
            self._close(word, at)
        elif kind == "other" and word in "\"'`":
            raise syntax_error("this quote is not closed", self.text, at)
        self._require_bounds()

    def finish(self) -> None:
        """Raise QuerySyntaxError if a bracket is still open."""
        if self.opened:
            bracket, at = self.opened[-1]
            raise syntax_error(f"this {bracket!r} is not closed", self.text, at)

    def _require_bounds(self) -> None:
        nesting, allowed = len(self.opened), self.bounds
        # Looked at for every token: what is within the bounds must cost next to nothing.
        if nesting > allowed.nesting:
            raise too_large("nesting", nesting, allowed.nesting)
        if self.operators > allowed.operators:
            raise too_large("operators", self.operators, allowed.operators)
        if self.signs > allowed.signs:
            raise too_large("signs in a row", self.signs, allowed.signs)

    def _close(self, bracket: str, at: int) -> None:
        if not self.opened:
            raise syntax_error(f"this {bracket!r} closes nothing", self.text, at)
        if self.opened[-1][0] != _CLOSES[bracket]:
            raise syntax_error(f"this {bracket!r} meets an open {self.opened[-1][0]!r}", self.text, at)
        self.opened.pop()


def syntax_error(message: str, text: str, at: int) -> QuerySyntaxError:
    """Return the error for a place in the text, counted in lines and columns from 1."""
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return QuerySyntaxError(f"{line}:{column}: {message}", line=line, column=column)


def too_large(limit: str, asked: int, allowed: int) -> QueryTooLarge:
    """Return the error for a bound that was passed."""
    return QueryTooLarge(
        f"the query has {asked} {limit}, above {allowed}", limit=f"query {limit}", asked=asked, allowed=allowed
    )

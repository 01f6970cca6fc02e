"""What is looked at before the parser sees a text: size, nesting, operators; and where a bracket was left open.

Rule: the parser recurses on the process' own stack, so a text deep enough to exhaust it would kill the process.
Nothing reaches the parser that is not bounded here. Spellings that Prometheus accepts and the parser does not,
or reads otherwise (`literals`, `offset 0s`), are rewritten to equal ones that both read alike. The moments of `@`
are taken out of the text: the parser cannot hold those before 1970, and cuts off what Prometheus rounds.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from federation_core.errors import QuerySyntaxError, QueryTooLarge
from federation_core.signals.metrics.literals import (
    exceeds_durations,
    number_of,
    respell_number,
    respell_raw,
    respell_string,
)


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

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<raw>`[^`]*`)
      | (?P<comment>\#[^\n]*)
      | (?P<word>[A-Za-z_:][A-Za-z0-9_:]*)
      | (?P<number>(?:[0-9]|\.[0-9])[0-9A-Za-z_.]*)
      | (?P<open>[(\[{])
      | (?P<close>[)\]}])
      | (?P<operator>=~|!~|==|!=|>=|<=|[-+*/%^<>])
      | (?P<blank>\s+)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_CLOSES = {")": "(", "]": "[", "}": "{"}
#: No time at all, which the parser takes for no duration.
_NOTHING = re.compile(r"0+(?:\.0*)?|0x0+|(?:0+(?:ms|[smhdwy]))+", re.IGNORECASE)
#: Moments beyond are no times of anything, and would leave the range in which times can be computed with.
_FARTHEST_MS = 2.0**53
_WORD_OPERATORS = frozenset({"and", "or", "unless", "atan2"})


@dataclass(frozen=True, slots=True)
class Spelled:
    """A text as the parser reads it; `@ n` in it stands for the n-th of the moments, in ms."""

    text: str
    moments_ms: tuple[int, ...]
    #: What of a newer PromQL is in it that the parser does not read; empty for nothing.
    beyond: str = ""


def guard(text: str, bounds: Bounds = QUERY) -> Spelled:
    """Check a text and return it in the spelling the parser accepts.

    Raises QueryTooLarge: too long, too deep, too many operators. QuerySyntaxError: a bracket or quote that does
    not close, what is no Unicode text, or a moment that is none, with its place.
    """
    try:
        asked = len(text.encode())
    except UnicodeEncodeError as exc:
        raise syntax_error("half of a surrogate pair is no character", text, exc.start) from None
    if asked > bounds.text_bytes:
        raise too_large("bytes", asked, bounds.text_bytes)
    scan = _Scan(text, bounds)
    for token in _TOKEN.finditer(text):
        scan.see(token)
    scan.finish()
    return Spelled("".join(scan.spelled), tuple(scan.moments_ms), scan.beyond)


@dataclass(slots=True)
class _Scan:
    """What has been seen of a text so far: open brackets with their places, operators, the current run of signs."""

    text: str
    bounds: Bounds
    opened: list[tuple[str, int]] = field(default_factory=list)
    operators: int = 0
    signs: int = 0
    #: The last word, if it is an operator that still wants an operand.
    hanging: str = ""
    spelled: list[str] = field(default_factory=list)
    moments_ms: list[int] = field(default_factory=list)
    #: `@` or `offset` if its value comes next, and where in `spelled` it stands.
    modifier: str = ""
    modifier_at: int = 0
    beyond: str = ""
    #: The last token that is no blank.
    last: str = ""

    def see(self, token: re.Match[str]) -> None:
        """Take in the next token and spell it for the parser."""
        kind, word, at = token.lastgroup, token.group(), token.start()
        self.spelled.append(self._spell(kind, word, at))
        if kind in ("blank", "comment"):
            return
        self._look_beyond(kind, word)
        self._modify(kind, word, at)
        self.last = word
        is_operator = kind == "operator" or (kind == "word" and word.lower() in _WORD_OPERATORS)
        # Matchers inside braces are no operators, and are bounded by the length alone.
        self.operators += is_operator and not (self.opened and self.opened[-1][0] == "{")
        self.signs = self.signs + 1 if is_operator and word in "+-" else 0
        self.hanging = word if is_operator else ""
        if kind == "open":
            self.opened.append((word, at))
        elif kind == "close":
            self._close(word, at)
        elif kind == "other" and word in "\"'`":
            raise syntax_error("this quote is not closed", self.text, at)
        self._require_bounds()

    def finish(self) -> None:
        """Raise QuerySyntaxError if the text ends too early."""
        if self.opened:
            bracket, at = self.opened[-1]
            raise syntax_error(f"this {bracket!r} is not closed", self.text, at)
        if self.hanging:
            raise syntax_error(f"the query ends after {self.hanging!r}", self.text, len(self.text.rstrip()))

    def _spell(self, kind: str | None, word: str, at: int) -> str:
        match kind:
            case "raw":
                return respell_raw(word)
            case "number":
                if exceeds_durations(word):
                    raise syntax_error(f"duration out of range: {word} is above 292 years", self.text, at)
                return respell_number(word)
            case "string":
                try:
                    return respell_string(word)
                except ValueError:
                    raise syntax_error("the escaped bytes of this string are no UTF-8", self.text, at) from None
        return word

    def _look_beyond(self, kind: str | None, word: str) -> None:
        follows_a_selector = self.last[-1:].isalnum() or self.last in ("]", "}")
        inside_range = bool(self.opened) and self.opened[-1][0] == "["
        if kind == "word" and word.lower() in ("smoothed", "anchored") and follows_a_selector:
            self.beyond = word.lower()
        elif (inside_range and kind in ("open", "operator")) or (self.modifier.lower() == "offset" and word == "("):
            self.beyond = "duration arithmetic"

    def _modify(self, kind: str | None, word: str, at: int) -> None:
        if word == "@" or word.lower() == "offset":
            self.modifier, self.modifier_at = word, len(self.spelled) - 1
        elif self.modifier and kind == "number":
            value_at = self.modifier_at + 1
            if self.modifier == "@":
                sign = "-" if "-" in self.spelled[value_at:] else ""
                self.spelled[value_at:] = [f" {len(self.moments_ms)}"]
                self.moments_ms.append(self._moment_ms(sign + word, at))
            elif _NOTHING.fullmatch(word):
                del self.spelled[self.modifier_at :]
            self.modifier = ""
        elif word not in ("+", "-"):
            self.modifier = ""

    def _moment_ms(self, word: str, at: int) -> int:
        try:
            moment_ms = number_of(word) * 1000
        except ValueError:
            raise syntax_error(f"{word!r} is no moment; @ takes seconds since 1970", self.text, at) from None
        if not abs(moment_ms) <= _FARTHEST_MS:
            raise syntax_error(f"timestamp out of bounds for @ modifier: {word}", self.text, at)
        # Half a millisecond is rounded away from zero.
        return math.floor(moment_ms + 0.5) if moment_ms >= 0 else math.ceil(moment_ms - 0.5)

    def _require_bounds(self) -> None:
        for name, asked, allowed in (
            ("nesting", len(self.opened), self.bounds.nesting),
            ("operators", self.operators, self.bounds.operators),
            ("signs in a row", self.signs, self.bounds.signs),
        ):
            if asked > allowed:
                raise too_large(name, asked, allowed)

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

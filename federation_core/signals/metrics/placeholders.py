"""Takes out of a text what the parser reads otherwise than Prometheus, and leaves places for it.

Rule: the parser tells how a query is built, and nothing else. Numbers, durations, moments, regular expressions and
the plus before an operand never reach it: it panics on durations it cannot hold, has no moments before 1970, judges
patterns by another language than RE2 and compiles them without bound, and drops a plus. Each is read here, and the
parser is given a small number that stands for it.
Source: Prometheus' grammar says where an operand is due, and so whether a word or a sign there is an operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from federation_core.labels import MatchOp, quote
from federation_core.signals.metrics.guards import WORD_OPERATORS, Token, syntax_error
from federation_core.signals.metrics.literals import duration_ms_of, number_of, string_of

#: Moments beyond are no times of anything, and would leave the range in which times can be computed with.
_FARTHEST_MS = 2.0**53
#: Where the placeholders of each kind begin. None can be taken for one of another kind.
FIRST_DURATION, FIRST_MOMENT, FIRST_NUMBER = 1_000_000, 2_000_000, 3_000_000
_SIGNS = frozenset({"+", "-"})
#: Words that stand between a binary operator and its right operand; a list in brackets may follow.
_LIST_WORDS = frozenset({"on", "ignoring", "group_left", "group_right"})
_MATCHING_WORDS = _LIST_WORDS | {"bool"}
_FILLINGS = frozenset({"fill", "fill_left", "fill_right"})
_Read = TypeVar("_Read")
_PATTERN_OPERATORS = {"=~": MatchOp.RE, "!~": MatchOp.NRE}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A condition by a regular expression, and where the expression stands."""

    op: MatchOp
    text: str
    at: int


@dataclass(slots=True)
class Spelled:
    """A text as the parser reads it, and what its placeholders stand for, by their numbers."""

    text: str = ""
    numbers: list[float] = field(default_factory=list)
    #: How many of the signs stand before each of the numbers.
    signs_before: list[int] = field(default_factory=list)
    #: The signs before operands, in the order of the text. The parser sees a minus for each.
    signs: list[str] = field(default_factory=list)
    #: Ranges, steps and offsets.
    durations_ms: list[int] = field(default_factory=list)
    moments_ms: list[int] = field(default_factory=list)
    patterns: list[Pattern] = field(default_factory=list)
    #: What of a newer PromQL is in it that the parser does not read; empty for nothing.
    beyond: str = ""


def spell(text: str, tokens: Sequence[Token]) -> Spelled:
    """Return a guarded text for the parser.

    Raises QuerySyntaxError: a literal that is none, or a range, step, offset or moment that is none, with its place.
    """
    return _Speller(text, [token for token in tokens if token.kind not in ("blank", "comment")]).spell()


@dataclass(slots=True)
class _Speller:
    text: str
    tokens: list[Token]
    index: int = 0
    written: list[str] = field(default_factory=list)
    spelled: Spelled = field(default_factory=Spelled)
    #: Whether an operand is due here, or else an operator or a modifier.
    due: bool = True
    #: The open brackets, each with whether an operand is due after it is closed.
    opened: list[tuple[str, bool]] = field(default_factory=list)
    #: Which token an offset's amount was due at, its sign left out.
    amount_at: int | None = None
    #: Where in `written` an offset of nothing begins that was just read: another may follow it.
    idle_offset_at: int | None = None

    def spell(self) -> Spelled:
        """Go through the tokens."""
        while self.index < len(self.tokens):
            self._step(self.tokens[self.index])
        last = self.tokens[-1] if self.tokens else None
        if last is not None and self.due and (last.kind == "operator" or last.word.lower() in WORD_OPERATORS):
            raise syntax_error(f"the query ends after {last.word!r}", self.text, len(self.text.rstrip()))
        self.spelled.text = "".join(self.written)
        return self.spelled

    def _step(self, token: Token) -> None:
        inside = self.opened[-1][0] if self.opened else ""
        idle_offset_at, self.idle_offset_at = self.idle_offset_at, None
        if token.kind in ("open", "close"):
            self._bracket(token, inside)
        elif inside == "{":
            self._condition(token)
        elif token.kind in ("string", "raw"):
            self._take(quote(self._read(string_of, token)))
            self.due = False
        elif inside == "[":
            self._range(token)
        elif token.word == "@":
            self._moment()
        elif token.kind == "word" and token.word.lower() == "offset" and not self.due:
            if idle_offset_at is not None:
                del self.written[idle_offset_at:]
            self._offset()
        elif token.kind == "number" or (token.kind == "word" and token.word.lower() in ("inf", "nan")):
            self._number(token, inside)
        elif token.kind == "word":
            self._word(token)
        elif token.kind == "operator" or token.word == ",":
            self._operator(token, inside)
        else:
            self._take(token.word)

    def _bracket(self, token: Token, inside: str) -> None:
        if token.kind == "close":
            self.due = self.opened.pop()[1]
        else:
            # A list after `on` or `fill` is no operand: that is due after it.
            before = self._word_before()
            listed = token.word == "(" and self.due and before in _LIST_WORDS
            filling = token.word == "(" and self.due and before in _FILLINGS
            if inside == "[" or (self.amount_at == self.index and token.word == "("):
                self.spelled.beyond = "duration arithmetic"
            self.opened.append(("fill" if filling else token.word, listed or filling))
            self.due = True
        self._take(token.word)

    def _word_before(self) -> str:
        before = self.tokens[self.index - 1] if self.index else None
        return before.word.lower() if before is not None and before.kind == "word" else ""

    def _condition(self, token: Token) -> None:
        op, value = _PATTERN_OPERATORS.get(token.word), self._ahead(1)
        if op is not None and value is not None and value.kind in ("string", "raw"):
            pattern = Pattern(op, self._read(string_of, value), value.at)
            self._take(f'=~ "{len(self.spelled.patterns)}"', 2)
            self.spelled.patterns.append(pattern)
        elif token.kind in ("string", "raw"):
            self._take(quote(self._read(string_of, token)))
        elif token.kind == "word":
            self._take(token.word)
        else:
            # The parser takes `or =` for the operator, and `or=` for a label.
            self.written.append(token.word)
            self.index += 1

    def _range(self, token: Token) -> None:
        number = self._ahead(1) if token.word in _SIGNS else token
        begins = self.tokens[self.index - 1].word in ("[", ":")
        after = self._ahead(2 if token.word in _SIGNS else 1)
        if number is None or number.kind != "number" or not begins or after is None or after.word not in ("]", ":"):
            if token.kind == "operator":
                self.spelled.beyond = "duration arithmetic"
            self._take(token.word)
            return
        duration_ms = self._read(duration_ms_of, number)
        if token.word == "-" or duration_ms == 0:
            raise syntax_error("duration must be greater than 0, at least one millisecond", self.text, token.at)
        self._place_duration(duration_ms, 2 if token.word in _SIGNS else 1)

    def _offset(self) -> None:
        self._take("offset")
        sign, number = self._signed()
        self.amount_at = self.index + (sign != "")
        if number is None:
            return
        start = len(self.written) - 1
        duration_ms = self._read(duration_ms_of, number)
        self._place_duration(-duration_ms if sign == "-" else duration_ms, 2 if sign else 1)
        if duration_ms == 0:
            self.idle_offset_at = start

    def _place_duration(self, duration_ms: int, tokens: int) -> None:
        self._take(f" {FIRST_DURATION + len(self.spelled.durations_ms)}", tokens)
        self.spelled.durations_ms.append(duration_ms)

    def _moment(self) -> None:
        self._take("@")
        sign, number = self._signed()
        if number is None:
            return
        moment_ms = self._read(number_of, number) * 1000
        if not abs(moment_ms) <= _FARTHEST_MS:
            raise syntax_error(f"timestamp out of bounds for @ modifier: {number.word}", self.text, number.at)
        # Half a millisecond is rounded away from zero.
        rounded_ms = math.floor(moment_ms + 0.5)
        self._take(f" {FIRST_MOMENT + len(self.spelled.moments_ms)}", 2 if sign else 1)
        self.spelled.moments_ms.append(-rounded_ms if sign == "-" else rounded_ms)

    def _signed(self) -> tuple[str, Token | None]:
        """Return the sign ahead, if any, and the number after it, if there is one."""
        first = self._ahead(0)
        sign = first.word if first is not None and first.word in _SIGNS else ""
        number = self._ahead(1) if sign else first
        if number is None or not (number.kind == "number" or number.word.lower() in ("inf", "nan")):
            return sign, None
        return sign, number

    def _number(self, token: Token, inside: str) -> None:
        number = self._read(number_of, token)
        if inside == "fill":
            # The parser gives these on as they are.
            self._take(repr(number))
            return
        self._take(f" {FIRST_NUMBER + len(self.spelled.numbers)}")
        self.spelled.numbers.append(number)
        self.spelled.signs_before.append(len(self.spelled.signs))
        self.due = False

    def _word(self, token: Token) -> None:
        word, follows = token.word.lower(), self._ahead(1)
        called = follows is not None and follows.word == "("
        if self.due:
            # `fill (0)` belongs to the operator; `fill` alone is a name like any other.
            self.due = word in _MATCHING_WORDS or (word in _FILLINGS and called)
        elif word in ("smoothed", "anchored"):
            self.spelled.beyond = word
        else:
            self.due = word in WORD_OPERATORS
        self._take(token.word)

    def _operator(self, token: Token, inside: str) -> None:
        if self.due and token.word in _SIGNS and inside != "fill":
            self.spelled.signs.append(token.word)
            self._take("-")
        else:
            self._take(token.word)
        self.due = True

    def _read(self, reader: Callable[[str], _Read], token: Token) -> _Read:
        try:
            return reader(token.word)
        except ValueError as exc:
            raise syntax_error(str(exc), self.text, token.at) from None

    def _ahead(self, count: int) -> Token | None:
        at = self.index + count
        return self.tokens[at] if at < len(self.tokens) else None

    def _take(self, written: str, tokens: int = 1) -> None:
        """Write for the next tokens, apart from what is before where they are."""
        before, token = self.tokens[self.index - 1], self.tokens[self.index]
        apart = self.index > 0 and token.at > before.at + len(before.word)
        self.written.append(" " + written if apart else written)
        self.index += tokens

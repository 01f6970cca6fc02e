"""Reading query text piece by piece: positions, symbols, names and string literals.

Rule: whatever cannot be read is refused with its line and column. String literals are Go's, as in PromQL, LogQL
and TraceQL: "…" with escapes on one line, `…` raw (The Go Programming Language Specification, "String literals").
"""

from __future__ import annotations

import re

from federation_core.errors import InvalidRequest, QuerySyntaxError, QueryTooLarge
from federation_core.labels import Matcher, MatchOp, compile_regex

#: The longest text that is read at all.
MAX_QUERY_CHARS = 65_536
_SIMPLE_ESCAPES = {
    "a": b"\a", "b": b"\b", "f": b"\f", "n": b"\n", "r": b"\r", "t": b"\t", "v": b"\v",
    "\\": b"\\", '"': b'"', "'": b"'",
}  # fmt: skip
# Our own patterns, linear in the text; users' patterns never come near Python's `re`.
_BYTE_ESCAPE = re.compile(r"x([0-9A-Fa-f]{2})|([0-3][0-7]{2})")
_RUNE_ESCAPE = re.compile(r"u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})")
_PLAIN = re.compile(r'[^"\\\n]+')
_SPACE = re.compile(r"\s+")


class Scanner:
    """A position in a text; every method that reads skips the white space before what it reads."""

    def __init__(self, text: str) -> None:
        """Start at the beginning.

        Raises QueryTooLarge: the text is longer than `MAX_QUERY_CHARS`. QuerySyntaxError: it is no Unicode text.
        """
        if len(text) > MAX_QUERY_CHARS:
            raise QueryTooLarge(
                f"the query has {len(text)} characters, {MAX_QUERY_CHARS} are allowed",
                limit="query length",
                asked=len(text),
                allowed=MAX_QUERY_CHARS,
            )
        self.text = text
        self.position = 0
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            raise self.error("half of a surrogate pair is no character", exc.start) from None

    def skip_space(self) -> int:
        """Move past white space and return the position."""
        found = _SPACE.match(self.text, self.position)
        if found:
            self.position = found.end()
        return self.position

    @property
    def at_end(self) -> bool:
        """Whether nothing but white space is left."""
        return self.skip_space() == len(self.text)

    def peek(self, length: int = 1) -> str:
        """Return the next characters without moving past them."""
        start = self.skip_space()
        return self.text[start : start + length]

    def take(self, *symbols: str) -> str:
        """Read one of the symbols, the first that fits; return "" and stay where none does."""
        start = self.skip_space()
        for symbol in symbols:
            if self.text.startswith(symbol, start):
                self.position = start + len(symbol)
                return symbol
        return ""

    def match(self, pattern: re.Pattern[str]) -> str:
        """Read what the pattern matches here; return "" and stay where it does not."""
        found = pattern.match(self.text, self.skip_space())
        if not found:
            return ""
        self.position = found.end()
        return found.group()

    def matcher(self, label: str, op: str) -> Matcher:
        """Read the text that a label is compared with.

        Raises QuerySyntaxError: no string follows, or it is no regular expression where one is wanted.
        """
        at = self.skip_space()
        matcher = Matcher(label, MatchOp(op), self.string(f"the value of {label}"))
        if matcher.op in (MatchOp.RE, MatchOp.NRE):
            try:
                compile_regex(matcher.value)
            except InvalidRequest as exc:
                raise self.error(exc.message, at) from None
        return matcher

    def string(self, expected: str) -> str:
        """Read a string literal.

        Raises QuerySyntaxError: there is none here (`expected` says for what), or it is not well formed.
        """
        start = self.skip_space()
        mark = self.peek()
        if mark == "`":
            end = self.text.find("`", start + 1)
            if end < 0:
                raise self.error("the string is not closed", start)
            self.position = end + 1
            return self.text[start + 1 : end]
        if mark != '"':
            raise self.error(f"expected {expected} in quotes, found {self.here()}")
        self.position += 1
        return self._quoted(start)

    def _quoted(self, start: int) -> str:
        read = bytearray()
        while self.position < len(self.text):
            plain = _PLAIN.match(self.text, self.position)
            if plain:
                read += plain.group().encode()
                self.position = plain.end()
                continue
            char = self.text[self.position]
            self.position += 1
            if char == '"':
                try:
                    return read.decode()
                except UnicodeDecodeError:
                    raise self.error("the string's escapes are not valid UTF-8", start) from None
            if char == "\n":
                break
            read += self._escape()
        raise self.error("the string is not closed", start)

    def _escape(self) -> bytes:
        at = self.position
        simple = _SIMPLE_ESCAPES.get(self.text[at : at + 1])
        if simple is not None:
            self.position += 1
            return simple
        if found := _BYTE_ESCAPE.match(self.text, at):
            self.position = found.end()
            return bytes([int(found[1], 16) if found[1] else int(found[2], 8)])
        if found := _RUNE_ESCAPE.match(self.text, at):
            self.position = found.end()
            rune = int(found[1] or found[2], 16)
            if rune <= 0x10FFFF and not 0xD800 <= rune <= 0xDFFF:
                return chr(rune).encode()
        raise self.error("not an escape a string may contain", at - 1)

    def here(self) -> str:
        """Say what stands at the position, for a message."""
        rest = self.text[self.skip_space() :]
        return f"{rest[:16].splitlines()[0]!r}" if rest else "the end"

    def error(self, message: str, position: int | None = None) -> QuerySyntaxError:
        """Return the error that says what is wrong, and where: here unless a position is given."""
        at = self.position if position is None else position
        line = self.text.count("\n", 0, at) + 1
        column = at - (self.text.rfind("\n", 0, at) + 1) + 1
        return QuerySyntaxError(f"line {line}, column {column}: {message}", line=line, column=column)

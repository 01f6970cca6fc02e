"""What is looked at before the parser sees a text: size, nesting, operators; and where a bracket was left open.

Rule: the parser recurses on the process' own stack, so a text deep enough to exhaust it would kill the process.
Nothing reaches the parser that is not bounded here. Spellings that Prometheus accepts and the parser does not
(`1_000`, a raw string with a backslash) are rewritten to equal ones that both accept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from federation_core.errors import QuerySyntaxError, QueryTooLarge
from federation_core.labels import quote


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
#: What is left of such a query at the root: an average in it has become a quotient of two sums.
ROOT = Bounds(text_bytes=2 * 32_768, nesting=128, operators=400, signs=16, depth=102)

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
_WORD_OPERATORS = frozenset({"and", "or", "unless", "atan2"})


def guard(text: str, bounds: Bounds = QUERY) -> str:
    """Check a text and return it in the spelling the parser accepts.

    Raises QueryTooLarge: too long, too deep, too many operators. QuerySyntaxError: a bracket or quote that does
    not close, with its place.
    """
    asked = len(text.encode("utf-8", "surrogatepass"))
    if asked > bounds.text_bytes:
        raise too_large("bytes", asked, bounds.text_bytes)
    out: list[str] = []
    opened: list[tuple[str, int]] = []
    operators = signs = 0
    for token in _TOKEN.finditer(text):
        kind, word = token.lastgroup, token.group()
        if kind == "open":
            opened.append((word, token.start()))
            if len(opened) > bounds.nesting:
                raise too_large("nesting", len(opened), bounds.nesting)
        elif kind == "close":
            _close(opened, word, text, token.start())
        elif kind == "operator" or (kind == "word" and word.lower() in _WORD_OPERATORS):
            # Matchers inside braces are not operators, and are bounded by the length alone.
            inside_braces = bool(opened) and opened[-1][0] == "{"
            operators += not inside_braces
            signs = signs + 1 if word in "+-" else 0
        elif kind == "other" and word in "\"'`":
            raise syntax_error("this quote is not closed", text, token.start())
        if kind not in ("operator", "blank", "comment"):
            signs = 0
        if operators > bounds.operators:
            raise too_large("operators", operators, bounds.operators)
        if signs > bounds.signs:
            raise too_large("signs in a row", signs, bounds.signs)
        out.append(_respell(kind, word))
    if opened:
        bracket, at = opened[-1]
        raise syntax_error(f"this {bracket!r} is not closed", text, at)
    return "".join(out)


def syntax_error(message: str, text: str, at: int) -> QuerySyntaxError:
    """Return the error for a place in the text, counted in lines and columns from 1."""
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return QuerySyntaxError(f"{line}:{column}: {message}", line=line, column=column)


def _close(opened: list[tuple[str, int]], bracket: str, text: str, at: int) -> None:
    if not opened:
        raise syntax_error(f"this {bracket!r} closes nothing", text, at)
    if opened[-1][0] != _CLOSES[bracket]:
        raise syntax_error(f"this {bracket!r} meets an open {opened[-1][0]!r}", text, at)
    opened.pop()


def _respell(kind: str | None, word: str) -> str:
    if kind == "raw" and "\\" in word:
        return quote(word[1:-1])
    if kind == "number" and re.fullmatch(r"[0-9]+(?:_[0-9]+)+(?:\.[0-9]+)?", word):
        return word.replace("_", "")
    return word


def too_large(limit: str, asked: int, allowed: int) -> QueryTooLarge:
    """Return the error for a bound that was passed."""
    return QueryTooLarge(
        f"the query has {asked} {limit}, above {allowed}", limit=f"query {limit}", asked=asked, allowed=allowed
    )

"""What is looked at before the parser sees a text: size, nesting, operators; and where a bracket was left open.

Rule: the parser recurses on the process' own stack, so a text deep enough to exhaust it would kill the process.
Nothing reaches the parser that is not bounded here. Spellings that Prometheus accepts and the parser does not
(`1_000`, a raw string with a backslash) are rewritten to equal ones that both accept.
"""

from __future__ import annotations

import re

from federation_core.errors import QuerySyntaxError, QueryTooLarge
from federation_core.labels import quote

#: A text longer than this is refused. The scope's conditions are added per selector, so there is room for them.
MAX_QUERY_BYTES = 32_768
MAX_NESTING = 64
MAX_OPERATORS = 200
#: Signs in a row, as in `---x`.
MAX_SIGNS = 16

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


def guard(text: str) -> str:
    """Check a text and return it in the spelling the parser accepts.

    Raises QueryTooLarge: too long, too deep, too many operators. QuerySyntaxError: a bracket or quote that does
    not close, with its place.
    """
    asked = len(text.encode("utf-8", "surrogatepass"))
    if asked > MAX_QUERY_BYTES:
        raise _too_large("bytes", asked, MAX_QUERY_BYTES)
    out: list[str] = []
    opened: list[tuple[str, int]] = []
    operators = signs = 0
    for token in _TOKEN.finditer(text):
        kind, word = token.lastgroup, token.group()
        if kind == "open":
            opened.append((word, token.start()))
            if len(opened) > MAX_NESTING:
                raise _too_large("nesting", len(opened), MAX_NESTING)
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
        if operators > MAX_OPERATORS:
            raise _too_large("operators", operators, MAX_OPERATORS)
        if signs > MAX_SIGNS:
            raise _too_large("signs in a row", signs, MAX_SIGNS)
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


def _too_large(limit: str, asked: int, allowed: int) -> QueryTooLarge:
    return QueryTooLarge(
        f"the query has {asked} {limit}, above {allowed}", limit=f"query {limit}", asked=asked, allowed=allowed
    )

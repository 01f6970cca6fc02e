"""Numbers and strings of PromQL where Prometheus and the parser read them differently.

Rule: a spelling is only ever replaced by one that both read alike.
Source: Prometheus documentation, "Querying basics / Literals"; the escapes of Go's string literals.
"""

from __future__ import annotations

import re

from federation_core.errors import InvalidRequest
from federation_core.labels import quote
from federation_core.times import parse_duration_ms

_DECIMAL = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][0-9]+)?")
_UNDERSCORED = re.compile(r"[0-9]+(?:_[0-9]+)+(?:\.[0-9]+)?")
_DURATION = re.compile(r"(?:[0-9]+(?:ms|[smhdwy]))+")
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
#: What Prometheus holds in 64 bits of nanoseconds.
LONGEST_MS = (2**63 - 1) // 1_000_000
#: An escaped byte that is no character by itself.
_HIGH_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\(?:x[89a-fA-F][0-9a-fA-F]|[23][0-7]{2})")
_ESCAPE = re.compile(
    r"\\(?:x(?P<hex>[0-9a-fA-F]{2})|(?P<octal>[0-3][0-7]{2})|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})"
    r"|(?P<letter>[abfnrtv\\'\"]))"
)
_LETTERS = dict(zip("abfnrtv\\'\"", "\a\b\f\n\r\t\v\\'\"", strict=True))


def number_of(word: str) -> float:
    """Read a number as PromQL does: decimal, hexadecimal, or a duration in seconds.

    Raises ValueError: it is none.

    >>> number_of("-1e3"), number_of("0x1F"), number_of("1m30s"), number_of("1_000")
    (-1000.0, 31.0, 90.0, 1000.0)
    """
    sign, digits = (-1.0, word[1:]) if word.startswith("-") else (1.0, word)
    digits = digits.replace("_", "")
    try:
        if digits.lower().startswith("0x"):
            return sign * float(int(digits, 16))
        return sign * (float(digits) if _DECIMAL.fullmatch(digits) else parse_duration_ms(digits) / 1000)
    except (InvalidRequest, OverflowError) as exc:
        raise ValueError(f"{word!r} is no number") from exc


def exceeds_durations(word: str) -> bool:
    """Tell whether a number is a duration longer than Prometheus can hold; the parser would drop parts of it.

    >>> exceeds_durations("293y"), exceeds_durations("292y"), exceeds_durations("1e300"), exceeds_durations("0x5d")
    (True, False, False, False)
    """
    if not _DURATION.fullmatch(word):
        return False
    parts = re.findall(r"([0-9]+)(ms|[smhdwy])", word)
    # Digits without end are not made a number of.
    return any(len(digits) > 18 for digits, _ in parts) or (
        sum(int(digits) * _UNITS_MS[unit] for digits, unit in parts) > LONGEST_MS
    )


def respell_number(word: str) -> str:
    """Return a number without the underscores that the parser stumbles over.

    >>> respell_number("1_000"), respell_number("5m")
    ('1000', '5m')
    """
    return word.replace("_", "") if _UNDERSCORED.fullmatch(word) else word


def respell_raw(word: str) -> str:
    """Return a string in backticks as one in quotes where it holds a backslash.

    >>> respell_raw(r"`\\d`"), respell_raw("`d`")
    ('"\\\\\\\\d"', '`d`')
    """
    return quote(word[1:-1]) if "\\" in word else word


def respell_string(word: str) -> str:
    """Return a string whose escaped bytes are written as the characters they are together.

    The parser takes each byte for a character.

    Raises ValueError: they are no UTF-8.

    >>> respell_string(r'"\\xc3\\xa9"'), respell_string('"plain"')
    ('"é"', '"plain"')
    """
    if not _HIGH_BYTE.search(word):
        return word
    text, at = b"", 1
    for escape in _ESCAPE.finditer(word):
        text += word[at : escape.start()].encode() + _bytes_of(escape)
        at = escape.end()
    return quote((text + word[at:-1].encode()).decode())


def _bytes_of(escape: re.Match[str]) -> bytes:
    kind, value = escape.lastgroup, escape[escape.lastgroup or 0]
    match kind:
        case "hex":
            return bytes([int(value, 16)])
        case "octal":
            return bytes([int(value, 8)])
        case "letter":
            return _LETTERS[value].encode()
    return chr(int(value, 16)).encode()

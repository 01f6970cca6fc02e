"""Numbers, durations and strings of PromQL, read as Prometheus reads them.

Rule: a literal has exactly the value that Prometheus gives it, or is none.
Source: Prometheus documentation, "Querying basics / Literals"; Go's integer, floating-point and string literals.
"""

from __future__ import annotations

import math
import re

from federation_core.errors import InvalidRequest
from federation_core.times import parse_duration_ms

# No two neighbours here can take the same digit, so that a long row of them is gone through once.
_DIGITS = "[0-9](?:_?[0-9])*"
_DECIMAL = re.compile(rf"(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][-+]?{_DIGITS})?")
_HEXADECIMAL = re.compile(r"0[xX](?:_?[0-9a-fA-F])+")
_OCTAL = re.compile(r"0(?:_?[0-7])+")
_DURATION = re.compile(r"(?:[0-9]+(?:ms|[smhdwy]))+")
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
_INT64_MAX = 2**63 - 1
#: What Prometheus holds in 64 bits of nanoseconds.
LONGEST_MS = _INT64_MAX // 1_000_000
#: How much of a literal an error shows.
SHOWN = 40
_PART_OF_STRING = re.compile(
    r"[^\\]+|\\(?:x(?P<hex>[0-9a-fA-F]{2})|(?P<octal>[0-3][0-7]{2})|u(?P<short>[0-9a-fA-F]{4})"
    r"|U(?P<long>[0-9a-fA-F]{8})|(?P<letter>[abfnrtv\\'\"]))|(?P<wrong>\\)"
)
_LETTERS = dict(zip("abfnrtv\\'\"", "\a\b\f\n\r\t\v\\'\"", strict=True))


def number_of(word: str) -> float:
    """Read a number as PromQL does: decimal, octal after a zero, hexadecimal, infinity, or a duration in seconds.

    Raises ValueError: it is none, or too large to be one.

    >>> number_of("1e+3"), number_of("0x1F"), number_of("1m30s"), number_of("1_000"), number_of("010"), number_of("09")
    (1000.0, 31.0, 90.0, 1000.0, 8.0, 9.0)
    """
    if word.lower() in ("inf", "nan"):
        return float(word)
    digits = word.replace("_", "")
    if _HEXADECIMAL.fullmatch(word) or _OCTAL.fullmatch(word):
        whole = int(digits, 16 if digits[1] in "xX" else 8)
        if whole <= _INT64_MAX:
            return float(whole)
        # Go reads octal digits that are too many as a decimal number, and knows no such hexadecimal one.
    if _DECIMAL.fullmatch(word):
        number = float(digits)
        if math.isinf(number):
            raise ValueError(f"number or duration out of range: {word[:SHOWN]}")
        return number
    return _duration_ms(word) / 1000


def duration_ms_of(word: str) -> int:
    """Read a number of seconds or a duration; parts of a millisecond are dropped.

    Raises ValueError: it is none, or above 292 years.

    >>> duration_ms_of("5m"), duration_ms_of("0.25"), duration_ms_of("1e-4"), duration_ms_of("010")
    (300000, 250, 0, 8000)
    """
    if _DURATION.fullmatch(word):
        return _duration_ms(word)
    seconds = number_of(word)
    if not seconds * 1000 <= LONGEST_MS:
        raise ValueError(f"duration out of range: {word[:SHOWN]} is above 292 years")
    return math.floor(seconds * 1e9 + 0.5) // 1_000_000


def _duration_ms(word: str) -> int:
    if not _DURATION.fullmatch(word):
        raise ValueError(f"bad number or duration: {word[:SHOWN]!r}")
    parts = re.findall(r"([0-9]+)(ms|[smhdwy])", word)
    # Digits without end are not made a number of.
    if any(len(digits) > 18 for digits, _ in parts) or (
        sum(int(digits) * _UNITS_MS[unit] for digits, unit in parts) > LONGEST_MS
    ):
        raise ValueError(f"duration out of range: {word[:SHOWN]} is above 292 years")
    try:
        return parse_duration_ms(word)
    except InvalidRequest:
        raise ValueError(f"bad number or duration: the units of {word[:SHOWN]!r} descend, each at most once") from None


def string_of(word: str) -> str:
    """Read a string in any of its three quotes. Escaped bytes are together the bytes of UTF-8.

    Raises ValueError: an escape is none, or the bytes are no UTF-8.

    >>> string_of(r'"\\xc3\\xa9"'), string_of(r"`\\d`"), string_of("'a\\"'")
    ('é', '\\\\d', 'a"')
    """
    mark, inner = word[0], word[1:-1]
    if mark == "`" or "\\" not in inner:
        return inner
    parts = []
    for part in _PART_OF_STRING.finditer(inner):
        if part.lastgroup == "wrong" or part["letter"] in {"'": ('"',), '"': ("'",)}[mark]:
            raise ValueError(f"no escape a string may contain: {inner[part.start() : part.start() + 2]}")
        parts.append(_bytes_of(part))
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError:
        raise ValueError("the escaped bytes of this string are no UTF-8") from None


def _bytes_of(part: re.Match[str]) -> bytes:
    kind = part.lastgroup
    if kind is None:
        return part.group().encode()
    value = part[kind]
    match kind:
        case "hex":
            return bytes([int(value, 16)])
        case "octal":
            return bytes([int(value, 8)])
        case "letter":
            return _LETTERS[value].encode()
    character = int(value, 16)
    if character > 0x10FFFF or 0xD800 <= character <= 0xDFFF:
        raise ValueError(f"\\{'u' if kind == 'short' else 'U'}{value} is no character")
    return chr(character).encode()

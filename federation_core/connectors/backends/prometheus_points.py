"""The points of an answer of Prometheus' API, `[[time,"value"],…]`, read as two columns and not one by one.

Rule: a number reads back to the same float64, a negative zero and NaN included. An answer that is spelled otherwise (a
proxy has put blanks in) is left as it is, for the slower reader. Of a point of its own no Python object is made: they
would take ten times the room of the columns.
Source: Prometheus documentation, "HTTP API / Expression query result formats".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson

from federation_core.signals.metrics.frame import Floats, Ints

#: The values of one series begin. Within a string the quotes would be escaped, so this is no part of one.
_BEGIN: Final = b'"values":['
#: What numbers are written with stays, what stands around them becomes blank, and anything else what JSON has not.
_BLANKED: Final = bytes(
    byte if byte in b"0123456789eE+.,NaInf-" else ord(" ") if byte in b'[]"' else ord("x") for byte in range(256)
)


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Times in ms and values of S series: those of series s from offsets[s] to offsets[s + 1] - 1."""

    offsets: Ints
    t_ms: Ints
    values: Floats


#: The farthest time whose milliseconds have room in 64 bits.
_FARTHEST_S: Final = 9.2e15
NO_POINTS: Final = Points(np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))


def take_points(body: bytes) -> tuple[bytes, Points]:
    """Return the answer with a number, counted from 0, for the points of each series, and the points.

    Raises ValueError: what stands between the brackets is no list of points.
    """
    texts: list[bytes] = []
    kept, at = [], 0
    while (begin := body.find(_BEGIN, at)) >= 0:
        first = begin + len(_BEGIN)
        # Of a list that is not empty the end is where that of its last point is.
        end = first if body.startswith(b"]", first) else body.find(b"]]", first) + 1
        if not end:
            raise ValueError("a list of points has no end")
        kept.append(b'%b"values":%d' % (body[at:begin], len(texts)))
        texts.append(body[first:end])
        at = end + 1
    rest = b"".join([*kept, body[at:]])
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([text.count(b"[") for text in texts], out=offsets[1:])
    numbers = _numbers(b",".join([text for text in texts if text]).translate(_BLANKED))
    if len(numbers) != 2 * offsets[-1]:
        raise ValueError("a point is a time and a value")
    seconds = numbers[::2]
    if seconds.size and not max(seconds.max(), -seconds.min()) < _FARTHEST_S:
        raise ValueError("a time is a number of milliseconds in 64 bits")
    return rest, Points(offsets, np.rint(seconds * 1000).astype(np.int64), numbers[1::2].copy())


def _numbers(text: bytes) -> Floats:
    """Read numbers that are separated by commas, with blanks around them.

    Raises ValueError: one is none.
    """
    if not text:
        return np.empty(0)
    # One byte is looked for in no time; most answers have neither.
    if b"I" in text or (b"-" in text and b"-0 " in text):
        # JSON has no infinity, and its reader takes a negative zero for a whole number, which has no sign.
        parts = text.split(b",")
        return np.fromiter(map(float, parts), dtype=np.float64, count=len(parts))
    if b"N" in text:
        text = text.replace(b"NaN", b"null")
    return np.array(orjson.loads(b"[%b]" % text), dtype=np.float64)

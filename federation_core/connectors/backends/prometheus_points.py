"""The points of an answer of Prometheus' API, `[[time,"value"],…]`, read as two columns and not one by one.

Rule: a number reads back to the same float64, a negative zero and NaN included. An answer that is spelled otherwise (a
proxy has put blanks in) is left as it is, for the slower reader. Of a point of its own no Python object is made: they
would take ten times the room of the columns.
Source: Prometheus documentation, "HTTP API / Expression query result formats".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson

from federation_core.signals.metrics.frame import Floats, Ints

#: The values of one series. Within a string the quotes would be escaped, so this is no part of one.
_VALUES: Final = re.compile(rb'"values":\[([][0-9eE+.,"NaInf-]*)\]')


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Times in ms and values of S series: those of series s from offsets[s] to offsets[s + 1] - 1."""

    offsets: Ints
    t_ms: Ints
    values: Floats


NO_POINTS: Final = Points(np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))


def take_points(body: bytes) -> tuple[bytes, Points]:
    """Return the answer with a number, counted from 0, for the points of each series, and the points.

    Raises ValueError: what stands between the brackets is no list of points.
    """
    texts: list[bytes] = []

    def number(match: re.Match[bytes]) -> bytes:
        texts.append(match[1])
        return b'"values":%d' % (len(texts) - 1)

    rest = _VALUES.sub(number, body)
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([text.count(b"[") for text in texts], out=offsets[1:])
    numbers = _numbers(b",".join(text for text in texts if text).translate(None, b'[]"'))
    if len(numbers) != 2 * offsets[-1]:
        raise ValueError("a point is a time and a value")
    return rest, Points(offsets, np.rint(numbers[::2] * 1000).astype(np.int64), numbers[1::2].copy())


def _numbers(text: bytes) -> Floats:
    """Read numbers that are separated by commas.

    Raises ValueError: one is none.
    """
    if not text:
        return np.empty(0)
    if b"Inf" in text or b"-0," in text or text.endswith(b"-0"):
        # JSON has no infinity, and its reader takes a negative zero for a whole number, which has no sign.
        parts = text.split(b",")
        return np.fromiter(map(float, parts), dtype=np.float64, count=len(parts))
    return np.array(orjson.loads(b"[" + text.replace(b"NaN", b"null") + b"]"), dtype=np.float64)

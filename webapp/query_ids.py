"""Names of queries: `q-<region>-<time-ordered random>`.

Rule: an id is a secret's worth of random bits, so that guessing one is hopeless even before the tenant is checked;
its first ten characters are the time, so that ids sort as they were made.
Source: the ULID layout (48 bits of ms, 80 random bits, Crockford's base 32), in lower case.
"""

from __future__ import annotations

import re
import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID = re.compile(r"q-[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?-[0-9a-hjkmnp-tv-z]{26}")


def new_query_id(region: str, now_ms: int) -> str:
    """Return a new id of this region."""
    number = now_ms << 80 | secrets.randbits(80)
    digits = "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
    return f"q-{region}-{digits}"


def is_query_id(text: str) -> bool:
    """Tell whether a text can be an id at all.

    >>> is_query_id(new_query_id("local", 0)), is_query_id("q-local-1")
    (True, False)
    """
    return _ID.fullmatch(text) is not None

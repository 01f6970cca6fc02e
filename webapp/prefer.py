"""What a client prefers: to wait a while, or to be answered at once.

Rule: a preference that is not understood is ignored, as the standard asks; one that is followed is named in
`Preference-Applied`.
Source: RFC 7240, Prefer Header for HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preference:
    """`wait_ms` is how long to hold for an answer, 0 for not at all; `applied` names what is followed."""

    wait_ms: int = 0
    applied: str = ""


def read_preference(header: str, longest_ms: int) -> Preference:
    """Read the header; of two waits the first counts, and none is longer than `longest_ms`.

    >>> read_preference("respond-async, wait=2", 600_000)
    Preference(wait_ms=2000, applied='respond-async, wait=2')
    """
    wait_s: int | None = None
    respond_async = False
    for part in header.split(","):
        name, _, value = part.partition(";")[0].partition("=")
        value = value.strip().strip('"')
        match name.strip().lower():
            case "wait" if wait_s is None and value.isascii() and value.isdigit() and len(value) < 10:
                wait_s = min(int(value), longest_ms // 1000)
            case "respond-async":
                respond_async = True
    applied = (["respond-async"] if respond_async else []) + ([f"wait={wait_s}"] if wait_s is not None else [])
    return Preference((wait_s or 0) * 1000, ", ".join(applied))

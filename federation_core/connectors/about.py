"""What several kinds of backends tell of themselves in the same way.

Rule: the first question tells whether a backend can be asked; of the further ones each may fail by itself, and then
nothing is said. Only what looks like a release is passed on of what a backend says it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import orjson

from federation_core.connectors.http import Fields, HttpClient
from federation_core.connectors.refusals import refusal
from federation_core.errors import ClusterError, Malformed, QueryExecutionError, Rejected
from federation_core.query import Deadline

R = TypeVar("R")

#: How far back the newest data are looked for.
LOOKED_BACK_MS: Final = 3_600_000
#: The most that an answer about a backend may hold: one line or trace, as long as they may be, and little beside it.
_SMALL_BYTES: Final = 8 * 1024 * 1024
_RELEASE: Final = re.compile(r"v?(\d{1,6}(?:\.\d{1,9}){1,3}(?:-(?:rc|alpha|beta)\.?\d{1,4})?)", re.ASCII)


def named(product: str, version: object) -> str:
    """Return a product and its release, without what a distribution adds to it; the product alone where it has none.

    >>> named("Prometheus", "2.42.0+ds"), named("Tempo", "v3.0.3"), named("Loki", None)
    ('Prometheus 2.42.0', 'Tempo 3.0.3', 'Loki')
    """
    found = _RELEASE.match(version) if isinstance(version, str) else None
    return f"{product} {found[1]}" if found else product


def first_told(ask: Callable[[], R]) -> R | None:
    """Return the answer to the first question; None where the backend does not know it, or refuses.

    Raises Unreachable, TimedOut, QueryCanceled: it cannot be asked.
    """
    try:
        return ask()
    except (Malformed, Rejected):
        return None


def also_told(ask: Callable[[], R | None]) -> R | None:
    """Return the answer to a further question; None where there is none.

    Raises QueryCanceled.
    """
    try:
        return ask()
    except (ClusterError, QueryExecutionError):
        return None


def ask_object(http: HttpClient, path: str, fields: Fields, deadline: Deadline, api: str) -> dict[str, Any]:
    """Return the JSON object that a path answers with; `api` names what is expected there.

    Raises ClusterError, QueryCanceled.
    """
    answer = http.ask("GET", path, fields, deadline, max_bytes=_SMALL_BYTES)
    try:
        read = orjson.loads(answer.body)
    except ValueError:
        read = None
    if answer.status != 200 or not isinstance(read, dict):
        raise refusal(answer, http.cluster, api)
    return read

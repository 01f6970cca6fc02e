"""How the backends of a cluster are: what a worker of it has seen, and whether they are asked anything at all.

Rule: these are values that somebody has observed; what nobody has looked at yet is unknown and not well. Errors are in
words that any tenant of the cluster may read: no address, file or secret stands in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class About:
    """What a backend tells of itself.

    `version` is its name and release, as `Prometheus 2.42.0`, or "" where it does not tell; `newest_ms` the time of the
    newest data it holds, None where it does not tell or holds none.
    """

    version: str = ""
    newest_ms: int | None = None


class Breaker(StrEnum):
    """Whether a backend is asked: as ever; not at all; by one probe that decides."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BackendBreaker:
    """The breaker of one backend that has failed of late, as all workers of its cluster have found it together.

    Not closed, no query asks the backend since `since_ms`, and at `retry_ms` one probe does; closed, it fails since
    `since_ms` and is asked all the same. `failures` counts those in a row, `words` are those of the last.
    """

    state: Breaker
    since_ms: int
    retry_ms: int
    failures: int
    words: str = ""


@dataclass(frozen=True, slots=True)
class BackendHealth:
    """The last that is known of one backend; `signal` is its entry in the configuration. Times by the reader's clock.

    `up` is None until a worker has probed it, and `error` says in words why it is not up. One that is up may have words
    too: it takes no more just now, or answers others and not all workers.
    `latency_ms` is how long the last probe took. `breaker_since_ms` is since when nothing asks it and `retry_ms` when
    it is tried again; both are None while the breaker is closed.
    """

    signal: str
    kind: str
    up: bool | None = None
    checked_ms: int | None = None
    latency_ms: int | None = None
    error: str = ""
    about: About = About()
    breaker: Breaker = Breaker.CLOSED
    breaker_since_ms: int | None = None
    retry_ms: int | None = None
    #: How many probes or queries in a row it has failed.
    failures: int = 0

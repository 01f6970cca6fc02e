"""How a cluster is, in words and as JSON: its worker, and each of its backends.

Rule: only what was seen lately counts. A backend that no worker has looked at for a minute is unknown, however well it
was; one that is configured and of which nobody has spoken is unknown too, and not missing. `errors` has words for
whatever keeps a cluster from being well, and no address.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from federation_core.config import Backend, Cluster
from federation_core.connectors.stores.jobs_beats import NEVER_SEEN
from federation_core.health import BackendHealth, Breaker
from federation_core.times import format_time

if TYPE_CHECKING:
    from federation_core.connectors.stores.jobs import WorkerBeat

#: What was seen longer ago says nothing of now; a worker looks every ten seconds.
SEEN_MS: Final = 60_000
#: The entry of `errors` that is about the cluster's worker.
WORKER: Final = "worker"

#: What a backend may be, and what that means.
BACKEND_STATUSES: Final[Mapping[str, str]] = {
    "up": "a worker has probed it within a minute, and it answered one: `error` says what is wrong nevertheless",
    "down": "a worker has probed it within a minute, and `error` says what is wrong",
    "unknown": "no worker has probed it within a minute",
}
#: What a cluster may be.
CLUSTER_STATUSES: Final[Mapping[str, str]] = {
    "healthy": "all backends are up and asked",
    "degraded": "some backend is down, or not asked, or is up and has an `error`",
    "down": "all are, or no worker serves the cluster",
    "unknown": "nothing is known to be wrong, and of some backend nothing is known",
}

_NO_WORDS: Final = "the backend does not answer"
_NOT_PROBED: Final = "no worker has probed it yet"


def health_json(
    cluster: Cluster, beat: WorkerBeat | None, healths: Mapping[str, BackendHealth], now_ms: int
) -> dict[str, Any]:
    """Return how a cluster is: its worker, its backends by entry of the configuration, and all of it in a word."""
    return {
        "name": cluster.name,
        "environment": cluster.environment,
        "status": status_of(cluster, beat, healths, now_ms),
        "worker": worker_json(beat),
        "backends": [_backend_json(entry, health, now_ms) for entry, health in _entries(cluster, healths)],
    }


def worker_json(beat: WorkerBeat | None) -> dict[str, Any]:
    """Return whether a worker serves a cluster, or why none does."""
    return {
        "alive": beat is not None and beat.alive,
        "lastSeenMs": beat.last_seen_ms if beat else None,
        "clockSkewMs": beat.clock_skew_ms if beat else None,
        "missingSinceMs": beat.last_seen_ms if beat and not beat.alive else None,
        "reason": NEVER_SEEN if beat is None else "" if beat.alive else beat.why_absent,
    }


def status_of(cluster: Cluster, beat: WorkerBeat | None, healths: Mapping[str, BackendHealth], now_ms: int) -> str:
    """Return how a cluster is, in a word of `CLUSTER_STATUSES`.

    It is down where nothing of it can be asked: no worker serves it, or no backend is well. Something that is known
    to be wrong makes it degraded, and otherwise something that is not known makes it unknown.
    """
    if beat is None or not beat.alive:
        return "down"
    entries = list(_entries(cluster, healths))
    wrong = sum(_is_wrong(health, now_ms) for _, health in entries)
    if wrong:
        return "down" if wrong == len(entries) else "degraded"
    # It takes no more just now, or has no word for one of the cluster's workers.
    if any(health.error and _status(health, now_ms) == "up" for _, health in entries):
        return "degraded"
    return "healthy" if all(_status(health, now_ms) == "up" for _, health in entries) else "unknown"


def errors_of(
    cluster: Cluster, beat: WorkerBeat | None, healths: Mapping[str, BackendHealth], now_ms: int
) -> dict[str, str]:
    """Return in words what keeps a cluster from being well, by entry of the configuration; `worker` is its worker's.

    Where there is no worker nobody probes, so that what is unknown of the backends has no words of its own.
    """
    alive = beat is not None and beat.alive
    found = {} if alive else {WORKER: f"no worker serves it: {worker_json(beat)['reason']}"}
    for entry, health in _entries(cluster, healths):
        words = _words(health, now_ms)
        if words and (alive or _is_wrong(health, now_ms)):
            found[entry.signal] = words
    return found


def _entries(cluster: Cluster, healths: Mapping[str, BackendHealth]) -> Iterator[tuple[Backend, BackendHealth]]:
    """Yield every backend that is configured, and the last that is known of it."""
    for entry in cluster.backends:
        yield entry, healths.get(entry.signal) or BackendHealth(entry.signal, entry.kind)


def _status(health: BackendHealth, now_ms: int) -> str:
    if health.up is None or health.checked_ms is None or now_ms - health.checked_ms > SEEN_MS:
        return "unknown"
    return "up" if health.up else "down"


def _is_wrong(health: BackendHealth, now_ms: int) -> bool:
    """Tell whether a query gets nothing of a backend, as far as is known: it is down, or not asked."""
    return _status(health, now_ms) == "down" or health.breaker is not Breaker.CLOSED


def _words(health: BackendHealth, now_ms: int) -> str:
    """Say why a backend is not up, or not known to be; of one that is up, why it is not asked."""
    status = _status(health, now_ms)
    if status == "down":
        return health.error or _NO_WORDS
    not_asked = f"not asked after {health.failures} failures in a row" if health.breaker is not Breaker.CLOSED else ""
    if status == "up":
        return ": ".join(filter(None, (not_asked, health.error)))
    if health.up is None or health.checked_ms is None:
        return ": ".join(filter(None, (not_asked or _NOT_PROBED, health.error)))
    was = "up" if health.up else f"down ({health.error or _NO_WORDS})"
    return f"last seen {was} at {format_time(health.checked_ms)}; no worker has probed it since"


def _backend_json(entry: Backend, health: BackendHealth, now_ms: int) -> dict[str, Any]:
    newest_ms, about = health.about.newest_ms, health.about
    return {
        "signal": entry.signal,
        "kind": entry.kind,
        "status": _status(health, now_ms),
        "checkedAgeMs": None if health.checked_ms is None else max(0, now_ms - health.checked_ms),
        "latencyMs": health.latency_ms,
        "version": about.version,
        "newestMs": newest_ms,
        "newestAgeMs": None if newest_ms is None else max(0, now_ms - newest_ms),
        "breaker": {
            "state": health.breaker.value,
            "sinceMs": health.breaker_since_ms,
            "retryInMs": None if health.retry_ms is None else max(0, health.retry_ms - now_ms),
            "failures": health.failures,
        },
        "error": _words(health, now_ms),
    }

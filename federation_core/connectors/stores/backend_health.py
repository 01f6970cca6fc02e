"""How the clusters' backends were when a worker last probed them, and their breakers, as they rest in Redis.

Rule: each worker has a row of its own for each backend, and what is read is what they make of it together: a backend is
up that answers one of them, and where it does not answer others the words say how many. When something was seen is told
by Redis' clock alone and read by the reader's, as with heartbeats. What cannot be read is passed over: a key that a
cluster's worker has spoilt is that cluster's trouble alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import redis

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.breakers import WORDS_CHARS, read_breakers
from federation_core.connectors.stores.redis import answering
from federation_core.connectors.stores.redis_store import RedisStore
from federation_core.health import About, BackendHealth, Breaker

#: A worker's row that is so much older than another's is no word against it: all probe far more often.
SEEN_MS = 60_000
_NAME_CHARS = 80


class BackendHealths(RedisStore):
    """The health of all clusters' backends. Opens nothing until it is used; thread-safe."""

    def of(self, clusters: Iterable[str], now_ms: int) -> dict[str, dict[str, BackendHealth]]:
        """Return cluster → entry of the configuration → how that backend is, in one round trip.

        Only what some worker has spoken of is in it, however long ago (up to a day); `now_ms` is the reader's clock.

        Raises StoreUnavailable.
        """
        names = list(clusters)
        with answering(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            for name in names:
                pipe.hgetall(keys.health(name))
                pipe.hgetall(keys.breaker(name))
            clock, *found = pipe.execute(raise_on_error=False)
            if isinstance(clock, redis.RedisError):
                raise clock
        seconds, micros = clock
        ahead_ms = now_ms - (seconds * 1000 + micros // 1000)
        pairs = zip(found[::2], found[1::2], strict=True)
        return {name: _of_cluster(*pair, ahead_ms) for name, pair in zip(names, pairs, strict=True)}


def row_of(health: BackendHealth) -> str:
    """Return what a worker's heartbeat says of a backend that it has probed, as `BackendHealths` reads it."""
    row = {
        "kind": health.kind,
        "up": health.up,
        "latency_ms": health.latency_ms,
        "error": health.error[:WORDS_CHARS],
        "version": health.about.version[:_NAME_CHARS],
        "newest_ms": health.about.newest_ms,
    }
    return json.dumps(row, separators=(",", ":"))


def _of_cluster(rows: Any, breakers: Any, ahead_ms: int) -> dict[str, BackendHealth]:
    found: dict[str, list[BackendHealth]] = {}
    for name, value in rows.items() if isinstance(rows, dict) else ():
        # Another release's row names no worker.
        entry, _, _ = name.decode(errors="replace").partition(" ")
        if (health := _read(entry, value, ahead_ms)) is not None:
            found.setdefault(entry, []).append(health)
    healths = {entry: _of_all(seen) for entry, seen in found.items()}
    for entry, breaker in read_breakers(breakers if isinstance(breakers, dict) else {}, ahead_ms).items():
        health = replace(healths.get(entry) or BackendHealth(entry, ""), failures=breaker.failures)
        if breaker.state is not Breaker.CLOSED:
            health = replace(
                health, breaker=breaker.state, breaker_since_ms=breaker.since_ms, retry_ms=breaker.retry_ms
            )
        healths[entry] = health
    return healths


def _of_all(seen: list[BackendHealth]) -> BackendHealth:
    """Return what the workers that have probed a backend of late make of it together."""
    newest_ms = max(health.checked_ms or 0 for health in seen)
    fresh = [health for health in seen if (health.checked_ms or 0) > newest_ms - SEEN_MS]
    *_, last = sorted(fresh, key=lambda health: (health.up is True, health.checked_ms or 0))
    down = sorted((health for health in fresh if not health.up), key=lambda health: health.checked_ms or 0)
    if not last.up or not down:
        return last
    error = f"{len(down)} of {len(fresh)} workers cannot use it: {down[-1].error}"
    return replace(last, error=error)


def _read(entry: str, value: bytes, ahead_ms: int) -> BackendHealth | None:
    at, _, text = value.partition(b" ")
    try:
        row, checked_ms = json.loads(text), int(at)
    except ValueError:
        return None
    if not isinstance(row, Mapping) or not isinstance(row.get("up"), bool):
        return None
    return BackendHealth(
        signal=entry,
        kind=_text(row, "kind", _NAME_CHARS),
        up=row["up"],
        checked_ms=checked_ms + ahead_ms,
        latency_ms=_number(row, "latency_ms"),
        error=_text(row, "error", WORDS_CHARS),
        about=About(_text(row, "version", _NAME_CHARS), _number(row, "newest_ms")),
    )


def _text(row: Mapping[str, Any], name: str, most: int) -> str:
    found = row.get(name)
    return found[:most] if isinstance(found, str) else ""


def _number(row: Mapping[str, Any], name: str) -> int | None:
    found = row.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else None

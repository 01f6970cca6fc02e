"""Heartbeats of the clusters' workers in Redis: who serves a cluster's queue, with which engine, or since when nobody.

Rule: the age of a beat is measured by Redis' clock alone, so a worker whose clock is wrong is neither dead nor
immortal. A beat is remembered for a day after it counts no more, to say since when a cluster is missing. A beat brings
what its worker has seen of the backends, and its answer tells what all of them make of it: one round trip.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import redis

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.beat_script import BEAT
from federation_core.connectors.stores.breakers import WORDS_CHARS, Sighting, read_breaker, read_breakers
from federation_core.connectors.stores.redis import answering
from federation_core.connectors.stores.redis_store import RedisStore, Script
from federation_core.health import BackendBreaker
from federation_core.times import format_time
from federation_core.topology.presence import Presence

#: A worker is taken for dead when it has been silent for this long; it beats every second.
ALIVE_MS = 3_500
NEVER_SEEN = "no worker of it was seen in the last day"
_LOST = "its last worker was lost"

#: The field of a cluster's beats in which its engine stands, beside those of its workers, whose names have colons.
_ENGINE = b"engine"
#: As much of a word as is taken.
_WORD_CHARS = 80

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Seen:
    """What a worker has to say of one cluster's backends since its last beat, by their entries in the configuration.

    `rows` are those that it has probed: how long ago, in ms, and the row as `backend_health` writes it.
    """

    sightings: Mapping[str, Sighting] = field(default_factory=dict)
    rows: Mapping[str, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """What the answer to a beat tells of one cluster.

    `processes` living workers serve it and this one is the `rank`-th of them, from 0. `breakers` are those of backends
    that have failed of late, in Redis' time; `to_probe` the backends that this worker is to probe at once.
    """

    processes: int
    rank: int
    breakers: Mapping[str, BackendBreaker]
    to_probe: frozenset[str]


@dataclass(frozen=True, slots=True)
class WorkerBeat:
    """The last sign of life of a cluster's workers.

    `last_seen_ms` is by the reader's clock; `clock_skew_ms` is how far the worker's clock is ahead of it. `left`
    tells a worker that said it was leaving from one that fell silent. `engine` is what evaluates in the cluster, in a
    word that its workers have said; "" where none has. `breakers` are those of its backends that have failed of late,
    by their entries in the configuration.
    """

    cluster: str
    worker: str
    alive: bool
    last_seen_ms: int
    clock_skew_ms: int
    left: bool = False
    engine: str = ""
    breakers: Mapping[str, BackendBreaker] = field(default_factory=dict)

    @property
    def why_absent(self) -> str:
        """Say why no worker serves the cluster, and since when; empty while one does.

        >>> WorkerBeat("prod", "w", False, 1_700_000_000_000, 0).why_absent
        'its last worker was lost, last heard of at 2023-11-14T22:13:20.000Z'
        """
        if self.alive:
            return ""
        at = format_time(self.last_seen_ms)
        return f"its last worker said at {at} that it was leaving" if self.left else f"{_LOST}, last heard of at {at}"


class Heartbeats(RedisStore):
    """The heartbeats of all clusters. Opens nothing until it is used."""

    _beat = Script(BEAT)

    def beat(
        self,
        clusters: Sequence[str],
        worker: str,
        now_ms: int,
        alive_ms: int = ALIVE_MS,
        engines: Mapping[str, str] = _NOTHING,
        *,
        seen: Mapping[str, Seen] = _NOTHING,
        number: int | None = None,
        probes: Mapping[str, Collection[str]] = _NOTHING,
    ) -> dict[str, Told]:
        """Note a worker's sign of life for all its clusters in one round trip; `now_ms` is the worker's clock.

        It counts as alive for `alive_ms`; 0 says that it is leaving. `engines` are the words for what evaluates in the
        clusters, of those where it is known. `seen` is counted once for each `number`, however often it arrives.
        `probes` has the backends that this worker can be told to probe, by cluster.
        """
        if not clusters:
            return {}
        report = "-" if number is None else f"{worker}#{number}"
        args: list[Any] = [worker, now_ms, alive_ms, report]
        for cluster in clusters:
            said = seen.get(cluster, _SILENCE)
            able = "".join(f" {entry} " for entry in probes.get(cluster, ()))
            args += [engines.get(cluster, ""), able, len(said.sightings)]
            for entry, sighting in said.sightings.items():
                args += [entry, int(sighting.answered), sighting.failed, " ".join(sighting.words.split())[:WORDS_CHARS]]
            args.append(len(said.rows))
            for entry, (age_ms, row) in said.rows.items():
                args += [entry, age_ms, row]
        names = (keys.beats, keys.breaker, keys.health)
        with answering():
            _, *told = self._beat(keys=[name(cluster) for cluster in clusters for name in names], args=args)
        return {cluster: _told(answer) for cluster, answer in zip(clusters, told, strict=True)}

    def latest(self, clusters: Iterable[str], now_ms: int) -> dict[str, WorkerBeat]:
        """Return the latest heartbeat, living or not, of every cluster heard of; `now_ms` is the reader's clock."""
        names = list(clusters)
        with answering(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            for name in names:
                pipe.hgetall(keys.beats(name))
                pipe.hgetall(keys.breaker(name))
            # A key that a cluster's worker has spoilt is that cluster's trouble alone.
            clock, *found = pipe.execute(raise_on_error=False)
            if isinstance(clock, redis.RedisError):
                raise clock
        seconds, micros = clock
        ahead_ms = now_ms - (seconds * 1000 + micros // 1000)
        hashes = [fields if isinstance(fields, dict) else {} for fields in found]
        heard = zip(names, hashes[::2], hashes[1::2], strict=True)
        beats = {name: _read(name, fields, breakers, now_ms, ahead_ms) for name, fields, breakers in heard}
        return {name: max(some, key=_freshness) for name, some in beats.items() if some}


def presence(clusters: Iterable[str], beats: Mapping[str, WorkerBeat]) -> Presence:
    """Say which clusters have a living worker, and why the others have none."""
    names = tuple(clusters)
    served = frozenset(name for name in names if name in beats and beats[name].alive)
    absent = {n: beats[n].why_absent if n in beats else NEVER_SEEN for n in names if n not in served}
    engines = {name: beats[name].engine for name in served if beats[name].engine}
    breakers = {name: beats[name].breakers for name in served if beats[name].breakers}
    return Presence(served, absent, engines, breakers)


_SILENCE = Seen()


def _told(answer: list[Any]) -> Told:
    processes, rank, *kept = answer
    entries = [name.decode(errors="replace") for name in kept[::3]]
    read = dict(zip(entries, map(read_breaker, kept[1::3]), strict=True))
    breakers = {entry: breaker for entry, breaker in read.items() if breaker is not None}
    to_probe = (entry for entry, mine in zip(entries, kept[2::3], strict=True) if mine)
    # One that is leaving is none of the living.
    return Told(max(processes, rank + 1), rank, breakers, frozenset(to_probe))


def _freshness(beat: WorkerBeat) -> tuple[bool, int]:
    return beat.alive, beat.last_seen_ms


def _read(
    cluster: str, fields: Mapping[bytes, bytes], breakers: Mapping[bytes, bytes], now_ms: int, ahead_ms: int
) -> list[WorkerBeat]:
    beats = []
    _, _, engine = fields.get(_ENGINE, b"").partition(b" ")
    word = engine.decode(errors="replace")[:_WORD_CHARS]
    failing = read_breakers(breakers, ahead_ms)
    for worker, value in fields.items():
        try:
            seen_ms, clock_ms, alive_ms = (int(number) for number in value.split())
        except ValueError:
            continue
        age_ms = max(0, now_ms - ahead_ms - seen_ms)
        last_seen_ms = now_ms - age_ms
        name = worker.decode(errors="replace")
        left, skew_ms = alive_ms == 0, clock_ms - last_seen_ms
        beats.append(WorkerBeat(cluster, name, age_ms < alive_ms, last_seen_ms, skew_ms, left, word, failing))
    return beats

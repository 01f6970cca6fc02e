"""Heartbeats of the clusters' workers in Redis: who serves a cluster's queue, with which engine, or since when nobody.

Rule: the age of a beat is measured by Redis' clock alone, so a worker whose clock is wrong is neither dead nor
immortal. A beat is remembered for a day after it counts no more, to say since when a cluster is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import redis

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.redis import answering
from federation_core.connectors.stores.redis_store import RedisStore, Script
from federation_core.times import format_time
from federation_core.topology.presence import Presence

#: A worker is taken for dead when it has been silent for this long; it beats every second.
ALIVE_MS = 3_500
#: When another worker of its cluster beats, one that has been silent for so long has nothing more to tell.
_FORGET_MS = 60_000

NEVER_SEEN = "no worker of it was seen in the last day"
_LOST = "its last worker was lost"

#: The field of a cluster's beats in which its engine stands, beside those of its workers, whose names have colons.
_ENGINE = b"engine"
#: As much of a word as is taken.
_WORD_CHARS = 80

#: Note a sign of life by Redis' own clock, and forget the workers that this one comes after. The engine is a field of
#: its own, which a reader that knows nothing of it passes over: sites are not upgraded in one moment.
#: KEYS: beats of each cluster
#: ARGV: worker, clock_ms, alive_ms (0: it is leaving), keep_ms, forget_ms, the engine of each cluster
_BEAT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for k = 1, #KEYS do
  redis.call('HSET', KEYS[k], ARGV[1], string.format('%.0f', now) .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
  local engine = ARGV[5 + k]
  if engine ~= '' then redis.call('HSET', KEYS[k], 'engine', string.format('%.0f', now) .. ' ' .. engine) end
  local all = redis.call('HGETALL', KEYS[k])
  for i = 1, #all, 2 do
    local seen = tonumber(string.match(all[i + 1], '^%d+')) or 0
    if seen < now - tonumber(ARGV[5]) then redis.call('HDEL', KEYS[k], all[i]) end
  end
  redis.call('PEXPIRE', KEYS[k], ARGV[4])
end
return 1
"""


@dataclass(frozen=True, slots=True)
class WorkerBeat:
    """The last sign of life of a cluster's workers.

    `last_seen_ms` is by the reader's clock; `clock_skew_ms` is how far the worker's clock is ahead of it. `left`
    tells a worker that said it was leaving from one that fell silent. `engine` is what evaluates in the cluster, in a
    word that its workers have said; "" where none has.
    """

    cluster: str
    worker: str
    alive: bool
    last_seen_ms: int
    clock_skew_ms: int
    left: bool = False
    engine: str = ""

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

    _beat = Script(_BEAT)

    def beat(
        self,
        clusters: Sequence[str],
        worker: str,
        now_ms: int,
        alive_ms: int = ALIVE_MS,
        engines: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Note a worker's sign of life for all its clusters in one round trip; `now_ms` is the worker's clock.

        It counts as alive for `alive_ms`; 0 says that it is leaving. `engines` are the words for what evaluates in the
        clusters, of those where it is known.
        """
        words = [engines.get(cluster, "") for cluster in clusters]
        if clusters:
            with answering():
                self._beat(
                    keys=[keys.beats(cluster) for cluster in clusters],
                    args=[worker, now_ms, alive_ms, keys.REMEMBER_MS, _FORGET_MS, *words],
                )

    def latest(self, clusters: Iterable[str], now_ms: int) -> dict[str, WorkerBeat]:
        """Return the latest heartbeat, living or not, of every cluster heard of; `now_ms` is the reader's clock."""
        names = list(clusters)
        with answering(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            for name in names:
                pipe.hgetall(keys.beats(name))
            # A key that a cluster's worker has spoilt is that cluster's trouble alone.
            clock, *found = pipe.execute(raise_on_error=False)
            if isinstance(clock, redis.RedisError):
                raise clock
        seconds, micros = clock
        server_ms = seconds * 1000 + micros // 1000
        heard = {name: fields for name, fields in zip(names, found, strict=True) if isinstance(fields, dict)}
        beats = {name: _read(name, fields, server_ms, now_ms) for name, fields in heard.items()}
        return {name: max(some, key=_freshness) for name, some in beats.items() if some}


def presence(clusters: Iterable[str], beats: Mapping[str, WorkerBeat]) -> Presence:
    """Say which clusters have a living worker, and why the others have none."""
    names = tuple(clusters)
    served = frozenset(name for name in names if name in beats and beats[name].alive)
    absent = {n: beats[n].why_absent if n in beats else NEVER_SEEN for n in names if n not in served}
    engines = {name: beats[name].engine for name in served if beats[name].engine}
    return Presence(served, absent, engines)


def _freshness(beat: WorkerBeat) -> tuple[bool, int]:
    return beat.alive, beat.last_seen_ms


def _read(cluster: str, fields: Mapping[bytes, bytes], server_ms: int, now_ms: int) -> list[WorkerBeat]:
    beats = []
    _, _, engine = fields.get(_ENGINE, b"").partition(b" ")
    word = engine.decode(errors="replace")[:_WORD_CHARS]
    for worker, value in fields.items():
        try:
            seen_ms, clock_ms, alive_ms = (int(number) for number in value.split())
        except ValueError:
            continue
        age_ms = max(0, server_ms - seen_ms)
        last_seen_ms = now_ms - age_ms
        name = worker.decode(errors="replace")
        left, skew_ms = alive_ms == 0, clock_ms - last_seen_ms
        beats.append(WorkerBeat(cluster, name, age_ms < alive_ms, last_seen_ms, skew_ms, left, word))
    return beats

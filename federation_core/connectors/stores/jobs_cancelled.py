"""Cancelled queries in Redis: told to each cluster that was asked, read by its workers a few times a second.

Rule: a cluster has a list of its own, so that a worker's access can be limited to it. Moments are Redis' own, so no
clock of a process decides what a worker hears of.
"""

from __future__ import annotations

from collections.abc import Iterable

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.redis import answering
from federation_core.connectors.stores.redis_store import RedisStore, Script

#: Readers look back this much further than the last time, for a clock of Redis' machine that is set back a little.
_OVERLAP_MS = 2_000

#: Add a query by Redis' own clock, and drop those that no worker can still be running.
#: KEYS: cancelled  ARGV: member, keep_ms
_ANNOUNCE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - tonumber(ARGV[2])))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""


class CancelledQueries(RedisStore):
    """What the clusters' workers are told to stop. Opens nothing until it is used."""

    _announce = Script(_ANNOUNCE)

    def announce(self, tenant_id: str, query_id: str, clusters: Iterable[str]) -> None:
        """Tell the workers of some clusters that a query is cancelled; telling it again does no harm."""
        member = keys.member(tenant_id, query_id)
        with answering(), self._redis.pipeline(transaction=False) as pipe:
            for cluster in clusters:
                self._announce(keys=[keys.cancelled(cluster)], args=[member, keys.CANCELLED_MS], client=pipe)
            pipe.execute()

    def since(self, clusters: Iterable[str], moment_ms: int) -> tuple[int, frozenset[tuple[str, str]]]:
        """Return Redis' time in ms, and (tenant, query id) of what was cancelled since an earlier such time.

        A query may be returned several times; 0 asks for all that a worker could still be given.
        """
        with answering(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            for cluster in clusters:
                pipe.zrangebyscore(keys.cancelled(cluster), max(0, moment_ms - _OVERLAP_MS), "+inf")
            (seconds, micros), *found = pipe.execute()
        return seconds * 1000 + micros // 1000, frozenset(keys.tenant_and_query(m) for some in found for m in some)

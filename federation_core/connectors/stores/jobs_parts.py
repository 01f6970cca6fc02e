"""The parts of jobs, written by the clusters' workers and read by whoever settles.

Rule: a part is written in one round trip, in which everything else happens that is due when a shard has been answered:
the next step of a worker near its cluster never waits for a Redis that is far away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.jobs_records import pack_head
from federation_core.connectors.stores.jobs_scripts import DROP_LATE_PARTS, PUT_PART, START_PART
from federation_core.connectors.stores.redis import answering
from federation_core.connectors.stores.redis_store import Script
from federation_core.outcome import ClusterVerdict


class JobParts:
    """The parts of all tenants' jobs, in the Redis of a client; thread-safe."""

    _start = Script(START_PART)
    _put = Script(PUT_PART)
    _drop_late = Script(DROP_LATE_PARTS)

    def __init__(self, redis: Any) -> None:
        self._redis = redis

    def start(self, tenant_id: str, query_id: str, cluster: str, started_ms: int) -> None:
        """Note when a cluster's worker has begun, unless the job has ended."""
        names = [keys.part(cluster, tenant_id, query_id), keys.job(tenant_id, query_id)]
        with answering():
            self._start(keys=names, args=[started_ms, keys.PART_TTL_MS])

    def put(
        self, tenant_id: str, query_id: str, cluster: str, data: bytes, verdict: ClusterVerdict, owner: str = ""
    ) -> bool:
        """Store a cluster's part and its verdict, give back its place, and send the callback after the last part.

        Where the task's message rests in the lease of an `owner`, it is finished. A part that is there already stays as
        it is, and is not joined again. Returns whether this was the last part awaited.
        """
        part = keys.part(cluster, tenant_id, query_id)
        with answering():
            return bool(self._put(keys=[part], args=[owner, pack_head(verdict), data]))

    def read(self, tenant_id: str, query_id: str, clusters: Iterable[str]) -> dict[str, bytes]:
        """Return the data of those clusters that have written their part."""
        names = list(clusters)
        with answering(), self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hget(keys.part(name, tenant_id, query_id), "data")
            found = pipe.execute()
        return {name: data for name, data in zip(names, found, strict=True) if data is not None}

    def drop_late(self, tenant_id: str, query_id: str, clusters: Iterable[str]) -> int:
        """Remove the parts that came after the result and count them in the job; return how many these were."""
        parts = [keys.part(cluster, tenant_id, query_id) for cluster in clusters]
        with answering():
            return int(self._drop_late(keys=[keys.job(tenant_id, query_id), *parts]))

    def begun_again(self, tenant_id: str, query_id: str, cluster: str = "") -> int:
        """Count that a redelivered task is begun, a cluster's or the merging; return how often that has been."""
        counter = keys.deliveries(cluster, tenant_id, query_id)
        with answering(), self._redis.pipeline(transaction=True) as pipe:
            pipe.incr(counter)
            pipe.pexpire(counter, keys.PART_TTL_MS)
            count: int = pipe.execute()[0]
        return count

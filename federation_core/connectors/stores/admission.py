"""Admission: who may run a query now, and which clusters take their shard of it. One round trip, for all web roles.

Rule: a place is a lease. It is given back with the part (a shard's) or the result (a job's), and ends a moment after
the query's deadline by itself, so nothing that dies keeps one. What is refused is said with a reason and when to come
back: a job with QuotaExceeded, a shard with its cluster's verdict `throttled`.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

from federation_core.config import Cluster, Settings
from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.admission_script import ADMIT, LEND_AFTER_MS
from federation_core.connectors.stores.redis import ANSWER_TIMEOUT_S, answering
from federation_core.connectors.stores.redis_store import RedisStore, Script
from federation_core.errors import QuotaExceeded
from federation_core.outcome import ClusterVerdict
from federation_core.plan import Plan
from federation_core.tenancy import Limits
from federation_core.topology.routing import throttled
from federation_core.topology.shares import shares

#: How much longer than its query a lease lasts: settling may come a moment after the deadline.
LEASE_MARGIN_MS = 2_000
#: Places are given back long before their lease ends; who is refused need not wait for that.
_LONGEST_WAIT_S = 5


class Admission(RedisStore):
    """The places of all tenants and clusters. Opens nothing until it is used; thread-safe."""

    _admit = Script(ADMIT)

    def __init__(self, settings: Settings, *, answer_s: float = ANSWER_TIMEOUT_S) -> None:
        super().__init__(settings.redis_url, answer_s=answer_s)
        self._clusters = settings.clusters
        self._cap = settings.max_shards_in_flight

    @cached_property
    def _shares(self) -> dict[str, int]:
        return shares({cluster.name: cluster.weight for cluster in self._clusters}, self._cap)

    @cached_property
    def _rates_ttl_ms(self) -> int:
        """After so long without a query every burst is whole again, also where twice as much was owed."""
        rates = [cluster.rate_limit for cluster in self._clusters]
        longest_s = max(2 * rate.burst / rate.requests_per_second for rate in rates)
        return int(min(keys.REMEMBER_MS, max(LEND_AFTER_MS, longest_s * 1000)))

    def admit(self, plan: Plan, limits: Limits) -> tuple[ClusterVerdict, ...]:
        """Take a place for a plan's job and each of its shards; return the verdict of every cluster that has none.

        Raises QuotaExceeded: the tenant runs as many jobs as it may; nothing is taken. StoreUnavailable.
        """
        places = {cluster.name: place for place, cluster in enumerate(self._clusters, start=1)}
        asked = [self._clusters[places[shard.cluster_name] - 1] for shard in plan.shards]
        tenant_id = plan.query.tenant_id
        script_keys = [keys.running(tenant_id), keys.RATES, *(keys.in_flight(c.name) for c in self._clusters)]
        for cluster in asked:
            script_keys += [keys.in_flight(cluster.name, tenant_id), cluster.queue]
        args: list[Any] = [
            keys.member(tenant_id, plan.query_id),
            limits.max_running_jobs,
            plan.deadline_ms - plan.created_ms + LEASE_MARGIN_MS,
            self._cap,
            LEND_AFTER_MS,
            self._rates_ttl_ms,
            len(self._clusters),
        ]
        for cluster in self._clusters:
            args += [cluster.name, self._shares[cluster.name]]
        for shard, cluster in zip(plan.shards, asked, strict=True):
            rate = cluster.rate_limit
            most = rate.max_in_flight
            args += [places[cluster.name], most, _of_one_tenant(most, limits)]
            args += [len(shard.leaves), rate.requests_per_second, rate.burst]
        with answering():
            refused = self._admit(keys=script_keys, args=args)
        return tuple(self._verdict(int(place), why.decode(), int(wait_ms), limits) for place, why, wait_ms in refused)

    def release(self, plan: Plan) -> None:
        """Give back every place of a plan that will not run.

        Raises StoreUnavailable: the places are free when their leases end.
        """
        tenant_id = plan.query.tenant_id
        member = keys.member(tenant_id, plan.query_id)
        with answering(), self._redis.pipeline(transaction=False) as pipe:
            pipe.zrem(keys.running(tenant_id), member)
            for shard in plan.shards:
                pipe.zrem(keys.in_flight(shard.cluster_name), member)
                pipe.zrem(keys.in_flight(shard.cluster_name, tenant_id), member)
            pipe.execute()

    def _verdict(self, place: int, why: str, wait_ms: int, limits: Limits) -> ClusterVerdict:
        retry_after_s = max(1, min(_LONGEST_WAIT_S, math.ceil(wait_ms / 1000)))
        if place == 0:
            raise QuotaExceeded(
                f"{limits.max_running_jobs} queries of this tenant are running, as many as may at once",
                retry_after_s=retry_after_s,
            )
        cluster = self._clusters[place - 1]
        return throttled(cluster.name, self._reason(cluster, why, limits), retry_after_s)

    def _reason(self, cluster: Cluster, why: str, limits: Limits) -> str:
        rate = cluster.rate_limit
        most = rate.max_in_flight
        match why:
            case "cluster":
                return f"{most} shards are on their way to it, as many as it takes"
            case "queue":
                return f"its queue holds {most} shards, as many as it may"
            case "tenant":
                return f"{_of_one_tenant(most, limits)} shards of this tenant are on their way to it, as many as may be"
            case "cap":
                share = self._shares[cluster.name]
                return f"all {self._cap} places for shards are taken, and it has its share of {share} or lent of it"
            case _:
                return f"it is asked {rate.requests_per_second:g} times a second, as often as it may"


def _of_one_tenant(most: int, limits: Limits) -> int:
    """Return how many of a cluster's places one tenant may hold: three quarters.

    Of its own jobs no more than three quarters may wait for one cluster either, so that a cluster that hangs leaves the
    tenant the rest for all others.
    """
    places = min(most, limits.max_running_jobs)
    return places - places // 4

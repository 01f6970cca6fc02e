"""Jobs in Redis: written and sent, claimed, settled, waited for; the clusters' parts are in `jobs_parts`.

Rule: a result is stored once and never changed; whoever comes second gets the first one's. A job belongs to its
tenant: asked for by any other it does not exist. Any failure to reach Redis is `StoreUnavailable`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.backend_health import BackendHealths
from federation_core.connectors.stores.jobs_beats import Heartbeats, WorkerBeat
from federation_core.connectors.stores.jobs_cancelled import CancelledQueries
from federation_core.connectors.stores.jobs_parts import JobParts
from federation_core.connectors.stores.jobs_reading import read_jobs
from federation_core.connectors.stores.jobs_records import (
    Job,
    JobState,
    Progress,
    pack_plan,
    pack_rows,
    unpack_plan,
)
from federation_core.connectors.stores.jobs_scripts import KEEP, PUT_RESULT, SUBMIT
from federation_core.connectors.stores.jobs_sending import NO_MESSAGE, Message, submission
from federation_core.connectors.stores.redis import ANSWER_TIMEOUT_S, answering, connect
from federation_core.connectors.stores.redis_store import RedisStore, Script
from federation_core.errors import QueryExpired, QueryNotFound
from federation_core.outcome import ClusterVerdict
from federation_core.plan import Plan

__all__ = ["Job", "JobState", "Jobs", "Progress", "WorkerBeat", "wall_clock_ms"]

#: A waiter blocks this long at a time, so that a link that hangs is noticed within a few seconds.
_WAIT_SLICE_S = 1.0
#: Redis 6.2 cuts a timeout to whole milliseconds and takes 0 for "for ever", so 1 ms is too close to it.
_LEAST_WAIT_S = 0.002


def wall_clock_ms() -> int:
    """Return the time in ms since the epoch."""
    return time.time_ns() // 1_000_000


class Jobs(RedisStore):
    """The jobs of all tenants. Opens nothing until it is used; safe to use from several threads and after a fork."""

    _submit = Script(SUBMIT)
    _put_result = Script(PUT_RESULT)
    _keep = Script(KEEP)

    def __init__(
        self,
        url: str,
        result_ttl_ms: int = 3_600_000,
        clock: Callable[[], int] = wall_clock_ms,
        *,
        answer_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        super().__init__(url, answer_s=answer_s)
        #: The heartbeats of the clusters' workers.
        self.beats = Heartbeats(url)
        #: How the clusters' backends are.
        self.healths = BackendHealths(url)
        #: What the clusters' workers are told to stop.
        self.cancelled = CancelledQueries(url)
        self._ttl_ms = result_ttl_ms
        self._clock = clock

    @cached_property
    def parts(self) -> JobParts:
        """What the clusters have answered."""
        return JobParts(self._redis)

    @cached_property
    def _waiting(self) -> Any:
        return connect(self._url, blocking_s=_WAIT_SLICE_S, answer_s=self._answer_s)

    # Writing and sending

    def create(self, plan: Plan) -> None:
        """Write a new job for a plan, due at the plan's deadline."""
        self._write(plan, pack_plan(plan), (), NO_MESSAGE)

    def send(self, plan: Plan, messages: Sequence[Message], callback: Message) -> None:
        """Send the tasks of a job, one for every shard in its order, and keep the callback for after the last part.

        All of it is done or nothing. Sent again, no task is run twice unless the job has ended by then.
        """
        self._write(plan, b"", messages, callback)

    def submit(self, plan: Plan, messages: Sequence[Message], callback: Message) -> None:
        """Write a new job as `create` does and send its tasks as `send` does, in one round trip."""
        self._write(plan, pack_plan(plan), messages, callback)

    def _write(self, plan: Plan, packed: bytes, messages: Sequence[Message], callback: Message) -> None:
        names, args = submission(plan, packed, self._ttl_ms, messages, callback)
        with answering():
            self._submit(keys=names, args=args)

    # The job's record

    def job(self, tenant_id: str, query_id: str) -> Job:
        """Return one of a tenant's jobs.

        Raises QueryNotFound: no such job, or another tenant's. QueryExpired: its time to live is over.
        """
        found = self.several(tenant_id, [query_id])
        if found:
            return found[0]
        raise self._missing(tenant_id, query_id)

    def recent(self, tenant_id: str, limit: int = 50) -> tuple[Job, ...]:
        """Return a tenant's jobs that are still there, the newest first."""
        with answering():
            ids = self._redis.zrevrange(keys.jobs_of(tenant_id), 0, limit - 1)
        return self.several(tenant_id, [query_id.decode() for query_id in ids])

    def several(self, tenant_id: str, ids: Sequence[str]) -> tuple[Job, ...]:
        """Return those of a tenant's jobs that are still there, in the order asked for."""
        with answering():
            return read_jobs(self._redis, tenant_id, ids, self._clock())

    def keep(self, tenant_id: str, query_id: str, executed_id: str, keep_ms: int) -> bool:
        """Keep a job and its result for at least so long from now, or from its end if it still runs.

        `executed_id` is the job whose result it is, `query_id` itself unless it follows another. Never shortens.
        Returns whether the job is still there.
        """
        mine = [keys.job(tenant_id, query_id)] if query_id != executed_id else []
        executed = [kind(tenant_id, executed_id) for kind in (keys.job, keys.result, keys.wake)]
        with answering():
            return bool(self._keep(keys=[*executed, *mine], args=[keep_ms, self._clock() + keep_ms, keys.CANCELLED_MS]))

    def overdue(self, now_ms: int, limit: int = 100) -> tuple[tuple[str, str], ...]:
        """Return (tenant, query id) of jobs whose deadline has passed and that nobody has settled, oldest first."""
        with answering():
            members = self._redis.zrangebyscore(keys.DEADLINES, 0, now_ms, start=0, num=limit)
        return tuple(keys.tenant_and_query(member) for member in members)

    def forget_deadline(self, tenant_id: str, query_id: str) -> None:
        """Drop the deadline of a job that is no longer there."""
        with answering():
            self._redis.zrem(keys.DEADLINES, keys.member(tenant_id, query_id))

    # Settling

    def claim(self, tenant_id: str, query_id: str) -> tuple[bool, Plan | None, bytes | None]:
        """Try to become the one who settles; return (whether it is us, the plan, the result if there is one).

        A claim ends by itself after a short time, so that a settler that dies does not hold up the others. The plan
        is None once there is a result.

        Raises QueryNotFound, QueryExpired.
        """
        with answering(), self._redis.pipeline(transaction=True) as pipe:
            pipe.set(keys.claim(tenant_id, query_id), "1", nx=True, px=keys.CLAIM_MS)
            pipe.get(keys.result(tenant_id, query_id))
            pipe.hget(keys.job(tenant_id, query_id), "plan")
            ours, result, plan = pipe.execute()
        if result is not None:
            return False, None, result
        if plan is None:
            raise self._missing(tenant_id, query_id)
        return bool(ours), unpack_plan(plan), None

    def put_result(
        self,
        tenant_id: str,
        query_id: str,
        data: bytes,
        state: JobState,
        rows: Sequence[ClusterVerdict] = (),
    ) -> bool:
        """End a job: store its result unless there is one, remove its parts, give back its places, wake every waiter.

        `rows` is the ledger, shown as the job's progress from now on. Returns whether this result is the one.

        Raises QueryNotFound: there is no such job.
        """
        of_clusters = []
        for row in rows:
            of_clusters += [keys.part(row.cluster, tenant_id, query_id)]
            of_clusters += [keys.in_flight(row.cluster), keys.in_flight(row.cluster, tenant_id)]
        with answering():
            stored = self._put_result(
                keys=[
                    keys.job(tenant_id, query_id),
                    keys.result(tenant_id, query_id),
                    keys.wake(tenant_id, query_id),
                    keys.claim(tenant_id, query_id),
                    keys.DEADLINES,
                    keys.running(tenant_id),
                    *of_clusters,
                ],
                args=[
                    data,
                    state.value,
                    self._clock(),
                    self._ttl_ms,
                    pack_rows(tuple(rows)),
                    keys.member(tenant_id, query_id),
                ],
            )
        if stored < 0:
            raise QueryNotFound("there is no such query", query_id=query_id)
        return bool(stored)

    def result(self, tenant_id: str, query_id: str) -> bytes | None:
        """Return the stored result, or None where there is none (yet, or any longer, or for this tenant)."""
        with answering():
            data: bytes | None = self._redis.get(keys.result(tenant_id, query_id))
        return data

    def wait(self, tenant_id: str, query_id: str, timeout_s: float) -> bool:
        """Block until there is a result; return whether there is. Any number of waiters wake."""
        wake = keys.wake(tenant_id, query_id)
        until = time.monotonic() + timeout_s
        with answering():
            while (left_s := until - time.monotonic()) > 0:
                # Rotating a list of one element onto itself wakes us and leaves it for the next waiter.
                if self._waiting.blmove(wake, wake, max(_LEAST_WAIT_S, min(left_s, _WAIT_SLICE_S)), "LEFT", "RIGHT"):
                    return True
            return bool(self._redis.exists(wake))

    def _missing(self, tenant_id: str, query_id: str) -> QueryExpired | QueryNotFound:
        with answering():
            known = self._redis.zscore(keys.jobs_of(tenant_id), query_id) is not None
        if known:
            return QueryExpired("the result of this query is no longer kept", query_id=query_id)
        return QueryNotFound("there is no such query", query_id=query_id)

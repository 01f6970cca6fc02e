"""A plan on its way: written as a job, sent as a chord, waited for, and settled with what is there.

Rule: every job ends by its deadline, whatever dies. `settle` may be called by anyone, any number of times and at the
same time (the chord's callback, the waiter at the deadline, the reaper): one result is stored, and everyone gets it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from celery import chord, group

from federation_core import federate
from federation_core.config import Settings
from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.admission import Admission
from federation_core.connectors.stores.flights import Flights
from federation_core.connectors.stores.jobs import Jobs, JobState, wall_clock_ms
from federation_core.connectors.stores.jobs_beats import presence
from federation_core.connectors.stores.jobs_sending import Message
from federation_core.connectors.stores.redis import ANSWER_TIMEOUT_S
from federation_core.errors import (
    BrokerUnavailable,
    CoverageTooLow,
    QueryExpired,
    QueryNotFound,
    QuotaExceeded,
    StoreUnavailable,
)
from federation_core.outcome import Result
from federation_core.plan import Plan, Shard
from federation_core.tenancy import Limits
from federation_core.topology.presence import Presence
from workers.app import AGGREGATE, MERGE_QUEUE, QUERY_CLUSTER, make_celery
from workers.deliveries import LOST_TOO_OFTEN
from workers.outbox import OutboxCelery, SentOnce
from workers.settle import cancel, end_unsent, give_up, read_result, settle

#: Writes a job's tasks: the plan, the header tasks' messages, the callback's.
_Writing = Callable[[Plan, Sequence[Message], Message], None]
#: Celery would print every argument into the message's headers, for people who look at Flower.
_UNPRINTED = {"argsrepr": "", "kwargsrepr": ""}
_log = logging.getLogger(__name__)


class Dispatch:
    """Sends plans to the clusters' workers and gets their results. Opens nothing until it is used; thread-safe."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], int] = wall_clock_ms,
        *,
        celery: OutboxCelery | None = None,
        answer_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        #: The jobs of all tenants.
        self.jobs = Jobs(settings.redis_url, settings.result_ttl_ms, clock, answer_s=answer_s)
        #: Who joins whose execution.
        self.flights = Flights(settings.redis_url, settings.result_ttl_ms, clock, answer_s=answer_s)
        #: The places for jobs and shards.
        self.admission = Admission(settings, answer_s=answer_s)
        self._settings = settings
        self._clock = clock
        self._given = celery

    @cached_property
    def _celery(self) -> OutboxCelery:
        return self._given or make_celery(self._settings)

    def served(self) -> Presence:
        """Return the clusters whose queue a living worker consumes, and why nobody consumes the others'.

        Raises StoreUnavailable.
        """
        names = [cluster.name for cluster in self._settings.clusters]
        return presence(names, self.jobs.beats.latest(names, self._clock()))

    def admit(self, plan: Plan, limits: Limits) -> Plan:
        """Take a place for a plan's job and for its shards; return it without the clusters that take none now.

        Whoever submits the plan need not give the places back; whoever does not, releases them.

        Raises QuotaExceeded: the tenant runs as many jobs as it may. CoverageTooLow: without the clusters that take
        no shard the answer cannot be what the query requires. StoreUnavailable.
        """
        try:
            refusing = self.admission.admit(plan, limits)
            if not refusing:
                return plan
            _log.info("clusters take no shard now", extra={"refused": {row.cluster: row.reason for row in refusing}})
            return federate.without(plan, refusing)
        except QuotaExceeded as exc:
            _log.info("a query was refused", extra={"why": exc.message})
            raise
        except CoverageTooLow as exc:
            _log.info("a query was refused", extra={"why": exc.message})
            self._release(plan)
            raise

    def submit(self, plan: Plan) -> None:
        """Write the job and send one task per shard; a plan that asks no cluster is settled at once.

        Raises StoreUnavailable, BrokerUnavailable.
        """
        if plan.shards:
            self._send(plan, self.jobs.submit)
        else:
            self.jobs.create(plan)
            self.settle(plan.query.tenant_id, plan.query_id)

    def share(self, plan: Plan) -> Plan:
        """Submit a plan, or join the job that is executing the same question; return the plan that is executed.

        The plan's own job is there either way; its progress and its result are those of the executed one. Where the
        tasks could not be sent the job has failed, for those too who have joined it by then.

        Raises StoreUnavailable, BrokerUnavailable.
        """
        if not plan.shards:
            self.submit(plan)
            return plan
        self.jobs.create(plan)
        try:
            leader = self.flights.enter(plan)
            if leader == plan.query_id:
                self._send(plan, self.jobs.send)
                return plan
        except Exception:
            self._abandon(plan)
            raise
        # Nothing is sent for a job that follows another one.
        self._release(plan)
        return self.jobs.job(plan.query.tenant_id, leader).plan

    def wait(self, plan: Plan, wait_ms: int | None = None) -> Result | None:
        """Return the result of a submitted plan; at the query's deadline settle it with what is there.

        None only where `wait_ms` has passed before that.

        Raises StoreUnavailable, QueryNotFound (Redis has lost the job), QueryExpired.
        """
        now_ms = self._clock()
        tenant_id, query_id = plan.query.tenant_id, plan.query_id
        until_ms = plan.deadline_ms if wait_ms is None else min(now_ms + wait_ms, plan.deadline_ms)
        if self.jobs.wait(tenant_id, query_id, max(0, until_ms - now_ms) / 1000):
            stored = self.jobs.result(tenant_id, query_id)
            if stored is not None:
                return read_result(plan, stored)
        if self._clock() < plan.deadline_ms:
            return None
        return self.settle(tenant_id, query_id)

    def settle(self, tenant_id: str, query_id: str) -> Result:
        """End a job with what is there, unless it has ended; return its one result.

        Raises StoreUnavailable, QueryNotFound, QueryExpired.
        """
        return settle(
            self.jobs, tenant_id, query_id, self.served, self._clock, max_bytes=self._settings.max_result_bytes
        )

    def settle_again(self, tenant_id: str, query_id: str) -> Result:
        """Settle in a task that was delivered again; the second time, end the job without combining once more.

        Raises StoreUnavailable, QueryNotFound, QueryExpired.
        """
        if self.jobs.parts.begun_again(tenant_id, query_id) >= LOST_TOO_OFTEN:
            give_up(self.jobs, self.jobs.job(tenant_id, query_id).plan)
        return self.settle(tenant_id, query_id)

    def cancel(self, tenant_id: str, query_id: str) -> None:
        """End a job as cancelled, unless it has ended, and have its clusters' workers stop.

        Every waiter gets the one result, which has failed with QueryCanceled. Of a settling at the same time one wins.
        The workers have stopped within a second. Cancelling again does no harm.

        Raises StoreUnavailable, QueryNotFound (also for another tenant's id), QueryExpired.
        """
        job = self.jobs.job(tenant_id, query_id)
        if job.state.final and job.state is not JobState.CANCELLED:
            return
        # Told again where an earlier caller may have died between the two steps.
        if cancel(self.jobs, job.plan) or job.state is JobState.CANCELLED:
            self.jobs.cancelled.announce(tenant_id, query_id, [shard.cluster_name for shard in job.plan.shards])

    def withdraw(self, tenant_id: str, query_id: str) -> bool:
        """Cancel one owner's job, and the execution unless others want its answer; False where it has ended already.

        Raises StoreUnavailable, QueryNotFound (also for another tenant's id), QueryExpired.
        """
        executed_id = self.jobs.job(tenant_id, query_id).plan.query_id
        unwanted = self.flights.withdraw(tenant_id, query_id, executed_id)
        if unwanted:
            self.cancel(tenant_id, executed_id)
        return unwanted is not None

    def result(self, tenant_id: str, query_id: str) -> Result | None:
        """Return the result of a tenant's job, or None while it has none.

        Raises StoreUnavailable, QueryNotFound (also for another tenant's id), QueryExpired.
        """
        plan = self.jobs.job(tenant_id, query_id).plan
        stored = self.jobs.result(tenant_id, plan.query_id)
        return None if stored is None else read_result(plan, stored)

    def reap(self, grace_ms: int = 500, limit: int = 100) -> int:
        """Settle jobs whose deadline passed more than `grace_ms` ago and that nobody waits for; return how many.

        A job that cannot be settled, as its record is damaged or another release's, is not tried again: it would hold
        up all the others at every call.

        Raises StoreUnavailable.
        """
        ended = 0
        for tenant_id, query_id in self.jobs.overdue(self._clock() - grace_ms, limit):
            try:
                self.settle(tenant_id, query_id)
                ended += 1
            except StoreUnavailable:
                raise
            except (QueryNotFound, QueryExpired):
                self.jobs.forget_deadline(tenant_id, query_id)
            except Exception:
                _log.exception("an overdue job cannot be settled", extra={"query_id": query_id})
                self.jobs.forget_deadline(tenant_id, query_id)
        return ended

    def _release(self, plan: Plan) -> None:
        """Give places back; where that fails they end by themselves."""
        with suppress(StoreUnavailable):
            self.admission.release(plan)

    def _abandon(self, plan: Plan) -> None:
        """Have nobody join or wait for a job that was not sent; where that fails too, it ends at its deadline."""
        with suppress(StoreUnavailable):
            self.flights.leave(plan)
        with suppress(StoreUnavailable, QueryNotFound):
            end_unsent(self.jobs, plan)

    def _send(self, plan: Plan, write: _Writing) -> None:
        """Send the chord: a header task per shard on its cluster's queue, and the callback on `merge`.

        Redis takes all of it or nothing. A connection that it has closed in the meantime is healed by the store, once.
        """
        header = [self._task(QUERY_CLUSTER, shard) for shard in plan.shards]
        callback = SentOnce(
            AGGREGATE,
            (plan.query.tenant_id, plan.query_id),
            app=self._celery,
            immutable=True,
            queue=MERGE_QUEUE,
            **_UNPRINTED,
        )
        with self._celery.outbox() as outbox:
            chord(group(header, app=self._celery), app=self._celery)(callback)
        assert outbox.callback is not None
        try:
            write(plan, outbox.messages, outbox.callback)
        except StoreUnavailable as exc:
            self._release(plan)
            raise BrokerUnavailable(f"the task queue does not answer: {exc}") from exc

    def _task(self, name: str, shard: Shard) -> Any:
        cluster = shard.cluster_name
        return SentOnce(
            name,
            (_text(shard),),
            app=self._celery,
            queue=keys.cluster_queue(cluster),
            # The script that stores the part finds the task's message by this.
            task_id=keys.part(cluster, shard.scope.tenant_id, shard.query_id),
            **_UNPRINTED,
        )


def _text(shard: Shard) -> str:
    """A shard travels as text: Celery copies its arguments several times, and a string is copied for nothing."""
    return json.dumps(shard.to_wire(), separators=(",", ":"))

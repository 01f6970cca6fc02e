"""The one place where a question becomes an answer: scope and query, plan, job, wait.

Rule: every route asks through here, so that what holds for one query (its scope, its ledger, its deadline, its
id in every log line) holds for all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from flask import current_app

from federation_core import federate
from federation_core.config import Settings
from federation_core.connectors.stores.idempotency import IdempotencyKeys
from federation_core.connectors.stores.signing_key import SigningKey
from federation_core.errors import QueryNotFound
from federation_core.outcome import Result
from federation_core.plan import Plan
from federation_core.query import Query
from federation_core.structured_logging import bound
from federation_core.tenancy import Scope
from webapp.events import Watches
from webapp.query_ids import is_query_id, new_query_id
from webapp.request_log import note

if TYPE_CHECKING:
    from federation_core.connectors.stores.jobs import Job
    from workers.dispatch import Dispatch

_EXTENSION = "appsentry"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A question on its way: the id of its own job, and the plan that is executed for it, maybe an earlier one's."""

    query_id: str
    plan: Plan
    created_ms: int


@dataclass(frozen=True)
class Pipeline:
    """What it takes to ask: the settings, the way to the workers, and a clock in ms."""

    settings: Settings
    dispatch: Dispatch
    clock: Callable[[], int]

    @cached_property
    def idempotency(self) -> IdempotencyKeys:
        """Which job an idempotency key stands for."""
        return IdempotencyKeys(self.settings.redis_url)

    @cached_property
    def signing_key(self) -> SigningKey:
        """What page cursors are signed with."""
        return SigningKey(self.settings.redis_url)

    @cached_property
    def watches(self) -> Watches:
        """The jobs that somebody listens to."""
        return Watches(self.dispatch.jobs.several)

    def new_id(self) -> str:
        """Return the id of a query that is asked now."""
        return new_query_id(self.settings.region, self.clock())

    def plan(self, query: Query, scope: Scope, query_id: str = "") -> Plan:
        """Plan a query and run nothing.

        Raises what `federate.plan` raises, and StoreUnavailable.
        """
        return federate.plan(
            query,
            scope,
            self.settings.clusters,
            query_id=query_id or self.new_id(),
            served=self.dispatch.served(),
            now_ms=self.clock(),
        )

    def submit(self, query: Query, scope: Scope, query_id: str = "") -> Accepted:
        """Plan a query and send it to its clusters, or join the same question that is in flight.

        Raises what `plan` raises, QuotaExceeded, CoverageTooLow (too few clusters take a shard now), BrokerUnavailable.
        """
        plan = self.plan(query, scope, query_id)
        with bound(query_id=plan.query_id):
            plan = self.dispatch.admit(plan, scope.limits)
            executed = self.dispatch.share(plan)
            _log.info(
                "query submitted",
                extra={
                    "signal": query.signal,
                    "clusters": [shard.cluster_name for shard in plan.shards],
                    "left_out": [row.cluster for row in plan.left_out],
                    **({"follows": executed.query_id} if executed.query_id != plan.query_id else {}),
                },
            )
        note(query_id=plan.query_id)
        return Accepted(plan.query_id, executed, plan.created_ms)

    def answer(self, query: Query, scope: Scope) -> tuple[Accepted, Result]:
        """Submit a query and wait for its result, which is there at its deadline at the latest."""
        accepted = self.submit(query, scope)
        result = self.wait(accepted)
        while result is None:
            # The wait and the deadline are measured by different clocks, which may differ by a moment.
            result = self.wait(accepted)
        return accepted, result

    def wait(self, asked: Accepted | Job, wait_ms: int | None = None) -> Result | None:
        """Wait for a query's result, at most `wait_ms`; None if it is not there by then."""
        with bound(query_id=asked.query_id):
            if wait_ms is not None and wait_ms <= 0:
                result = self._stored(asked.plan)
            else:
                result = self.dispatch.wait(asked.plan, wait_ms)
        return None if result is None else replace(result, query_id=asked.query_id)

    def job(self, scope: Scope, query_id: str) -> Job:
        """Return one of the caller's own jobs.

        Raises QueryNotFound: unknown, or another tenant's. QueryExpired: its time to live is over.
        """
        if not is_query_id(query_id):
            raise QueryNotFound("there is no such query", query_id=query_id)
        note(query_id=query_id)
        return self.dispatch.jobs.job(scope.tenant_id, query_id)

    def _stored(self, plan: Plan) -> Result | None:
        tenant_id = plan.query.tenant_id
        result = self.dispatch.result(tenant_id, plan.query_id)
        if result is None and self.clock() >= plan.deadline_ms:
            # Nobody waited for it and nobody reaped it yet: whoever looks may end it.
            return self.dispatch.settle(tenant_id, plan.query_id)
        return result


def install(pipeline: Pipeline) -> None:
    """Make the pipeline that of the current application."""
    current_app.extensions[_EXTENSION] = pipeline


def pipeline() -> Pipeline:
    """Return the pipeline of the current application."""
    found: Pipeline = current_app.extensions[_EXTENSION]
    return found

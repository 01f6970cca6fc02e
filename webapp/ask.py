"""The one place where a question becomes an answer: scope and query, plan, job, wait.

Rule: every route asks through here, so that what holds for one query (its scope, its ledger, its deadline, its
id in every log line) holds for all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import current_app

from federation_core import federate
from federation_core.config import Settings
from federation_core.errors import QueryNotFound
from federation_core.outcome import Result
from federation_core.plan import Plan
from federation_core.query import Query
from federation_core.structured_logging import bound
from federation_core.tenancy import Scope
from webapp.query_ids import is_query_id, new_query_id
from webapp.request_log import note

if TYPE_CHECKING:
    from federation_core.connectors.stores.jobs import Job
    from workers.dispatch import Dispatch

_EXTENSION = "appsentry"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What it takes to ask: the settings, the way to the workers, and a clock in ms."""

    settings: Settings
    dispatch: Dispatch
    clock: Callable[[], int]

    def plan(self, query: Query, scope: Scope) -> Plan:
        """Plan a query and run nothing.

        Raises what `federate.plan` raises, and StoreUnavailable.
        """
        now_ms = self.clock()
        query_id = new_query_id(self.settings.region, now_ms)
        return federate.plan(
            query,
            scope,
            self.settings.clusters,
            query_id=query_id,
            served=self.dispatch.served(),
            now_ms=now_ms,
        )

    def submit(self, query: Query, scope: Scope) -> Plan:
        """Plan a query and send it to its clusters.

        Raises what `plan` raises, and BrokerUnavailable.
        """
        plan = self.plan(query, scope)
        with bound(query_id=plan.query_id):
            self.dispatch.submit(plan)
            _log.info(
                "query submitted",
                extra={
                    "signal": query.signal,
                    "clusters": [shard.cluster_name for shard in plan.shards],
                    "left_out": [row.cluster for row in plan.left_out],
                },
            )
        note(query_id=plan.query_id)
        return plan

    def answer(self, query: Query, scope: Scope) -> tuple[Plan, Result]:
        """Submit a query and wait for its result, which is there at its deadline at the latest."""
        plan = self.submit(query, scope)
        result = self.wait(plan)
        while result is None:
            # The wait and the deadline are measured by different clocks, which may differ by a moment.
            result = self.wait(plan)
        return plan, result

    def wait(self, plan: Plan, wait_ms: int | None = None) -> Result | None:
        """Wait for a query's result, at most `wait_ms`; None if it is not there by then."""
        with bound(query_id=plan.query_id):
            if wait_ms is not None and wait_ms <= 0:
                return self._stored(plan)
            return self.dispatch.wait(plan, wait_ms)

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

"""The tasks of a query: a header task per cluster, the callback that aggregates, the reaper.

Rule: a task decides nothing: it hands on to `ShardRunner` or `Dispatch` and never raises, since a chord whose header
task fails loses the other clusters' answers, and a task that is redelivered for ever helps nobody.
"""

from __future__ import annotations

import logging

from celery import Task

from federation_core.config import Settings
from federation_core.connectors.stores.leases import LostLeases
from federation_core.connectors.stores.redis import WORKER_ANSWER_TIMEOUT_S
from federation_core.connectors.stores.shared_clock import SharedClock
from federation_core.errors import FederationError
from federation_core.structured_logging import bound
from workers.app import AGGREGATE, QUERY_CLUSTER, REAP
from workers.connections import Connections
from workers.deliveries import redelivered
from workers.dispatch import Dispatch
from workers.outbox import OutboxCelery
from workers.shard_runner import ShardRunner
from workers.strategy import ToThePool

_log = logging.getLogger(__name__)


def register(
    app: OutboxCelery,
    settings: Settings,
    serving: frozenset[str],
    *,
    owner: str = "",
    connections: Connections | None = None,
) -> None:
    """Give the application its tasks; `serving` are the clusters whose shards this process may run.

    `owner` is who holds the leases of the process's messages, `connections` are its connectors.
    """
    # `shared=False`: by default Celery gives a task to every application of the process, also to those made later.
    clock = SharedClock(settings.redis_url)
    dispatch = Dispatch(settings, clock, celery=app, answer_s=WORKER_ANSWER_TIMEOUT_S)
    runner = ShardRunner(settings, serving, dispatch.jobs, clock, owner=owner, connections=connections)
    lost_leases, names = LostLeases(settings.redis_url), [cluster.name for cluster in settings.clusters]

    straight = ToThePool(lambda shard, again: runner.run(shard, redelivered=again))

    @app.task(name=QUERY_CLUSTER, shared=False, bind=True, Strategy=straight)  # type: ignore[untyped-decorator]
    def query_cluster(task: Task, shard: str) -> str:
        """Answer one cluster's shard; the part rests in Redis, only the cluster's name is returned."""
        return runner.run(shard, redelivered=redelivered(task))

    @app.task(name=AGGREGATE, shared=False, bind=True)  # type: ignore[untyped-decorator]
    def aggregate(task: Task, tenant_id: str, query_id: str) -> None:
        """Settle a query whose parts are all there."""
        with bound(query_id=query_id):
            try:
                settle = dispatch.settle_again if redelivered(task) else dispatch.settle
                result = settle(tenant_id, query_id)
            except FederationError as exc:
                _log.warning("a query could not be settled", extra={"error": type(exc).__name__, "why": exc.message})
            except Exception:
                _log.exception("a query could not be settled")
            else:
                _log.info("settled", extra={"status": result.status, "merge_ms": result.merge_ms})

    def put_back_lost() -> None:
        if found := lost_leases.put_back(names):
            _log.warning("tasks of a lost worker were put back", extra={"tasks": found})

    @app.task(name=REAP, shared=False)  # type: ignore[untyped-decorator]
    def reap() -> None:
        """Settle the jobs that nobody waits for, and put back the tasks that lost workers had taken."""
        for step in (put_back_lost, dispatch.reap):
            try:
                step()
            except FederationError as exc:
                _log.warning("what is overdue could not be ended", extra={"why": exc.message})
            except Exception:
                _log.exception("what is overdue could not be ended")

"""Ending a job: combine the parts that are there, store the result once.

Rule: only the plan from the job's record and the parts under the plan's own clusters' keys are believed. A part that
cannot be read, or says it is someone else's, is that cluster's failure and nobody else's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import replace

from federation_core import federate
from federation_core.connectors.stores.jobs import Jobs, JobState
from federation_core.connectors.stores.jobs_keys import CLAIM_MS
from federation_core.connectors.stores.sealed import MAX_BYTES, seal, unseal
from federation_core.errors import (
    BrokerUnavailable,
    ClusterError,
    FederationError,
    InternalError,
    Malformed,
    QueryCanceled,
    QueryExpired,
    QueryTimeout,
    QueryTooLarge,
    TooLarge,
)
from federation_core.outcome import Coverage, Partial, Result
from federation_core.plan import Plan
from federation_core.signals import SignalKind, kind_named
from federation_core.wire import decode_partial, decode_result, encode_result

Served = Callable[[], Collection[str]]
_log = logging.getLogger(__name__)


def settle(
    jobs: Jobs,
    tenant_id: str,
    query_id: str,
    served: Served,
    clock: Callable[[], int],
    max_bytes: int = MAX_BYTES,
) -> Result:
    """End a job with what is there and return the result that is stored, whoever stored it.

    While another one is settling, wait for its result, but only as long as its claim holds. Parts that are there when
    the job has ended came late: they are counted and removed. A result above `max_bytes` becomes one that says so.

    Raises QueryNotFound, QueryExpired, StoreUnavailable.
    """
    ours, plan, stored = jobs.claim(tenant_id, query_id)
    if plan is None:
        plan = jobs.job(tenant_id, query_id).plan
        jobs.parts.drop_late(tenant_id, query_id, [shard.cluster_name for shard in plan.shards])
        return _stored(jobs, tenant_id, query_id, stored)
    if not ours and jobs.wait(tenant_id, query_id, CLAIM_MS / 1000):
        return _stored(jobs, tenant_id, query_id, jobs.result(tenant_id, query_id))
    result = _combine(jobs, plan, served, clock)
    kind = kind_named(plan.query.signal)
    try:
        data = seal(encode_result(result, kind.encode), max_bytes)
    except TooLarge as exc:
        result = _too_large(result, exc)
        data = seal(encode_result(result, kind.encode))
    except Exception as exc:
        _log.exception("the result cannot be encoded")
        result = _failed(plan, result.coverage, exc)
        data = seal(encode_result(result, kind.encode))
    if jobs.put_result(tenant_id, query_id, data, JobState(result.status), result.coverage.clusters):
        return result
    return _stored(jobs, tenant_id, query_id, jobs.result(tenant_id, query_id))


def cancel(jobs: Jobs, plan: Plan) -> bool:
    """End a job as cancelled; return whether it was, False where it had ended otherwise.

    The ledger keeps what the clusters had contributed by then.

    Raises QueryNotFound, StoreUnavailable.
    """
    error = QueryCanceled("the query was cancelled", query_id=plan.query_id)
    return _end_without_merging(jobs, plan, error, JobState.CANCELLED)


def give_up(jobs: Jobs, plan: Plan) -> bool:
    """End a job whose merging was begun and lost too often, without trying again; return whether this ended it.

    Raises QueryNotFound, StoreUnavailable.
    """
    error = InternalError("its merge worker was lost twice while combining the parts", error_id=plan.query_id)
    return _end_without_merging(jobs, plan, error, JobState.FAILED)


def end_unsent(jobs: Jobs, plan: Plan) -> bool:
    """End a job whose tasks could not be sent, so that nobody waits for it; return whether this ended it.

    Raises QueryNotFound, StoreUnavailable.
    """
    error = BrokerUnavailable("the task queue did not take the query's tasks")
    return _end_without_merging(jobs, plan, error, JobState.FAILED)


def _end_without_merging(jobs: Jobs, plan: Plan, error: FederationError, state: JobState) -> bool:
    tenant_id, query_id = plan.query.tenant_id, plan.query_id
    kind = kind_named(plan.query.signal)
    parts = jobs.parts.read(tenant_id, query_id, [shard.cluster_name for shard in plan.shards])
    partials = {name: _open(plan, kind, name, data) for name, data in parts.items()}
    for shard in plan.shards:
        unheard = Partial(query_id, shard.cluster_name, error=error)
        partials.setdefault(shard.cluster_name, unheard)
    coverage = federate.coverage_of(plan, partials, ())
    result = Result(query_id, "failed", coverage, error=error, warnings=coverage.warnings())
    data = seal(encode_result(result, kind.encode))
    return jobs.put_result(tenant_id, query_id, data, state, coverage.clusters)


def read_result(plan: Plan, stored: bytes) -> Result:
    """Return a stored result.

    Raises WireVersionMismatch: another release wrote it. Malformed: it is damaged.
    """
    return decode_result(unseal(stored), kind_named(plan.query.signal).decode)


def _stored(jobs: Jobs, tenant_id: str, query_id: str, stored: bytes | None) -> Result:
    plan = jobs.job(tenant_id, query_id).plan
    if stored is None:
        # Job and result live equally long, so the result can be gone first only by the width of this gap.
        raise QueryExpired("the result of this query is no longer kept", query_id=query_id)
    return read_result(plan, stored)


def _combine(jobs: Jobs, plan: Plan, served: Served, clock: Callable[[], int]) -> Result:
    started_ms = clock()

    def in_time() -> None:
        if clock() - started_ms > CLAIM_MS:
            # From now on another one may settle, and would take as long.
            raise QueryTimeout(f"putting the clusters' answers together took more than {CLAIM_MS / 1000:g} s")

    kind = kind_named(plan.query.signal)
    names = [shard.cluster_name for shard in plan.shards]
    parts = jobs.parts.read(plan.query.tenant_id, plan.query_id, names)
    partials = {name: _open(plan, kind, name, data) for name, data in parts.items()}
    # Only a silent cluster needs to be told apart: slow, or without a worker.
    living: Collection[str] = served() if len(partials) < len(names) else names
    try:
        result = federate.combine(plan, partials, living, in_time)
    except Exception as exc:
        # A bug in merging must end the job too: a job without a result would be waited for and settled again.
        _log.exception("combining failed")
        result = _failed(plan, federate.coverage_of(plan, partials, living), exc)
    return replace(result, merge_ms=clock() - started_ms)


def _too_large(result: Result, exc: TooLarge) -> Result:
    error = QueryTooLarge(
        f"the answer has {exc.asked} bytes, above {exc.allowed}: ask for a shorter time, a wider step, fewer series or"
        " a smaller limit",
        limit="result bytes",
        asked=exc.asked,
        allowed=exc.allowed,
    )
    return Result(result.query_id, "failed", result.coverage, error=error, warnings=result.coverage.warnings())


def _failed(plan: Plan, coverage: Coverage, exc: Exception) -> Result:
    error = InternalError(f"{type(exc).__name__} while combining", error_id=plan.query_id)
    return Result(plan.query_id, "failed", coverage, error=error, warnings=coverage.warnings())


def _open(plan: Plan, kind: SignalKind, cluster: str, data: bytes) -> Partial:
    """Read one cluster's part; its size in the ledger is the one we see, not the one it states."""
    try:
        partial = decode_partial(unseal(data), kind.decode)
        if (partial.query_id, partial.cluster_id) != (plan.query_id, cluster):
            raise Malformed("the part belongs to another query or cluster", cluster=cluster)
        return replace(partial, stats=replace(partial.stats, bytes=len(data)))
    except FederationError as exc:
        error = exc if isinstance(exc, ClusterError) else Malformed(exc.message, cluster=cluster)
    except Exception as exc:
        _log.warning("a part cannot be read", extra={"cluster": cluster, "error": repr(exc)})
        error = Malformed("its worker wrote a part that cannot be read", cluster=cluster)
    return Partial(plan.query_id, cluster, error=error)

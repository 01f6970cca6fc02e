"""Results, jobs and clusters as the JSON of the native API, each built in this one place.

Rule: names are lowerCamelCase with the unit in the name. An answer always has its coverage, with a row for every
cluster of the tenant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from federation_core.config import Cluster
from federation_core.health import BackendHealth
from federation_core.outcome import NOT_ASKED, ClusterVerdict, Coverage, Result, Verdict
from federation_core.plan import Plan
from federation_core.signals import kind_named
from federation_core.times import format_time
from webapp.schemas.health import errors_of, status_of, worker_json

if TYPE_CHECKING:
    from federation_core.connectors.stores.jobs import Job, Progress, WorkerBeat

#: States of a cluster's progress that are not verdicts yet.
_UNDECIDED = frozenset({"queued", "running"})


def result_json(result: Result, plan: Plan, elapsed_ms: int) -> dict[str, Any]:
    """Return a result that did not fail: the payload's members and ours beside them."""
    return {
        "cursor": None,
        **kind_named(plan.query.signal).to_json(result.payload, plan.query),
        "queryId": result.query_id,
        "signal": plan.query.signal,
        "query": plan.query.text,
        "status": result.status,
        "coverage": coverage_json(result.coverage),
        "warnings": list(result.warnings),
        "elapsedMs": elapsed_ms,
    }


def coverage_json(coverage: Coverage) -> dict[str, Any]:
    """Return the ledger: who was asked, who answered in full, and a row per cluster."""
    return {
        "asked": sorted(coverage.asked),
        "answered": sorted(coverage.answered),
        "complete": coverage.complete,
        "clusters": [_row_json(row) for row in coverage.clusters],
    }


def _row_json(row: ClusterVerdict) -> dict[str, Any]:
    return {
        "cluster": row.cluster,
        "verdict": row.verdict.value,
        "reason": row.reason,
        "elapsedMs": row.elapsed_ms,
        "series": row.stats.series,
        "rows": row.stats.rows,
        "bytes": row.stats.bytes,
        "watermarkMs": row.watermark_ms,
        "error": {"class": type(row.error).__name__, "detail": row.error.message} if row.error else None,
    }


def job_json(job: Job) -> dict[str, Any]:
    """Return a job's state and how far each cluster is."""
    query = job.plan.query
    return {
        "queryId": job.query_id,
        "signal": query.signal,
        "query": query.text,
        "state": job.state.value,
        "require": str(query.requirement),
        "startTime": format_time(query.time_range.first_ms),
        "endTime": format_time(query.time_range.end_ms),
        "stepMs": query.time_range.step_ms,
        "createdMs": job.created_ms,
        "deadlineMs": job.plan.deadline_ms,
        "finishedMs": job.finished_ms,
        "expiresMs": job.expires_ms,
        "follows": job.follows or None,
        "lateParts": job.late_parts,
        "percent": 100 if job.state.final else percent(job.progress),
        "progress": [
            {
                "cluster": row.cluster,
                "state": row.state,
                "elapsedMs": row.elapsed_ms,
                "series": row.series,
                "rows": row.rows,
                "bytes": row.bytes,
                "reason": row.reason,
            }
            for row in job.progress
        ],
        "links": {
            "self": f"/api/v1/queries/{job.query_id}",
            "result": f"/api/v1/queries/{job.query_id}/result",
            "events": f"/api/v1/queries/{job.query_id}/events",
            "explain": f"/api/v1/queries/{job.query_id}/explain",
        },
    }


def percent(progress: Iterable[Progress]) -> int:
    """Return the share of asked clusters that have ended; 99 is the most before there is a result."""
    asked = [row for row in progress if row.state not in NOT_ASKED]
    ended = sum(row.state not in _UNDECIDED for row in asked)
    return min(99, 100 * ended // len(asked)) if asked else 99


def progress_coverage(progress: Iterable[Progress]) -> Coverage:
    """Return the ledger as far as it goes: a cluster that has not ended counts as not answered in full."""
    return Coverage.of(
        tuple(
            ClusterVerdict(row.cluster, Verdict.PARTIAL if row.state in _UNDECIDED else Verdict(row.state))
            for row in progress
        )
    )


def cluster_json(
    cluster: Cluster, beat: WorkerBeat | None, healths: Mapping[str, BackendHealth], now_ms: int
) -> dict[str, Any]:
    """Return one member: what it has, whether a worker serves it, and how it is. Addresses stay inside."""
    return {
        "name": cluster.name,
        "environment": cluster.environment,
        "region": cluster.region,
        "weight": cluster.weight,
        "retentionMs": cluster.retention_ms,
        "backends": {backend.signal: backend.kind for backend in cluster.backends},
        "worker": worker_json(beat),
        "status": status_of(cluster, beat, healths, now_ms),
        "errors": errors_of(cluster, beat, healths, now_ms),
    }

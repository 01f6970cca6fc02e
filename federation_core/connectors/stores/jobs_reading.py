"""Reading jobs from Redis: records, and the small fields of the parts of those that still run.

Rule: two round trips for any number of jobs, a third where some of them follow others. What a job that follows shows
is what the one it follows is doing; only its id, its age and whether its owner has cancelled it are its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.jobs_records import (
    Job,
    JobState,
    Progress,
    live_progress,
    live_state,
    unpack_plan,
    unpack_rows,
)
from federation_core.plan import Plan

_Record = Mapping[bytes, bytes]


def read_jobs(redis: Any, tenant_id: str, ids: Sequence[str], now_ms: int) -> tuple[Job, ...]:
    """Return those of a tenant's jobs that are still there, in the order asked for; `redis` is a client."""
    records = _records(redis, tenant_id, ids)
    followed = {record[b"follows"].decode() for record in records.values() if b"follows" in record}
    executed = {**records, **_records(redis, tenant_id, sorted(followed - records.keys()))}
    jobs = {job.query_id: job for job in _executed(redis, tenant_id, executed, now_ms)}
    return tuple(job for query_id, record in records.items() if (job := _own(query_id, record, jobs)) is not None)


def _records(redis: Any, tenant_id: str, ids: Sequence[str]) -> dict[str, _Record]:
    if not ids:
        return {}
    with redis.pipeline(transaction=False) as pipe:
        for query_id in ids:
            pipe.hgetall(keys.job(tenant_id, query_id))
        found = pipe.execute()
    return {query_id: record for query_id, record in zip(ids, found, strict=True) if b"plan" in record}


def _own(query_id: str, record: _Record, jobs: Mapping[str, Job]) -> Job | None:
    """Return the job that an owner sees, None where the one it follows is no longer there."""
    follows = record.get(b"follows", b"").decode()
    job = jobs.get(follows or query_id)
    if job is None:
        return None
    if follows:
        job = replace(job, query_id=query_id, follows=follows, created_ms=int(record[b"created_ms"]))
    withdrawn = record.get(b"withdrawn_ms")
    if withdrawn is not None:
        job = replace(job, state=JobState.CANCELLED, finished_ms=int(withdrawn), withdrawn=True)
    return job


def _executed(redis: Any, tenant_id: str, records: Mapping[str, _Record], now_ms: int) -> Iterator[Job]:
    own = {query_id: record for query_id, record in records.items() if b"follows" not in record}
    plans = {query_id: unpack_plan(record[b"plan"]) for query_id, record in own.items()}
    ended = [query_id for query_id, record in own.items() if b"finished_ms" in record]
    open_ids = [query_id for query_id, record in own.items() if b"finished_ms" not in record]
    with redis.pipeline(transaction=False) as pipe:
        for query_id in open_ids:
            pipe.exists(keys.claim(tenant_id, query_id))
            for shard in plans[query_id].shards:
                pipe.hmget(keys.part(shard.cluster_name, tenant_id, query_id), "started_ms", "head")
        for query_id in ended:
            for shard in plans[query_id].shards:
                pipe.hexists(keys.part(shard.cluster_name, tenant_id, query_id), "data")
        answers = iter(pipe.execute())
    live = {query_id: _live(plans[query_id], answers, now_ms) for query_id in open_ids}
    # Counted in the record are those that were removed since; the others rest where they were written.
    late = {query_id: sum(next(answers) for _ in plans[query_id].shards) for query_id in ended}
    return (
        _job(tenant_id, query_id, plans[query_id], record, live.get(query_id), late.get(query_id, 0))
        for query_id, record in own.items()
    )


def _live(plan: Plan, answers: Iterator[Any], now_ms: int) -> tuple[JobState, tuple[Progress, ...]]:
    settling = bool(next(answers))
    rows = [Progress.of(row) for row in plan.left_out]
    rows += [live_progress(shard.cluster_name, next(answers), now_ms) for shard in plan.shards]
    progress = tuple(sorted(rows, key=lambda row: row.cluster))
    return live_state(progress, settling), progress


def _job(
    tenant_id: str,
    query_id: str,
    plan: Plan,
    record: _Record,
    live: tuple[JobState, tuple[Progress, ...]] | None,
    late_parts: int,
) -> Job:
    state, progress = live or (JobState(record[b"state"].decode()), unpack_rows(record[b"rows"]))
    finished, expires = record.get(b"finished_ms"), record.get(b"expires_ms")
    return Job(
        query_id,
        tenant_id,
        state,
        plan,
        plan.created_ms,
        int(finished) if finished else None,
        progress,
        expires_ms=int(expires) if expires else None,
        late_parts=late_parts + int(record.get(b"late_parts", 0)),
    )

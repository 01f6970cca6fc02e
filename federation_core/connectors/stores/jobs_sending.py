"""Writing a job and sending its tasks, as commands of one transaction.

Rule: of a job's messages all are sent or none, and the record that joins its parts is there before any of them. What a
message says is not known here; it is written as the broker's own transport would write it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.jobs_records import pack_plan
from federation_core.plan import Plan

#: A queue, and the message as it rests there.
Message = tuple[str, str]


def write_job(pipe: Any, plan: Plan, ttl_ms: int) -> None:
    """Write a new job for a plan, due at the plan's deadline; its record outlives that by `ttl_ms`."""
    tenant_id, query_id = plan.query.tenant_id, plan.query_id
    record, listed = keys.job(tenant_id, query_id), keys.jobs_of(tenant_id)
    pipe.hset(record, mapping={"plan": pack_plan(plan), "created_ms": plan.created_ms})
    pipe.pexpire(record, plan.query.timeout_ms + ttl_ms)
    pipe.zadd(listed, {query_id: plan.created_ms})
    pipe.zremrangebyscore(listed, 0, plan.created_ms - keys.REMEMBER_MS)
    pipe.zremrangebyrank(listed, 0, -keys.REMEMBER_JOBS - 1)
    pipe.pexpire(listed, keys.REMEMBER_MS)
    pipe.zadd(keys.DEADLINES, {keys.member(tenant_id, query_id): plan.deadline_ms})
    pipe.pexpire(keys.DEADLINES, keys.REMEMBER_MS)


def write_tasks(pipe: Any, plan: Plan, messages: Iterable[Message], callback: Message) -> None:
    """Send a message per shard, and keep the callback for whoever writes the last part."""
    chord = keys.chord(plan.query.tenant_id, plan.query_id)
    queue, message = callback
    awaited: dict[str, str] = {f"part:{shard.cluster_name}": "" for shard in plan.shards}
    pipe.hset(chord, mapping={**awaited, "queue": queue, "message": message})
    pipe.pexpire(chord, plan.query.timeout_ms + keys.JOIN_LATE_MS)
    for queue, message in messages:
        pipe.lpush(queue, message)
        pipe.pexpire(queue, keys.QUEUE_TTL_MS)

"""What the script that writes a job and sends its tasks is told (`jobs_scripts.SUBMIT`).

Rule: of a job's messages all are sent or none, and the record that joins its parts is there before any of them. What a
message says is not known here; it is written as the broker's own transport would write it.
"""

from __future__ import annotations

from collections.abc import Sequence

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.plan import Plan

#: A queue, and the message as it rests there.
Message = tuple[str, str]
#: What is kept for after the last part of a job that has no tasks.
NO_MESSAGE: Message = ("", "")


def submission(
    plan: Plan, packed: bytes, keep_ms: int, messages: Sequence[Message], callback: Message
) -> tuple[list[str], list[bytes | str | int]]:
    """Return the script's keys and arguments.

    `packed` is the plan as its job's record holds it, empty where the job is there; it rests `keep_ms` longer than it
    runs. `messages` are one for every shard of the plan in its order, or none.
    """
    tenant_id, query_id = plan.query.tenant_id, plan.query_id
    args: list[bytes | str | int] = [
        packed,
        plan.created_ms,
        plan.deadline_ms,
        plan.query.timeout_ms,
        keep_ms,
        query_id,
        keys.member(tenant_id, query_id),
        *callback,
    ]
    if messages:
        for shard, (_, message) in zip(plan.shards, messages, strict=True):
            args += (keys.awaited(shard.cluster_name), message)
    names = [
        keys.job(tenant_id, query_id),
        keys.jobs_of(tenant_id),
        keys.DEADLINES,
        keys.chord(tenant_id, query_id),
        *(queue for queue, _ in messages),
    ]
    return names, args

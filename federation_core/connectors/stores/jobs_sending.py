"""Writing a job and sending its tasks, in one step of Redis.

Rule: of a job's messages all are sent or none, and the record that joins its parts is there before any of them. What a
message says is not known here; it is written as the broker's own transport would write it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.jobs_records import pack_plan
from federation_core.connectors.stores.jobs_scripts import SUBMIT
from federation_core.connectors.stores.redis import answering
from federation_core.plan import Plan

#: A queue, and the message as it rests there.
Message = tuple[str, str]
_NO_MESSAGE = ("", "")


class JobSending:
    """New jobs of all tenants, on the client of the class it is part of."""

    _redis: Any
    _ttl_ms: int

    @cached_property
    def _submit(self) -> Any:
        return self._redis.register_script(SUBMIT)

    def create(self, plan: Plan) -> None:
        """Write a new job for a plan, due at the plan's deadline."""
        self._write(plan, pack_plan(plan), (), _NO_MESSAGE)

    def send(self, plan: Plan, messages: Sequence[Message], callback: Message) -> None:
        """Send the tasks of a job, one for every shard in its order, and keep the callback for after the last part.

        All of it is done or nothing. Sent again, no task is run twice unless the job has ended by then.
        """
        self._write(plan, b"", messages, callback)

    def submit(self, plan: Plan, messages: Sequence[Message], callback: Message) -> None:
        """Write a new job as `create` does and send its tasks as `send` does, in one round trip."""
        self._write(plan, pack_plan(plan), messages, callback)

    def _write(self, plan: Plan, packed: bytes, messages: Sequence[Message], callback: Message) -> None:
        tenant_id, query_id = plan.query.tenant_id, plan.query_id
        args = [
            packed,
            plan.created_ms,
            plan.deadline_ms,
            plan.query.timeout_ms,
            self._ttl_ms,
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
        with answering():
            self._submit(keys=names, args=args)

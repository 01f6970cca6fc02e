"""Jobs as values: what a job is, and how far each cluster is.

Rule: these are read from Redis and shown; nothing here decides. A cluster's row is written by that cluster's worker,
so it is read with suspicion: what cannot be understood is shown as failed, never raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgpack

from federation_core.outcome import ClusterVerdict, Verdict
from federation_core.plan import Plan

QUEUED, RUNNING = "queued", "running"


class JobState(StrEnum):
    """Where a job is. The last five are final."""

    QUEUED = "queued"
    RUNNING = "running"
    MERGING = "merging"
    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether the job has ended."""
        return self not in (JobState.QUEUED, JobState.RUNNING, JobState.MERGING)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one cluster is: `state` is `queued`, `running` or the value of its verdict; `bytes` as stored."""

    cluster: str
    state: str
    elapsed_ms: int | None = None
    series: int = 0
    rows: int = 0
    bytes: int = 0
    reason: str = ""

    @classmethod
    def of(cls, row: ClusterVerdict) -> Progress:
        """Return a verdict as the end of a cluster's progress."""
        stats = row.stats
        return cls(row.cluster, row.verdict.value, row.elapsed_ms, stats.series, stats.rows, stats.bytes, row.reason)


@dataclass(frozen=True, slots=True)
class Job:
    """One query on its way, or ended. `progress` has a row for every cluster of the plan, left-out ones included.

    `plan` is the one that is executed: that of the job it `follows`, if it has joined another's execution. `withdrawn`
    says that its owner has cancelled it, `expires_ms` until when its result is kept, once it has one, `late_parts`
    how many parts of clusters came after that and were not used.
    """

    query_id: str
    tenant_id: str
    state: JobState
    plan: Plan
    created_ms: int
    finished_ms: int | None
    progress: tuple[Progress, ...]
    follows: str = ""
    withdrawn: bool = False
    expires_ms: int | None = None
    late_parts: int = 0


def pack_plan(plan: Plan) -> bytes:
    """Write a plan for its job's record."""
    packed: bytes = msgpack.packb(plan.to_wire())
    return packed


def unpack_plan(data: bytes) -> Plan:
    """Read what `pack_plan` wrote.

    Raises WireVersionMismatch: another release wrote it.
    """
    return Plan.from_wire(msgpack.unpackb(data))


def pack_rows(rows: tuple[ClusterVerdict, ...]) -> bytes:
    """Write the ledger of an ended job."""
    packed: bytes = msgpack.packb([row.to_wire() for row in rows])
    return packed


def unpack_rows(data: bytes) -> tuple[Progress, ...]:
    """Read what `pack_rows` wrote, as the progress it ended in."""
    return tuple(Progress.of(ClusterVerdict.from_wire(row)) for row in msgpack.unpackb(data))


def pack_head(row: ClusterVerdict) -> bytes:
    """Write what is shown of a part, to stand beside its data, so that progress can be read without the data."""
    shown = Progress.of(row)
    packed: bytes = msgpack.packb((shown.state, shown.elapsed_ms, shown.series, shown.rows, shown.bytes, shown.reason))
    return packed


def live_progress(cluster: str, fields: Sequence[bytes | None], now_ms: int) -> Progress:
    """Say how far a cluster is from the two small fields of its part: when it started, and its verdict."""
    started_ms, head = fields
    if head is not None:
        try:
            return _ended(cluster, *msgpack.unpackb(head))
        except (ValueError, TypeError):
            return Progress(cluster, Verdict.FAILED.value, reason="its worker wrote a verdict that cannot be read")
    if started_ms is None:
        return Progress(cluster, QUEUED)
    try:
        elapsed_ms = max(0, now_ms - int(started_ms))
    except ValueError:
        elapsed_ms = 0
    return Progress(cluster, RUNNING, elapsed_ms)


def _ended(
    cluster: str, state: str, elapsed_ms: object, series: object, rows: object, size: object, reason: object
) -> Progress:
    """Return what `pack_head` wrote, if it is that.

    Raises ValueError, TypeError.
    """
    elapsed = None if elapsed_ms is None else _whole(elapsed_ms)
    if not isinstance(reason, str):
        raise TypeError("a reason is text")
    return Progress(cluster, Verdict(state).value, elapsed, _whole(series), _whole(rows), _whole(size), reason)


def _whole(found: object) -> int:
    if not isinstance(found, int):
        raise TypeError("a count is a whole number")
    return found


def live_state(progress: tuple[Progress, ...], settling: bool) -> JobState:
    """Return the state of a job without a result."""
    if settling:
        return JobState.MERGING
    left_out = {Verdict.PRUNED, Verdict.DENIED, Verdict.NO_WORKER}
    begun = any(row.state != QUEUED and row.state not in left_out for row in progress)
    return JobState.RUNNING if begun else JobState.QUEUED

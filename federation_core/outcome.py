"""What came back: one cluster's partial, the ledger of all clusters, and the result that rests on them.

Rule: a partial holds payloads or an error, never both and never neither, so that silence and failure cannot be
mistaken for an empty answer. The ledger has one verdict for every cluster the tenant may see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from federation_core.errors import (
    BreakerOpen,
    ClusterError,
    FederationError,
    InternalError,
    Rejected,
    TimedOut,
    Unserved,
    WireVersionMismatch,
    from_wire,
)
from federation_core.fields import fields_of


class Verdict(StrEnum):
    """What one cluster contributed."""

    OK = "ok"
    PARTIAL = "partial"
    TIMED_OUT = "timed_out"
    FAILED = "failed"
    THROTTLED = "throttled"
    BREAKER_OPEN = "breaker_open"
    NO_WORKER = "no_worker"
    DENIED = "denied"
    PRUNED = "pruned"
    CACHED = "cached"


#: Verdicts of clusters that are not missing from an answer: they answered in full.
ANSWERED = frozenset({Verdict.OK, Verdict.CACHED})
#: Verdicts of clusters that were never part of the question.
NOT_ASKED = frozenset({Verdict.PRUNED, Verdict.DENIED})


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of what a cluster sent: series (or streams, traces), rows (samples, entries, spans), encoded bytes."""

    series: int = 0
    rows: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class ClusterVerdict:
    """One row of the ledger. `watermark_ms` is the newest data the cluster's store held; None where unknown."""

    cluster: str
    verdict: Verdict
    reason: str = ""
    error: FederationError | None = None
    elapsed_ms: int | None = None
    stats: Stats = field(default_factory=Stats)
    watermark_ms: int | None = None

    def to_wire(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return {
            "cluster": self.cluster,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "error": self.error.to_wire() if self.error else None,
            "elapsed_ms": self.elapsed_ms,
            "stats": fields_of(self.stats),
            "watermark_ms": self.watermark_ms,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> ClusterVerdict:
        """Rebuild the row that `to_wire` described."""
        return cls(
            cluster=wire["cluster"],
            verdict=Verdict(wire["verdict"]),
            reason=wire["reason"],
            error=from_wire(wire["error"]) if wire["error"] else None,
            elapsed_ms=wire["elapsed_ms"],
            stats=Stats(**wire["stats"]),
            watermark_ms=wire["watermark_ms"],
        )


@dataclass(frozen=True, slots=True)
class Coverage:
    """The ledger: one verdict per cluster, in order of name."""

    clusters: tuple[ClusterVerdict, ...] = ()

    @classmethod
    def of(cls, verdicts: Mapping[str, ClusterVerdict] | tuple[ClusterVerdict, ...]) -> Coverage:
        """Build the ledger in its stable order."""
        rows = verdicts.values() if isinstance(verdicts, Mapping) else verdicts
        return cls(tuple(sorted(rows, key=lambda row: row.cluster)))

    @property
    def asked(self) -> frozenset[str]:
        """Clusters the question was for."""
        return frozenset(row.cluster for row in self.clusters if row.verdict not in NOT_ASKED)

    @property
    def answered(self) -> frozenset[str]:
        """Clusters that answered in full."""
        return frozenset(row.cluster for row in self.clusters if row.verdict in ANSWERED)

    @property
    def missing(self) -> tuple[ClusterVerdict, ...]:
        """Rows of the clusters that were asked and did not answer in full."""
        silent = self.asked - self.answered
        return tuple(row for row in self.clusters if row.cluster in silent)

    @property
    def complete(self) -> bool:
        """Whether every cluster asked answered in full."""
        return not self.missing

    def header(self) -> str:
        """Return the value of `X-Federation-Coverage`, for example `5/6;missing=stage`."""
        counts = f"{len(self.answered)}/{len(self.asked)}"
        names = ",".join(row.cluster for row in self.missing)
        return f"{counts};missing={names}" if names else counts

    def warnings(self) -> tuple[str, ...]:
        """Say in a sentence per missing cluster what is missing and why."""
        return tuple(
            f"cluster {row.cluster} is {'incomplete' if row.verdict is Verdict.PARTIAL else 'missing'}"
            f" ({row.verdict.value}): {row.reason or (row.error.message if row.error else 'no reason given')}"
            for row in self.missing
        )


@dataclass(frozen=True, slots=True)
class Partial:
    """One cluster's outcome: payloads by leaf id, xor an error.

    `truncated` says in words which limit cut the payloads short; empty when they are whole. `hidden` counts the rows
    that the payloads lack because the scope does not show them.
    """

    query_id: str
    cluster_id: str
    payloads: Mapping[str, Any] | None = None
    error: FederationError | None = None
    warnings: tuple[str, ...] = ()
    truncated: str = ""
    hidden: int = 0
    stats: Stats = field(default_factory=Stats)
    elapsed_ms: int = 0
    watermark_ms: int | None = None

    def __post_init__(self) -> None:
        if (self.payloads is None) == (self.error is None):
            raise ValueError("a partial holds payloads or an error, exactly one of them")

    def verdict(self) -> ClusterVerdict:
        """Return this partial's row of the ledger."""
        verdict, reason = Verdict.OK, ""
        if self.error is not None:
            verdict, reason = verdict_of(self.error), self.error.message
        elif self.truncated:
            verdict, reason = Verdict.PARTIAL, self.truncated
        return ClusterVerdict(
            self.cluster_id, verdict, reason, self.error, self.elapsed_ms, self.stats, self.watermark_ms
        )


def verdict_of(error: FederationError) -> Verdict:
    """Return the verdict that an error inside a partial stands for."""
    match error:
        case TimedOut():
            return Verdict.TIMED_OUT
        case Unserved():
            return Verdict.NO_WORKER
        case BreakerOpen():
            return Verdict.BREAKER_OPEN
        case Rejected(retry_after_s=seconds) if seconds is not None:
            return Verdict.THROTTLED
        case _:
            return Verdict.FAILED


def fails_query(error: FederationError) -> bool:
    """Tell whether an error of one cluster is the whole query's, as an engine's refusal to evaluate is.

    A fault of the cluster, a bug in its worker and a worker of another release cost that cluster's share only.
    """
    return not isinstance(error, ClusterError | InternalError | WireVersionMismatch)


ResultStatus = Literal["complete", "partial", "failed"]


@dataclass(frozen=True, slots=True)
class Result:
    """The merged outcome. A failed result has an error and no payload; any other has a payload and no error."""

    query_id: str
    status: ResultStatus
    coverage: Coverage
    payload: Any = None
    error: FederationError | None = None
    warnings: tuple[str, ...] = ()
    merge_ms: int = 0

    def __post_init__(self) -> None:
        if (self.status == "failed") != (self.error is not None):
            raise ValueError("a result has an error exactly when it failed")

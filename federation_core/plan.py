"""How a query will be answered: one shard per cluster, and a root that puts the pieces together.

Rule: a plan is complete and printable before anything is sent. Every cluster of the tenant is either in a shard
or in `left_out` with a reason, so nothing can be missing without a word.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from federation_core.fields import fields_of
from federation_core.outcome import ClusterVerdict
from federation_core.query import Direction, Query, TimeRange
from federation_core.tenancy import Scope
from federation_core.wire import WIRE_VERSION, require_version


@dataclass(frozen=True, slots=True)
class Leaf:
    """One expression that a cluster answers by itself.

    `time_range` is the leaf's own: it may be wider than the query's. `limit` and `direction` cap entries of
    logs and traces; 0 means no cap.
    """

    id: str
    text: str
    time_range: TimeRange
    limit: int = 0
    direction: Direction = "backward"


@dataclass(frozen=True, slots=True)
class Cut:
    """That a cluster is asked less than the query, because it has nothing so old: its part will be partial, and why.

    It takes part in the answer from `from_ms` on; None: not at all.
    """

    reason: str
    from_ms: int | None


@dataclass(frozen=True, slots=True)
class Shard:
    """One cluster's share of a plan, answered by exactly one task."""

    query_id: str
    cluster_name: str
    signal: str
    leaves: tuple[Leaf, ...]
    scope: Scope
    deadline_ms: int

    def to_wire(self) -> dict[str, Any]:
        """Return the shard as JSON values, with the wire version."""
        return {
            "v": WIRE_VERSION,
            "query_id": self.query_id,
            "cluster_name": self.cluster_name,
            "signal": self.signal,
            "leaves": [{**fields_of(leaf), "time_range": fields_of(leaf.time_range)} for leaf in self.leaves],
            "scope": self.scope.to_wire(),
            "deadline_ms": self.deadline_ms,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Shard:
        """Rebuild the shard that `to_wire` described.

        Raises WireVersionMismatch: it was written by another release.
        """
        require_version(wire.get("v"), "shard")
        leaves = (Leaf(**{**leaf, "time_range": TimeRange(**leaf["time_range"])}) for leaf in wire["leaves"])
        return cls(
            query_id=wire["query_id"],
            cluster_name=wire["cluster_name"],
            signal=wire["signal"],
            leaves=tuple(leaves),
            scope=Scope.from_wire(wire["scope"]),
            deadline_ms=wire["deadline_ms"],
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that will happen for one query.

    `root` is the signal's own text for what is left to do over the leaves. `notes` say per step where it runs
    and why. `fingerprint` is equal for equal questions of one scope. `weights` are those of the clusters asked;
    `engines` is what evaluates there, in the signal's word, as far as it was known. `cuts` are those of clusters that
    are asked less; `warnings` will be the answer's, whatever comes back.
    """

    query_id: str
    query: Query
    fingerprint: str
    shards: tuple[Shard, ...]
    root: str
    left_out: tuple[ClusterVerdict, ...]
    notes: tuple[str, ...]
    created_ms: int
    deadline_ms: int
    weights: Mapping[str, float] = field(default_factory=dict)
    engines: Mapping[str, str] = field(default_factory=dict)
    cuts: Mapping[str, Cut] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def shard_for(self, cluster: str) -> Shard:
        """Return the shard of one cluster."""
        return next(shard for shard in self.shards if shard.cluster_name == cluster)

    def explain(self) -> dict[str, Any]:
        """Return the plan as a reader wants it: the root, what each cluster is asked, who is left out and why."""
        return {
            "queryId": self.query_id,
            "signal": self.query.signal,
            "query": self.query.text,
            "fingerprint": self.fingerprint,
            "root": self.root,
            "notes": list(self.notes),
            "shards": [
                {
                    "cluster": shard.cluster_name,
                    "leaves": [
                        {
                            "id": leaf.id,
                            "text": leaf.text,
                            "startMs": leaf.time_range.start_ms,
                            "endMs": leaf.time_range.end_ms,
                            "stepMs": leaf.time_range.step_ms,
                            "limit": leaf.limit,
                        }
                        for leaf in shard.leaves
                    ],
                }
                for shard in self.shards
            ],
            "leftOut": [{"cluster": v.cluster, "verdict": v.verdict.value, "reason": v.reason} for v in self.left_out],
            "require": str(self.query.requirement),
            "timeoutMs": self.query.timeout_ms,
        }

    def to_wire(self) -> dict[str, Any]:
        """Return the plan as JSON values, with the wire version."""
        return {
            "v": WIRE_VERSION,
            "query_id": self.query_id,
            "query": self.query.to_wire(),
            "fingerprint": self.fingerprint,
            "shards": [shard.to_wire() for shard in self.shards],
            "root": self.root,
            "left_out": [verdict.to_wire() for verdict in self.left_out],
            "notes": list(self.notes),
            "created_ms": self.created_ms,
            "deadline_ms": self.deadline_ms,
            "weights": dict(self.weights),
            "engines": dict(self.engines),
            "cuts": {cluster: fields_of(cut) for cluster, cut in self.cuts.items()},
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Plan:
        """Rebuild the plan that `to_wire` described.

        Raises WireVersionMismatch: it was written by another release.
        """
        require_version(wire.get("v"), "plan")
        return cls(
            query_id=wire["query_id"],
            query=Query.from_wire(wire["query"]),
            fingerprint=wire["fingerprint"],
            shards=tuple(Shard.from_wire(shard) for shard in wire["shards"]),
            root=wire["root"],
            left_out=tuple(ClusterVerdict.from_wire(verdict) for verdict in wire["left_out"]),
            notes=tuple(wire["notes"]),
            created_ms=wire["created_ms"],
            deadline_ms=wire["deadline_ms"],
            weights=wire.get("weights") or {},
            engines=wire.get("engines") or {},
            cuts={cluster: Cut(**cut) for cluster, cut in (wire.get("cuts") or {}).items()},
            warnings=tuple(wire.get("warnings") or ()),
        )


def fingerprint(query: Query, canonical: str, scope: Scope) -> str:
    """Digest of everything that decides an answer: equal questions of equal scopes, and only those, are equal."""
    wire = {**query.to_wire(), "text": canonical, "scope": scope.hash}
    return hashlib.sha256(json.dumps(wire, sort_keys=True).encode()).hexdigest()[:32]

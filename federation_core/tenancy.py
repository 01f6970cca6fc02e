"""Who asks and what they may see; the scope is added to every selector before a plan leaves the centre.

Rule: a scope is a set of allowed *pairs*: a cluster, and the conditions that hold there. Empty means nothing,
never everything. The enforced conditions are added beside the user's own, which are kept, so that a conflict
gives the true answer: empty.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from federation_core.errors import ScopeViolation
from federation_core.fields import fields_of
from federation_core.labels import Matcher, MatchOp, Selector

if TYPE_CHECKING:
    from federation_core.signals import SignalKind


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query of a tenant may use, and how many of them may run at once (`max_running_jobs`).

    `max_series` and `max_samples` are read from one cluster; `max_values` are series × steps of all that an evaluation
    holds at once, each of which takes up to 140 bytes while it is computed.
    """

    max_series: int = 200_000
    max_samples: int = 50_000_000
    max_values: int = 10_000_000
    max_entries: int = 5_000
    max_running_jobs: int = 200


@dataclass(frozen=True, slots=True)
class Scope:
    """What a tenant may see: cluster → conditions that every selector must carry there (all of them)."""

    tenant_id: str
    allowed: Mapping[str, tuple[Matcher, ...]]
    subject: str = ""
    roles: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def hash(self) -> str:
        """A short digest that is part of every fingerprint, so tenants never share an answer."""
        wire = self.to_wire()
        text = json.dumps([wire["tenant_id"], wire["allowed"], wire["limits"]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def conditions(self, cluster: str) -> tuple[Matcher, ...]:
        """Return the conditions that hold in `cluster`.

        Raises ScopeViolation: the cluster is not in the scope.
        """
        if cluster not in self.allowed:
            raise ScopeViolation(f"cluster {cluster!r} is outside this token's scope", cluster=cluster)
        return self.allowed[cluster]

    def restricted_to(self, cluster: str) -> Scope:
        """Return the part of the scope that one cluster's worker needs, and no more."""
        return Scope(self.tenant_id, {cluster: self.conditions(cluster)}, self.subject, self.roles, self.limits)

    def to_wire(self) -> dict[str, Any]:
        """Return the scope as JSON values."""
        return {
            "tenant_id": self.tenant_id,
            "allowed": {
                cluster: [[m.label, m.op.value, m.value] for m in matchers]
                for cluster, matchers in sorted(self.allowed.items())
            },
            "subject": self.subject,
            "roles": list(self.roles),
            "limits": fields_of(self.limits),
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Scope:
        """Rebuild the scope that `to_wire` described."""
        return cls(
            tenant_id=wire["tenant_id"],
            allowed={
                cluster: tuple(Matcher(label, MatchOp(op), value) for label, op, value in matchers)
                for cluster, matchers in wire["allowed"].items()
            },
            subject=wire["subject"],
            roles=tuple(wire["roles"]),
            limits=Limits(**wire["limits"]),
        )


def enforce(kind: SignalKind, text: str, scope: Scope, cluster: str) -> str:
    """Add the scope's conditions to every selector of a leaf and print it again.

    A leaf without conditions to add is returned as it is.

    Raises ScopeViolation: the cluster is not in the scope.
    """
    conditions = scope.conditions(cluster)
    if not conditions:
        return text
    return kind.print(kind.map_selectors(kind.parse(text), lambda selector: selector.constrain(conditions)))


def verify(kind: SignalKind, text: str, scope: Scope, cluster: str) -> None:
    """Refuse a leaf in which any selector lacks the scope's conditions: the worker's own check.

    Raises ScopeViolation: a condition is missing, or the cluster is not in the scope.
    """
    conditions = scope.conditions(cluster)
    if conditions:
        kind.map_selectors(kind.parse(text), _checker(conditions, cluster))


def _checker(conditions: tuple[Matcher, ...], cluster: str) -> Callable[[Selector], Selector]:
    def check(selector: Selector) -> Selector:
        if not selector.carries(conditions):
            raise ScopeViolation("a leaf reached the worker without its tenant's conditions", cluster=cluster)
        return selector

    return check

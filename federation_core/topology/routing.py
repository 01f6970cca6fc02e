"""Which clusters a query goes to, and for every other one the reason why it does not.

Rule: clusters = asked ∩ allowed ∩ able. A name that is not the tenant's is an error, whether or not there is such a
cluster; an empty intersection is refused, and no cluster of the tenant disappears without a row in the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from federation_core.config import Cluster
from federation_core.errors import BreakerOpen, InvalidRequest, Rejected, ScopeViolation, Unserved
from federation_core.health import BackendBreaker, Breaker
from federation_core.outcome import ClusterVerdict, Verdict
from federation_core.query import Query
from federation_core.tenancy import Scope
from federation_core.times import format_time


@dataclass(frozen=True, slots=True)
class Route:
    """The clusters the question is for, in order of name, and a verdict for each other cluster of the scope."""

    clusters: tuple[Cluster, ...]
    left_out: tuple[ClusterVerdict, ...]


def route(query: Query, scope: Scope, clusters: Sequence[Cluster]) -> Route:
    """Choose the clusters of a query.

    Raises InvalidRequest: a cluster or environment that is unknown or outside the scope is asked for or required by
    name. ScopeViolation: the scope holds no configured cluster.
    """
    if not any(cluster.name in scope.allowed for cluster in clusters):
        raise ScopeViolation("this token's scope holds no configured cluster")
    _require_known(query, scope, clusters)
    chosen: list[Cluster] = []
    left_out: list[ClusterVerdict] = []
    for cluster in sorted(clusters, key=lambda c: c.name):
        if cluster.name not in scope.allowed:
            continue
        reason = _why_pruned(query, cluster)
        if reason:
            left_out.append(ClusterVerdict(cluster.name, Verdict.PRUNED, reason))
        else:
            chosen.append(cluster)
    _require_some(query, chosen, left_out)
    return Route(tuple(chosen), tuple(left_out))


def without_worker(cluster: Cluster, why: str = "") -> ClusterVerdict:
    """Return the verdict of a cluster that should be asked and whose queue no living worker consumes.

    `why` says since when and how it lost its last one, where that is known.
    """
    reason = f"no worker serves the queue {cluster.queue}" + (f": {why}" if why else "")
    return ClusterVerdict(cluster.name, Verdict.NO_WORKER, reason, Unserved(reason, cluster=cluster.name))


def throttled(cluster: str, reason: str, retry_after_s: int) -> ClusterVerdict:
    """Return the verdict of a cluster that has no place for a shard now."""
    error = Rejected(reason, cluster=cluster, retry_after_s=retry_after_s)
    return ClusterVerdict(cluster, Verdict.THROTTLED, reason, error)


def breaker_open(cluster: str, entry: str, breaker: BackendBreaker, now_ms: int) -> ClusterVerdict:
    """Return the verdict of a cluster whose backend is not asked, as it has failed again and again.

    `entry` is the backend's in the configuration; the breaker's times are by the clock of `now_ms`.
    """
    trying = breaker.state is Breaker.HALF_OPEN
    again = "it is being tried" if trying else f"it is tried again at {format_time(breaker.retry_ms)}"
    reason = (
        f"its {entry} backend is not asked since {format_time(breaker.since_ms)}, as it fails again and again:"
        f" {breaker.words}; {again}"
    )
    retry_after_s = max(1, math.ceil((breaker.retry_ms - now_ms) / 1000))
    error = BreakerOpen(reason, cluster=cluster, retry_after_s=retry_after_s)
    return ClusterVerdict(cluster, Verdict.BREAKER_OPEN, reason, error)


def _require_known(query: Query, scope: Scope, clusters: Sequence[Cluster]) -> None:
    """Whether another name is a typing error or another tenant's is not the caller's to know: both are told alike."""
    names = {c.name for c in clusters if c.name in scope.allowed}
    environments = {c.environment for c in clusters if c.name in scope.allowed}
    for field, kind, asked, known in (
        ("clusters", "cluster", query.clusters, names),
        ("environments", "environment", query.environments, environments),
        ("require", "cluster", query.requirement.critical, names),
    ):
        for name in asked:
            if name not in known:
                raise InvalidRequest(
                    f"{field}: there is no {kind} {name!r} in your scope",
                    field=field,
                    got=name,
                    expected=f"one of {', '.join(sorted(known))}",
                )


def _require_some(query: Query, chosen: Sequence[Cluster], left_out: Sequence[ClusterVerdict]) -> None:
    """`clusters=dev&environments=prod` names things that exist and select nothing: say so."""
    narrowed = bool(query.clusters or query.environments)
    if narrowed and not chosen and all(row.reason == _NARROWED for row in left_out):
        raise InvalidRequest(
            "clusters and environments together select no cluster of this token's scope",
            field="environments",
            got=",".join(query.environments),
            expected="environments of the clusters asked for",
        )


_NARROWED = "not asked for"


def _why_pruned(query: Query, cluster: Cluster) -> str:
    """Return the proof that a cluster has nothing to say. That it no longer keeps it is none: see `retention`."""
    if query.clusters and cluster.name not in query.clusters:
        return _NARROWED
    if query.environments and cluster.environment not in query.environments:
        return _NARROWED
    if cluster.backend_for(query.signal) is None:
        return f"has no backend for {query.signal}"
    return ""

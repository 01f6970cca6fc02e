"""The three verbs: plan a query, run one shard of it, combine the partials. Composition only.

Rule: these functions decide nothing about a signal's semantics (that is the signal's own), nothing about where a
task runs (workers) and nothing about HTTP (webapp). They read no clock: `now_ms` arrives as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial as partial_of
from typing import Any

from federation_core import tenancy
from federation_core.cancellation import Cancellation
from federation_core.config import SERVED_BY, Cluster
from federation_core.connectors import Connector
from federation_core.errors import (
    ClusterError,
    FederationError,
    InternalError,
    Malformed,
    TimedOut,
)
from federation_core.outcome import ClusterVerdict, Coverage, Partial, Result, Stats, Verdict, fails_query
from federation_core.plan import Leaf, Plan, Shard, fingerprint
from federation_core.query import Deadline, Query, cluster_deadline_ms
from federation_core.required import require_coverage
from federation_core.signals import ROOM, Room, SignalKind, Silence, Silent, kind_named, never_suffices
from federation_core.tenancy import Scope
from federation_core.topology.presence import engines_of, shut, why_absent
from federation_core.topology.retention import cut_notes, cut_to_kept, told_with
from federation_core.topology.routing import breaker_open, route, without_worker

Clock = Callable[[], int]


def plan(
    query: Query,
    scope: Scope,
    clusters: Sequence[Cluster],
    *,
    query_id: str,
    served: Collection[str],
    now_ms: int,
) -> Plan:
    """Decide how a query will be answered: parse, choose clusters, split, enforce the scope on every leaf.

    Raises QuerySyntaxError, UnsupportedQuery, QueryTooLarge, InvalidRequest, ScopeViolation.
    """
    kind = kind_named(query.signal)
    expr = kind.parse(query.text)
    routed = route(query, scope, clusters)
    # Split over every cluster asked, with a worker or not: where a cluster's share folds away (a constant, a
    # selector that rejects it) the cluster is not missing, even if nobody could ask it.
    split = kind.split(expr, query, [cluster.name for cluster in routed.clusters])
    asked = [cluster for cluster in routed.clusters if cluster.name in split.leaves]
    keep = partial_of(kind.keep, split.root, query)
    leaves, cuts = cut_to_kept(split.leaves, asked, query.signal, keep, now_ms)
    intervals = {c.name: ms for c in asked if (ms := c.scraped_every_ms(query.signal)) is not None}
    advice = kind.advise(expr, query, intervals)
    deadline_ms = cluster_deadline_ms(now_ms, query.timeout_ms)
    lost = {name: ClusterVerdict(name, Verdict.PARTIAL, cut.reason) for name, cut in cuts.items() if name not in leaves}
    able = [cluster for cluster in asked if cluster.name not in lost]
    refused = _shut(able, query.signal, served, now_ms)
    shards = tuple(
        Shard(
            query_id=query_id,
            cluster_name=cluster.name,
            signal=query.signal,
            leaves=_enforced(kind, leaves[cluster.name], scope, cluster.name),
            scope=scope.restricted_to(cluster.name),
            deadline_ms=deadline_ms,
        )
        for cluster in able
        if cluster.name in served and cluster.name not in refused
    )
    unserved = tuple(
        without_worker(cluster, why_absent(cluster.name, served)) for cluster in able if cluster.name not in served
    )
    folded = tuple(ClusterVerdict(name, Verdict.PRUNED, reason) for name, reason in split.pruned.items())
    return Plan(
        query_id=query_id,
        query=query,
        fingerprint=fingerprint(query, kind.print(expr), scope),
        shards=shards,
        root=split.root,
        left_out=Coverage.of((*routed.left_out, *lost.values(), *unserved, *refused.values(), *folded)).clusters,
        notes=(*split.notes, *advice.notes, *cut_notes(cuts)),
        created_ms=now_ms,
        deadline_ms=now_ms + query.timeout_ms,
        weights={cluster.name: cluster.weight for cluster in asked},
        engines=engines_of([shard.cluster_name for shard in shards], served),
        cuts=cuts,
        warnings=advice.warnings,
    )


def _shut(asked: Sequence[Cluster], signal: str, served: Collection[str], now_ms: int) -> Mapping[str, ClusterVerdict]:
    """Return cluster → verdict of those whose backend for a signal is not asked, as it fails again and again."""
    entry = SERVED_BY.get(signal, signal)
    found = ((cluster.name, shut(cluster.name, entry, served)) for cluster in asked if cluster.name in served)
    return {name: breaker_open(name, entry, breaker, now_ms) for name, breaker in found if breaker is not None}


def explain(plan: Plan) -> dict[str, Any]:
    """Return a plan as a reader wants it, with what its signal says of the engines that will evaluate it."""
    said = plan.explain()
    notes = kind_named(plan.query.signal).engine_notes(plan.root, plan.shards, plan.engines)
    return {**said, "notes": [*said["notes"], *notes]}


def without(plan: Plan, refusing: Sequence[ClusterVerdict]) -> Plan:
    """Return the plan without the clusters that take no shard now; each keeps its row in the ledger.

    Raises CoverageTooLow: what is left can not meet the requirement, so that nothing needs to be sent.
    """
    names = {row.cluster for row in refusing}
    shards = tuple(shard for shard in plan.shards if shard.cluster_name not in names)
    left_out = Coverage.of((*plan.left_out, *refusing)).clusters
    # Where newer entries may fill the answer, what is asked of a cluster may be all that is needed of it.
    cuts = plan.cuts if kind_named(plan.query.signal).suffices is never_suffices else {}
    best = (told_with(ClusterVerdict(s.cluster_name, Verdict.OK), cuts) for s in shards)
    require_coverage(plan, Coverage.of((*left_out, *best)))
    return replace(plan, shards=shards, left_out=left_out)


def _enforced(kind: SignalKind, leaves: Sequence[Leaf], scope: Scope, cluster: str) -> tuple[Leaf, ...]:
    return tuple(replace(leaf, text=tenancy.enforce(kind, leaf.text, scope, cluster)) for leaf in leaves)


def run_shard(shard: Shard, connector: Connector, clock: Clock, cancellation: Cancellation | None = None) -> Partial:
    """Answer one shard with one connector. Never raises: what goes wrong travels inside the partial."""
    started_ms = clock()
    try:
        partial = _run_shard(shard, connector, Deadline(shard.deadline_ms, clock, cancellation))
    except InternalError as exc:
        partial = Partial(shard.query_id, shard.cluster_name, error=exc)
    except FederationError as exc:
        partial = Partial(shard.query_id, shard.cluster_name, error=_alone(exc))
    except Exception as exc:
        # A bug must cost this cluster's share and nothing else; the type's name is enough to find it in the log.
        error = InternalError(f"{type(exc).__name__} in the worker of {shard.cluster_name}")
        error.__cause__ = exc
        partial = Partial(shard.query_id, shard.cluster_name, error=error)
    return replace(partial, elapsed_ms=clock() - started_ms)


def _alone(error: FederationError) -> FederationError:
    """Return an error without the frames it came through, which hold what was read of the answer: hundreds of MB."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _run_shard(shard: Shard, connector: Connector, deadline: Deadline) -> Partial:
    kind = kind_named(shard.signal)
    for leaf in shard.leaves:
        tenancy.verify(kind, leaf.text, shard.scope, shard.cluster_name)
    deadline.check_clock(shard.cluster_name)
    fetched = kind.run(connector, shard, deadline)
    deadline.check_clock(shard.cluster_name)
    shown = {leaf: kind.redact(f.payload, shard.scope, shard.cluster_name) for leaf, f in fetched.items()}
    sizes = [kind.size(payload) for payload, _ in shown.values()]
    return Partial(
        query_id=shard.query_id,
        cluster_id=shard.cluster_name,
        payloads={leaf: payload for leaf, (payload, _) in shown.items()},
        warnings=tuple(dict.fromkeys(warning for f in fetched.values() for warning in f.warnings)),
        truncated="; ".join(sorted({f.truncated for f in fetched.values() if f.truncated})),
        hidden=sum(count for _, count in shown.values()),
        stats=Stats(sum(s for s, _ in sizes), sum(r for _, r in sizes)),
        watermark_ms=max((f.watermark_ms for f in fetched.values() if f.watermark_ms is not None), default=None),
    )


def combine(
    plan: Plan,
    partials: Mapping[str, Partial],
    served: Collection[str],
    check: Callable[[], None] = ROOM.check,
) -> Result:
    """Put the partials that are there together and say what the answer rests on.

    Raises only what `check` raises that is no FederationError; long work calls it from time to time.

    A cluster of the plan without a partial has timed out, or has lost its worker if it is not in `served`. A part that
    is not what was asked for, or does not fit the others, costs its cluster's share and nothing else.
    """
    heard = {s.cluster_name: _whole(s, partials[s.cluster_name]) for s in plan.shards if s.cluster_name in partials}
    coverage = coverage_of(plan, heard, served)
    try:
        payload, warnings = _merge(plan, heard, coverage, check)
    except FederationError as exc:
        at_fault = exc.cluster if isinstance(exc, ClusterError) else None
        if at_fault in heard and heard[at_fault].payloads is not None:
            return combine(plan, heard | {at_fault: Partial(plan.query_id, at_fault, error=exc)}, served, check)
        return Result(plan.query_id, "failed", coverage, error=exc, warnings=coverage.warnings())
    return Result(
        query_id=plan.query_id,
        status="complete" if coverage.complete else "partial",
        coverage=coverage,
        payload=payload,
        warnings=coverage.warnings() + plan.warnings + warnings,
    )


def _whole(shard: Shard, partial: Partial) -> Partial:
    """Return the partial, or the failure it is if it does not answer every leaf of its shard."""
    asked = {leaf.id for leaf in shard.leaves}
    if partial.payloads is None or partial.payloads.keys() == asked:
        return partial
    error = Malformed(
        f"its worker answered the leaves {sorted(partial.payloads)}, not {sorted(asked)}", cluster=shard.cluster_name
    )
    return Partial(shard.query_id, shard.cluster_name, error=error)


def coverage_of(plan: Plan, partials: Mapping[str, Partial], served: Collection[str]) -> Coverage:
    """Return the ledger of a plan: a row for every cluster, silent ones included."""
    rows = {row.cluster: row for row in plan.left_out}
    for shard in plan.shards:
        name = shard.cluster_name
        told = partials[name].verdict() if name in partials else _silent(plan, name, served)
        rows[name] = told if name in partials and _suffices(plan, partials[name]) else told_with(told, plan.cuts)
    return Coverage.of(rows)


def _suffices(plan: Plan, partial: Partial) -> bool:
    payloads, suffices = partial.payloads, kind_named(plan.query.signal).suffices
    return bool(payloads) and all(suffices(payload, plan.query) for payload in (payloads or {}).values())


def _silent(plan: Plan, cluster: str, served: Collection[str]) -> ClusterVerdict:
    waited_ms = plan.deadline_ms - plan.created_ms
    if cluster in served:
        reason = f"no answer within {waited_ms} ms"
        return ClusterVerdict(cluster, Verdict.TIMED_OUT, reason, TimedOut(reason, cluster=cluster), waited_ms)
    why = why_absent(cluster, served)
    reason = "its worker stopped answering while the query ran" + (f": {why}" if why else "")
    return ClusterVerdict(cluster, Verdict.NO_WORKER, reason, TimedOut(reason, cluster=cluster), waited_ms)


def _merge(
    plan: Plan, partials: Mapping[str, Partial], coverage: Coverage, check: Callable[[], None]
) -> tuple[object, tuple[str, ...]]:
    for name in sorted(partials):
        error = partials[name].error
        if error is not None and fails_query(error):
            raise error
    require_coverage(plan, coverage)
    parts = {n: p.payloads for n, p in sorted(partials.items()) if p.payloads is not None}
    kind = kind_named(plan.query.signal)
    silent = _silence(kind, plan, [row.cluster for row in coverage.missing], parts)
    # The clusters' scopes are cut from one and have its limits; without a shard there is next to nothing to do.
    room = Room(plan.shards[0].scope.limits, check) if plan.shards else Room(check=check)
    payload, warnings = kind.merge(plan.root, plan.query, parts, silent, room)
    said = [warning for name in sorted(partials) for warning in partials[name].warnings]
    # Where nothing is shown, the count of what is hidden would tell that there is something.
    if kind.size(payload)[1]:
        said += [
            f"cluster {name}: {partial.hidden} rows outside this token's scope are not shown"
            for name, partial in sorted(partials.items())
            if partial.hidden
        ]
    return payload, tuple(dict.fromkeys((*said, *warnings)))


def _silence(kind: SignalKind, plan: Plan, missing: Sequence[str], parts: Mapping[str, object]) -> Silence:
    """Return which leaves clusters have not answered, or would have been asked if anybody could have, or until when."""
    leaves: dict[str, Sequence[Leaf]] = {shard.cluster_name: shard.leaves for shard in plan.shards}
    if unasked := [name for name in missing if name not in leaves]:
        # The plan has shards only for those that could be asked; of these it says why not.
        leaves.update(kind.split(kind.parse(plan.query.text), plan.query, unasked).leaves)
    silence = {}
    for name in missing:
        # Who has answered what it was asked is silent about the rest alone; part of what it was asked is no answer.
        cut = plan.cuts.get(name) if name in parts else None
        silence[name] = Silent(frozenset(leaf.id for leaf in leaves[name]), cut.from_ms if cut else None)
    return silence

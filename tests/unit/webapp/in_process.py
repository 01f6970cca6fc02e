"""A federation in one process: the surface of `workers.dispatch.Dispatch` over stores in memory.

It plans, runs and combines with the real core and really encodes what would travel, but has no Redis and no Celery:
a job ends when somebody waits for it, unless it is held.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from federation_core.connectors import Connector, Fetched
from federation_core.connectors.stores.jobs import Job, JobState, Progress, WorkerBeat
from federation_core.errors import FederationError, QueryExpired, QueryNotFound
from federation_core.federate import combine, run_shard, without
from federation_core.health import About, BackendHealth
from federation_core.inventory import Inventory
from federation_core.outcome import ClusterVerdict, Result
from federation_core.plan import Leaf, Plan
from federation_core.query import Deadline
from federation_core.signals.traces.language import parse
from federation_core.signals.traces.match import span_matches
from federation_core.signals.traces.payload import FoundTraces, Span, TracePart
from federation_core.tenancy import Limits, Scope


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


@dataclass
class SpanStore:
    """Answers a trace's part or a search from a list of spans."""

    spans: tuple[Span, ...] = ()
    kind: str = "memory"
    pushes_down: frozenset[str] = frozenset()

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        expr = parse(leaf.text)
        if hasattr(expr, "trace_id"):
            return Fetched(TracePart(expr.trace_id, tuple(s for s in self.spans if s.trace_id == expr.trace_id)))
        ids = dict.fromkeys(s.trace_id for s in self.spans if span_matches(expr, s))
        parts = tuple(TracePart(i, tuple(s for s in self.spans if s.trace_id == i)) for i in ids)
        return Fetched(FoundTraces(parts))

    def inventory(self, deadline: Deadline) -> Inventory:
        return Inventory()

    def ping(self, deadline: Deadline) -> None:
        return None

    def about(self, deadline: Deadline) -> About:
        return About()


@dataclass
class Beats:
    """Heartbeats of the clusters that are served."""

    federation: InProcess

    def latest(self, clusters: Iterable[str], now_ms: int) -> dict[str, WorkerBeat]:
        served = self.federation.served_clusters
        return {name: WorkerBeat(name, "w1", True, now_ms - 200, 3) for name in clusters if name in served}


@dataclass
class Healths:
    """How the backends are: well, but for what a test has said; of clusters that are not served nobody has spoken."""

    federation: InProcess

    def of(self, clusters: Iterable[str], now_ms: int) -> dict[str, dict[str, BackendHealth]]:
        federation, checked_ms = self.federation, now_ms - 3_000
        well = {
            signal: BackendHealth(signal, "memory", True, checked_ms, 4, about=About("Memory 1.0", now_ms - 12_000))
            for signal in ("metrics", "traces", "logs")
        }
        served = [name for name in clusters if name in federation.served_clusters]
        return {name: {**well, **federation.healths_said.get(name, {})} for name in served}


@dataclass
class InProcess:
    """Dispatch and jobs at once.

    `held` queries stay without a result, the next `late` waits come back without one, and `broken` is raised by
    whatever is asked. Admission raises `refused`, and `refusing` clusters take no shard.
    """

    stores: Mapping[tuple[str, str], Connector]
    clock: Clock
    served_clusters: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    held: bool = False
    late: int = 0
    broken: FederationError | Exception | None = None
    refused: FederationError | None = None
    refusing: tuple[ClusterVerdict, ...] = ()
    expired: set[str] = field(default_factory=set)
    plans: dict[tuple[str, str], Plan] = field(default_factory=dict)
    results: dict[tuple[str, str], Result] = field(default_factory=dict)
    withdrawn: set[str] = field(default_factory=set)
    kept_ms: dict[str, int] = field(default_factory=dict)
    waits_ms: list[int | None] = field(default_factory=list)
    healths_said: dict[str, dict[str, BackendHealth]] = field(default_factory=dict)

    @property
    def jobs(self) -> InProcess:
        return self

    @property
    def beats(self) -> Beats:
        return Beats(self)

    @property
    def healths(self) -> Healths:
        return Healths(self)

    def served(self) -> frozenset[str]:
        if self.broken:
            raise self.broken
        return frozenset(self.served_clusters)

    def admit(self, plan: Plan, limits: Limits) -> Plan:
        if self.refused:
            raise self.refused
        return without(plan, self.refusing) if self.refusing else plan

    def share(self, plan: Plan) -> Plan:
        self.plans[plan.query.tenant_id, plan.query_id] = plan
        if not plan.shards:
            self.settle(plan.query.tenant_id, plan.query_id)
        return plan

    def withdraw(self, tenant_id: str, query_id: str) -> bool:
        if (tenant_id, query_id) in self.results or query_id in self.withdrawn:
            return query_id in self.withdrawn
        self.withdrawn.add(query_id)
        return True

    def keep(self, tenant_id: str, query_id: str, executed_id: str, keep_ms: int) -> bool:
        self.kept_ms[query_id] = keep_ms
        return True

    def several(self, tenant_id: str, ids: Sequence[str]) -> tuple[Job, ...]:
        if self.broken:
            raise self.broken
        return tuple(self._job(tenant_id, i) for i in ids if (tenant_id, i) in self.plans and i not in self.expired)

    def wait(self, plan: Plan, wait_ms: int | None = None) -> Result | None:
        self.waits_ms.append(wait_ms)
        if self.late:
            self.late -= 1
            return None
        if self.held and wait_ms is not None:
            return None
        return self.settle(plan.query.tenant_id, plan.query_id)

    def settle(self, tenant_id: str, query_id: str) -> Result:
        key = (tenant_id, query_id)
        if key not in self.results:
            self.results[key] = self._combined(self.plans[key])
        return self.results[key]

    def result(self, tenant_id: str, query_id: str) -> Result | None:
        return self.results.get((tenant_id, query_id))

    def job(self, tenant_id: str, query_id: str) -> Job:
        if self.broken:
            raise self.broken
        if query_id in self.expired:
            raise QueryExpired("the result of this query is no longer kept", query_id=query_id)
        if (tenant_id, query_id) not in self.plans:
            raise QueryNotFound("there is no such query", query_id=query_id)
        return self._job(tenant_id, query_id)

    def recent(self, tenant_id: str, limit: int = 50) -> tuple[Job, ...]:
        mine = [query_id for tenant, query_id in self.plans if tenant == tenant_id]
        return tuple(self._job(tenant_id, query_id) for query_id in sorted(mine, reverse=True)[:limit])

    def _job(self, tenant_id: str, query_id: str) -> Job:
        plan, result = self.plans[tenant_id, query_id], self.results.get((tenant_id, query_id))
        if result is not None:
            rows = tuple(Progress.of(row) for row in result.coverage.clusters)
            return Job(query_id, tenant_id, JobState(result.status), plan, plan.created_ms, plan.created_ms + 40, rows)
        waiting = [Progress(shard.cluster_name, "running", 7) for shard in plan.shards]
        rows = tuple(sorted((*waiting, *(Progress.of(row) for row in plan.left_out)), key=lambda row: row.cluster))
        if query_id in self.withdrawn:
            now_ms = self.clock()
            return Job(query_id, tenant_id, JobState.CANCELLED, plan, plan.created_ms, now_ms, rows, withdrawn=True)
        return Job(query_id, tenant_id, JobState.RUNNING, plan, plan.created_ms, None, rows)

    def _combined(self, plan: Plan) -> Result:
        partials = {
            shard.cluster_name: run_shard(shard, self.stores[shard.cluster_name, plan.query.signal], self.clock)
            for shard in plan.shards
            if shard.cluster_name not in self.silent
        }
        return combine(plan, partials, self._served())

    def _served(self) -> Collection[str]:
        return self.served_clusters

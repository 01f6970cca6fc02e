"""Every kind of backend that is reached by a URL, with every signal that it serves: found, not listed.

Rule: a kind that is added is in every test that goes over these. What is asked follows from the signal alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

from federation_core import federate
from federation_core.access import Access
from federation_core.config import SIGNALS, Backend, Cluster
from federation_core.connectors import Connector, backend_kinds, connect
from federation_core.errors import ClusterError, FederationError, InvalidConfig
from federation_core.outcome import Partial
from federation_core.plan import Shard
from federation_core.query import Deadline, Query, TimeRange, cluster_deadline_ms
from federation_core.tenancy import Scope

NAME = "prod"
_HOUR_MS = 3_600_000
#: What is asked: text, whether it is evaluated on steps. No question of `inventory` is a query.
QUESTIONS: dict[str, tuple[tuple[str, bool], ...]] = {
    "metrics": (("sum by (job) (rate(requests_total[5m]))", True), ("requests_total", False)),
    "series": (('values "job" {__name__="requests_total"}', False), ('series {job=~".+"}', False)),
    "exemplars": (("requests_total", False),),
    "logs": (('{app="web"} |= "error"', False),),
    "traces": (("ab" * 16, False), ('{ resource.service.name = "web" }', False)),
    "inventory": (("", False),),
}


@dataclass(frozen=True)
class Asked:
    """One question to a kind of backend about a signal."""

    kind: str
    signal: str
    text: str = ""
    on_steps: bool = False

    def __str__(self) -> str:
        return f"{self.kind}-{self.signal}" + (f"-{self.text[:12]}" if self.text else "")

    def connect(self, url: str, access: Access | None = None) -> Connector:
        """Open the connector of a cluster's only backend."""
        backend = Backend(self.signal, self.kind, url, origin="clusters.yaml:1", access=access or Access())
        return connect(Cluster(NAME, "prod", (backend,)), backend)

    def shard(self, now_ms: int, timeout_ms: int) -> Shard:
        """Return what a worker of the cluster gets of a query with this question."""
        when = TimeRange(now_ms - _HOUR_MS, now_ms, 60_000 if self.on_steps else 0)
        query = Query(self.signal, self.text, when, "tenant", timeout_ms=timeout_ms)
        cluster = Cluster(NAME, "prod", tuple(Backend(entry, self.kind, "http://unused") for entry in SIGNALS))
        scope = Scope("tenant", {NAME: ()})
        return federate.plan(query, scope, [cluster], query_id="q", served={NAME}, now_ms=now_ms).shards[0]

    def ask(self, connector: Connector, timeout_ms: int) -> Partial:
        """Ask as a worker does, a part of a plan; of an inventory as a probe does, in the form of a part."""
        now = _now_ms()
        if self.signal == "inventory":
            return _inventory(connector, Deadline(cluster_deadline_ms(now, timeout_ms), _now_ms))
        return federate.run_shard(self.shard(now, timeout_ms), connector, _now_ms)


def _inventory(connector: Connector, deadline: Deadline) -> Partial:
    started_ms = _now_ms()
    try:
        found = connector.inventory(deadline)
    except ClusterError as exc:
        return Partial("q", NAME, error=exc, elapsed_ms=_now_ms() - started_ms)
    return Partial("q", NAME, {"inventory": found}, elapsed_ms=_now_ms() - started_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@cache
def over_http() -> tuple[Asked, ...]:
    """Return one question per kind and signal that a backend with a URL can have."""
    return tuple(all_questions()[key][0] for key in all_questions())


@cache
def all_questions() -> dict[tuple[str, str], tuple[Asked, ...]]:
    """Return every question, by kind and signal."""
    found = {}
    for kind in backend_kinds():
        for signal, questions in QUESTIONS.items():
            asked = tuple(Asked(kind, signal, text, on_steps) for text, on_steps in questions)
            try:
                asked[0].connect("http://127.0.0.1:1")
            except FederationError as exc:
                if not isinstance(exc, InvalidConfig):
                    raise
                continue
            found[kind, signal] = asked
    return found

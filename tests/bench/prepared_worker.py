"""A worker as in production whose metrics backend has its answer ready: `python -m tests.bench.prepared_worker ROLE …`.

Two cores carry what seven machines do elsewhere, so where a path is measured no engine may work on it. The connector is
one that evaluates PromQL itself, as a real backend may; its part is about 20 KB once it is compressed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from federation_core import connectors
from federation_core.config import Backend, Cluster
from federation_core.connectors import Fetched
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.labels import Labels, Selector
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.signals.metrics.dialect import Dialect
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.rungs import PROMQL
from federation_core.tenancy import Scope
from workers.__main__ import main

SERIES, STEPS = 27, 100


@dataclass
class PreparedConnector:
    """Answers a range query of `STEPS` steps with the same random values every time, any other with nothing."""

    cluster: str
    kind: str = "prepared"
    pushes_down: frozenset[str] = frozenset({PROMQL})
    labels: tuple[Labels, ...] = tuple(sorted(Labels.of({"service": f"service-{i}"}) for i in range(SERIES)))
    present: np.ndarray = field(default_factory=lambda: np.ones((SERIES, STEPS), dtype=np.bool_))

    def __post_init__(self) -> None:
        self.values = np.random.default_rng(sum(self.cluster.encode())).random((SERIES, STEPS))

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        grid = Grid.of(leaf.time_range)
        if grid.steps != STEPS:
            return Fetched(Frame.empty(grid))
        return Fetched(Frame(self.labels, grid, self.values, self.present), watermark_ms=grid.end_ms)

    def fetch_all(self, leaves: Sequence[Leaf], scope: Scope, deadline: Deadline) -> list[Fetched]:
        return [self.fetch(leaf, scope, deadline) for leaf in leaves]

    def dialect(self, deadline: Deadline) -> Dialect:
        return Dialect("Prometheus", (3, 0), exact=True, on_grids=True)

    def is_cluster_free(self, asked: Sequence[Selector], start_ms: int, end_ms: int, deadline: Deadline) -> bool:
        return True

    def inventory(self, deadline: Deadline) -> Inventory:
        return Inventory()

    def ping(self, deadline: Deadline) -> None:
        pass

    def about(self, deadline: Deadline) -> About:
        return About()


def connect(cluster: Cluster, backend: Backend) -> PreparedConnector:
    """Open the prepared connector in place of the configured one."""
    return PreparedConnector(cluster.name)


if __name__ == "__main__":
    connectors.connect = connect
    sys.exit(main())

"""Beside a backend with replicas every leaf is evaluated here, on their united samples, until there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from federation_core.connectors import Fetched
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.labels import Selector
from federation_core.plan import Leaf
from federation_core.query import Deadline, TimeRange
from federation_core.signals.metrics.dialect import Dialect
from federation_core.signals.metrics.expr import MatrixSelector
from federation_core.signals.metrics.parse import parse
from federation_core.tenancy import Scope
from tests.support.connected import federate_over
from tests.support.sample_store import STALE, MemoryConnector, Series, as_dict, evaluate_one, every, federate, series

RANGE = TimeRange(60_000, 900_000, 60_000)
INSTANT = TimeRange(600_125, 600_125)
GONE = float(STALE)
COUNTER = [*range(0, 400, 10), *range(0, 200, 10)]
#: One pod ends and is replaced by another; each replica has lost some scrapes of what the other has.
TRUTH: list[Series] = [
    series('x{pod="a"}', every(15_000, [*COUNTER[:30], GONE])),
    series('x{pod="b"}', every(15_000, COUNTER[:29], start_ms=465_000)),
    series('y{pod="b"}', every(15_000, [5.0] * 60)),
]
LOST = {"r0": {("a", 20), ("a", 21), ("b", 5)}, "r1": {("a", 3), ("b", 9), ("b", 10), ("b", 11)}}


def replicas() -> list[Series]:
    found: list[Series] = []
    for row, t_ms, values in TRUTH:
        if row.get("__name__") == "y":
            # No replica's: it is a rule's.
            found.append((row, t_ms, values))
            continue
        for name, lost in LOST.items():
            kept = [i for i in range(len(t_ms)) if (row.get("pod"), i) not in lost]
            found.append((row.with_label("replica", name), [t_ms[i] for i in kept], [values[i] for i in kept]))
    return sorted(found, key=lambda one: one[0])


PROMETHEUS = Dialect("Prometheus", (2, 42), exact=True, on_grids=True)
VICTORIA_METRICS = Dialect("VictoriaMetrics", nan_is_stale=True)


@dataclass
class MemoryEngine:
    """An engine over samples in memory; with values on steps its raw samples come without stale markers."""

    held: Sequence[Series]
    replica_labels: tuple[str, ...] = ("replica",)
    engine: Dialect = PROMETHEUS
    asked: list[Leaf] = field(default_factory=list)
    kind: ClassVar[str] = "memory"
    pushes_down: ClassVar[frozenset[str]] = frozenset({"promql"})

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        self.asked.append(leaf)
        if not self.engine.on_grids:
            return MemoryConnector(self.held).fetch(leaf, scope, deadline)
        return Fetched(evaluate_one(leaf.text, self.held, leaf.time_range))

    def fetch_all(self, leaves: Sequence[Leaf], scope: Scope, deadline: Deadline) -> list[Fetched]:
        return [self.fetch(leaf, scope, deadline) for leaf in leaves]

    def dialect(self, deadline: Deadline) -> Dialect:
        return self.engine

    def is_cluster_free(self, asked: Sequence[Selector], start_ms: int, end_ms: int, deadline: Deadline) -> bool:
        return True

    def are_replicas_free(self, asked: Sequence[Selector], start_ms: int, end_ms: int, deadline: Deadline) -> bool:
        meant = [row for row, _, _ in self.held if any(selector.matches(row) for selector in asked)]
        return not any(row.get(name) for row in meant for name in self.replica_labels)

    def inventory(self, deadline: Deadline) -> Inventory:
        return Inventory()

    def ping(self, deadline: Deadline) -> None:
        return None

    def about(self, deadline: Deadline) -> About:
        return About()


@pytest.mark.parametrize("engine", [PROMETHEUS, VICTORIA_METRICS], ids=lambda dialect: dialect.engine)
@pytest.mark.parametrize("asked", [RANGE, INSTANT], ids=["range", "instant"])
@pytest.mark.parametrize(
    "text",
    [
        "x",
        "count(x)",
        "sum(rate(x[2m]))",
        "sum by (pod) (increase(x[1m]))",
        "avg_over_time(x[3m])",
        "count_over_time(x[2m]) + on (pod) y",
        "timestamp(x)",
        "x offset 1m",
        "sum(x @ 500) + sum(x)",
        "max_over_time(sum(x)[5m:1m])",
        "rate(x[1m:15s])",
        "absent(x)",
        "quantile_over_time(scalar(sum(y)) / 10, x[2m])",
        'x{replica!="r0"}',
        'count by (replica) (x{replica=""})',
        'x{replica="r0"} or y',
        'absent(x{replica=~".+"})',
    ],
)
def test_the_answer_is_that_of_series_without_replicas(text: str, asked: TimeRange, engine: Dialect) -> None:
    found, _ = federate_over(text, {"prod": MemoryEngine(replicas(), engine=engine)}, asked)
    wanted, _ = federate(text, {"prod": TRUTH}, asked)
    assert as_dict(found) == as_dict(wanted)


def test_the_backend_is_asked_for_selectors_and_samples_alone() -> None:
    engine = MemoryEngine(replicas())
    federate_over("sum(rate(x[2m])) + sum(x)", {"prod": engine}, RANGE)
    asked = [parse(leaf.text) for leaf in engine.asked]
    assert sum(isinstance(node, MatrixSelector) for node in asked) == 1
    assert not any("rate" in leaf.text or "sum" in leaf.text for leaf in engine.asked)


def test_what_no_replica_has_is_given_to_the_engine_whole() -> None:
    engine = MemoryEngine(replicas())
    federate_over("sum(rate(y[2m]))", {"prod": engine}, RANGE)
    assert [leaf.text for leaf in engine.asked] == [next(leaf.text for leaf in engine.asked if "sum" in leaf.text)]


def test_a_condition_that_only_a_replica_meets_asks_for_nothing() -> None:
    engine = MemoryEngine(replicas())
    assert as_dict(federate_over('x{replica="r0"}', {"prod": engine}, RANGE)[0]) == {}
    assert engine.asked == []


def test_a_backend_without_replica_labels_keeps_the_label() -> None:
    found = as_dict(federate_over("count(x)", {"prod": MemoryEngine(replicas(), ())}, INSTANT)[0])
    assert list(found.values()) == [{INSTANT.end_ms: 2.0}]

"""A connector that answers questions for exemplars from memory, the newest series first, copies and all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from federation_core.connectors import Fetched
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.labels import Labels
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.signals.exemplars.language import parse
from federation_core.signals.exemplars.payload import Exemplar, Exemplars, Exemplified
from federation_core.tenancy import Scope
from tests.support.sample_store import labels


@dataclass
class ExemplarStore:
    """Remembers what it was asked."""

    series: Sequence[Exemplified] = ()
    warnings: tuple[str, ...] = ()
    kind: str = "memory"
    pushes_down: frozenset[str] = frozenset()
    asked: list[Leaf] = field(default_factory=list)

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        self.asked.append(leaf)
        found = [row for row in self.series if any(s.matches(row.labels) for s in parse(leaf.text).selectors)]
        when = leaf.time_range
        inside = [
            row._replace(exemplars=tuple(e for e in row.exemplars if when.start_ms <= e.t_ms <= when.end_ms))
            for row in reversed(found)
        ]
        return Fetched(Exemplars(tuple(inside)), self.warnings)

    def inventory(self, deadline: Deadline) -> Inventory:
        return Inventory()

    def ping(self, deadline: Deadline) -> None:
        return None

    def about(self, deadline: Deadline) -> About:
        return About()


def exemplified(text: str, *points: tuple[int, str, str]) -> Exemplified:
    """Build a series from `name{a="1"}` and (time in ms, trace id, value) of its exemplars."""
    return Exemplified(labels(text), tuple(Exemplar(t, Labels.of({"trace_id": i}), value) for t, i, value in points))

"""A connector that answers questions about series from label sets held in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from federation_core.connectors import Fetched
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.labels import NAME, Labels
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.signals.series.expr import Question
from federation_core.signals.series.language import parse
from federation_core.signals.series.payload import Fact, Found, Row
from federation_core.tenancy import Scope


@dataclass
class SeriesStore:
    """Answers in an order of its own, with no more than a limit allows, and remembers what it was asked."""

    series: Sequence[Labels]
    types: Mapping[str, str] = field(default_factory=dict)
    kind: str = "memory"
    pushes_down: frozenset[str] = frozenset()
    asked: list[Leaf] = field(default_factory=list)

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        self.asked.append(leaf)
        expr = parse(leaf.text)
        found = [row for row in self.series if any(selector.matches(row) for selector in expr.selectors)]
        rows: list[Row]
        match expr.question:
            case Question.SERIES:
                rows = list(found)
            case Question.LABELS:
                rows = [name for row in found for name in row.names()]
            case Question.VALUES:
                rows = [row.get(expr.label) for row in found if row.get(expr.label)]
            case Question.METADATA:
                rows = [Fact(name, self.types.get(name, "unknown")) for name in (row.get(NAME) for row in found)]
        distinct = tuple(reversed(dict.fromkeys(rows)))
        return Fetched(Found(expr.question, distinct[: leaf.limit or None]))

    def inventory(self, deadline: Deadline) -> Inventory:
        return Inventory()

    def ping(self, deadline: Deadline) -> None:
        return None

    def about(self, deadline: Deadline) -> About:
        return About()

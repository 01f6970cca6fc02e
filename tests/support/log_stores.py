"""Log entries in memory: builders, and a store without an engine that answers leaves as a backend would."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from federation_core.connectors import Fetched
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.labels import Labels
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.signals.logs.language import matches, parse
from federation_core.signals.logs.payload import Entries, Entry, first_entries, window_ns
from federation_core.tenancy import Scope

MS = 1_000_000


def entry(t_ms: int, line: str = "line", ordinal: int = 0, **labels: str) -> Entry:
    """Return an entry; `meta_x="1"` among the labels becomes metadata `x`."""
    meta = {name.removeprefix("meta_"): value for name, value in labels.items() if name.startswith("meta_")}
    stream = {name: value for name, value in labels.items() if not name.startswith("meta_")}
    return Entry(t_ms * MS, line, Labels.of(stream), Labels.of(meta), ordinal)


@dataclass(frozen=True)
class LogStore:
    """Answers a log leaf from a list; `cap` is a limit of its own, `obedient` whether it applies the query at all."""

    entries: tuple[Entry, ...]
    cap: int | None = None
    obedient: bool = True
    kind: str = "memory"
    pushes_down: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> LogStore:
        """Hold the given entries."""
        return cls(tuple(entries))

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        """Return the first matching entries of the leaf's window."""
        query, (start_ns, end_ns) = parse(leaf.text), window_ns(leaf.time_range)
        found = [e for e in self.entries if start_ns <= e.t_ns < end_ns and (not self.obedient or matches(query, e))]
        limit = leaf.limit if self.cap is None else min(self.cap, leaf.limit)
        if limit == 0:
            return Fetched(Entries(more=bool(found)))
        return Fetched(first_entries(Entries.of(found), limit, leaf.direction))

    def inventory(self, deadline: Deadline) -> Inventory:
        """Hold no inventory."""
        return Inventory()

    def ping(self, deadline: Deadline) -> None:
        """Answer."""

    def about(self, deadline: Deadline) -> About:
        """Tell nothing."""
        return About()

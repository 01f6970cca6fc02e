"""Spans in memory: builders, and a store without an engine that answers leaves as a backend would."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from federation_core.connectors import Fetched
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.signals.traces.expr import TraceById
from federation_core.signals.traces.language import parse, span_matches
from federation_core.signals.traces.payload import FoundTraces, Span, SpanKind, SpanStatus, TracePart, window_ns
from federation_core.tenancy import Scope

MS = 1_000_000
TRACE = "a" * 32


def span(number: int, parent: int = 0, start_ms: float = 0, end_ms: float = 10, **given: Any) -> Span:
    """Return a span whose id is `number`; parent 0 means none; kind and status may be given as text."""
    given["kind"] = SpanKind(given.get("kind", "server"))
    given["status"] = SpanStatus(given.get("status", "unset"))
    start_ns = round(start_ms * MS)
    return Span(
        trace_id=given.pop("trace_id", TRACE),
        span_id=f"{number:016x}",
        parent_id=f"{parent:016x}" if parent else "",
        operation=given.pop("operation", f"op{number}"),
        service=given.pop("service", "web"),
        start_ns=start_ns,
        duration_ns=round(end_ms * MS) - start_ns,
        **given,
    )


@dataclass(frozen=True)
class SpanStore:
    """Answers a trace leaf from a list; `cap` is a limit of its own, `obedient` whether it applies conditions."""

    spans: tuple[Span, ...]
    cap: int | None = None
    obedient: bool = True
    kind: str = "memory"
    pushes_down: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, *spans: Span) -> SpanStore:
        """Hold the given spans."""
        return cls(spans)

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        """Return this cluster's part of a trace, or the first traces with a matching span in the leaf's window."""
        query = parse(leaf.text)
        if isinstance(query, TraceById):
            return Fetched(TracePart(query.trace_id, tuple(s for s in self.spans if s.trace_id == query.trace_id)))
        start_ns, end_ns = window_ns(leaf.time_range)
        newest: dict[str, int] = {}
        backward = leaf.direction == "backward"
        for s in self.spans:
            if start_ns <= s.start_ns < end_ns and (not self.obedient or span_matches(query, s)):
                best = max if backward else min
                newest[s.trace_id] = best(newest.get(s.trace_id, s.start_ns), s.start_ns)
        limit = leaf.limit if self.cap is None else min(self.cap, leaf.limit)
        ids = sorted(newest, key=lambda trace: (newest[trace], trace), reverse=backward)
        return Fetched(FoundTraces(tuple(self._part(trace_id) for trace_id in ids[:limit]), more=len(ids) > limit))

    def _part(self, trace_id: str) -> TracePart:
        return TracePart(trace_id, tuple(s for s in self.spans if s.trace_id == trace_id))

    def inventory(self, deadline: Deadline) -> Inventory:
        """Hold no inventory."""
        return Inventory()

    def ping(self, deadline: Deadline) -> None:
        """Answer."""

    def about(self, deadline: Deadline) -> About:
        """Tell nothing."""
        return About()


def parts_of(spans: Iterable[tuple[str, Span]]) -> dict[str, TracePart]:
    """Return the parts of one trace by cluster."""
    found: dict[str, list[Span]] = {}
    trace_id = TRACE
    for cluster, each in spans:
        trace_id = each.trace_id
        found.setdefault(cluster, []).append(each)
    return {cluster: TracePart(trace_id, tuple(held)) for cluster, held in found.items()}

"""Who is whose parent among the spans of one trace.

Rule: every span has at most one parent, and following parents always ends: where the data say otherwise (a span
that is its own ancestor) the earliest span of the circle is taken for an orphan. Two halves of one call that share
an id, as in the Zipkin model, are parent and child: the caller's half is the parent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from federation_core.signals.traces.payload import Span, SpanKey, SpanKind

_CALLEE = (SpanKind.SERVER, SpanKind.CONSUMER)
_CALLER = (SpanKind.CLIENT, SpanKind.PRODUCER)
#: Which of several spans with one id its children belong to: the innermost first.
_INNERMOST = (*_CALLEE, SpanKind.INTERNAL, SpanKind.UNSPECIFIED, *_CALLER)


@dataclass(frozen=True, slots=True)
class Tree:
    """`parents` has an entry for every span with a known parent; `roots` name no parent, `orphans` one not found."""

    parents: Mapping[SpanKey, SpanKey]
    roots: tuple[SpanKey, ...]
    orphans: tuple[SpanKey, ...]

    def children(self) -> dict[SpanKey, list[SpanKey]]:
        """Return the children of every span that has any."""
        found: dict[SpanKey, list[SpanKey]] = {}
        for child, parent in self.parents.items():
            found.setdefault(parent, []).append(child)
        return found


def build_tree(spans: Sequence[Span]) -> Tree:
    """Find every span's parent; `spans` has one span per key."""
    by_id: dict[str, list[Span]] = {}
    # Whatever order they arrive in, the earliest of several that would do is taken.
    ordered = sorted(spans, key=_by_start)
    for span in ordered:
        by_id.setdefault(span.span_id, []).append(span)
    parents: dict[SpanKey, SpanKey] = {}
    roots, orphans = [], []
    for span in ordered:
        parent = _parent_of(span, by_id)
        if parent is not None:
            parents[span.key] = parent.key
        elif span.parent_id:
            orphans.append(span.key)
        else:
            roots.append(span.key)
    starts = {span.key: _by_start(span) for span in spans}
    for cut in _cut_circles(parents, starts):
        del parents[cut]
        orphans.append(cut)
    return Tree(parents, tuple(roots), tuple(sorted(orphans, key=starts.__getitem__)))


def preorder(
    tops: Sequence[SpanKey], children: Mapping[SpanKey, Sequence[SpanKey]], order: Callable[[SpanKey], Any]
) -> list[SpanKey]:
    """List every span below `tops`, parents before children, siblings by `order`."""
    listed: list[SpanKey] = []
    waiting = list(reversed(tops))
    while waiting:
        key = waiting.pop()
        listed.append(key)
        waiting.extend(sorted(children.get(key, ()), key=order, reverse=True))
    return listed


def _by_start(span: Span) -> tuple[int, SpanKey]:
    return (span.start_ns, span.key)


def _parent_of(span: Span, by_id: Mapping[str, Sequence[Span]]) -> Span | None:
    if span.kind in _CALLEE:
        caller = next((other for other in by_id[span.span_id] if other.kind in _CALLER), None)
        if caller is not None:
            return caller
    named = [other for other in by_id.get(span.parent_id, ()) if other.key != span.key]
    return min(named, key=lambda other: _INNERMOST.index(other.kind), default=None)


def _cut_circles(parents: Mapping[SpanKey, SpanKey], starts: Mapping[SpanKey, Any]) -> list[SpanKey]:
    """Return the earliest span of every circle of parents."""
    cuts: list[SpanKey] = []
    settled: set[SpanKey] = set()
    for key in parents:
        walked: dict[SpanKey, None] = {}
        while key in parents and key not in settled and key not in walked:
            walked[key] = None
            key = parents[key]
        if key in walked:
            path = list(walked)
            cuts.append(min(path[path.index(key) :], key=starts.__getitem__))
        settled.update(walked)
    return cuts

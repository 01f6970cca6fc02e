"""What a trace waited for, from its start to its end.

Rule: the path is read backwards: at any moment the trace waits for the child that ended last before it, and where
no child was running, for the span itself. The segments follow each other without gap or overlap, so their lengths
add up to the root's duration. A child counts only inside its parent; overlapping siblings that ended later than
the next call began held nothing up (Zhang et al., "CRISP: Critical Path Analysis of Large-Scale Microservice
Architectures", USENIX ATC 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from federation_core.signals.traces.payload import PathSegment, Span, SpanKey


@dataclass(frozen=True, slots=True)
class _Wait:
    """The trace waits for a span, children included (`whole`) or not, within [start_ns, end_ns]."""

    span: Span
    start_ns: int
    end_ns: int
    whole: bool


def critical_path(
    root: SpanKey, spans: Mapping[SpanKey, Span], children: Mapping[SpanKey, Sequence[SpanKey]]
) -> tuple[PathSegment, ...]:
    """Return the critical path below `root` in order of time, on adjusted clocks."""
    top = spans[root]
    waiting = [_Wait(top, top.adjusted_start_ns, top.adjusted_end_ns, whole=True)]
    segments: list[PathSegment] = []
    while waiting:
        wait = waiting.pop()
        if wait.whole:
            # The list is read from its end, so the latest piece of a span comes first.
            waiting.extend(reversed(_pieces(wait, [spans[key] for key in children.get(wait.span.key, ())])))
        elif wait.end_ns > wait.start_ns:
            segments.append(PathSegment(wait.span.span_id, wait.start_ns, wait.end_ns))
    return tuple(reversed(segments))


def _pieces(wait: _Wait, children: Sequence[Span]) -> list[_Wait]:
    """Cut one wait into the span's own time and waits for its children, the latest first."""
    pieces = []
    until_ns = wait.end_ns
    inside = [
        (min(child.adjusted_end_ns, wait.end_ns), max(child.adjusted_start_ns, wait.start_ns), child)
        for child in children
    ]
    for end_ns, start_ns, child in sorted(inside, key=lambda c: (c[0], c[1], c[2].key), reverse=True):
        if start_ns < end_ns <= until_ns:
            pieces.append(_Wait(wait.span, end_ns, until_ns, whole=False))
            pieces.append(_Wait(child, start_ns, end_ns, whole=True))
            until_ns = start_ns
    pieces.append(_Wait(wait.span, wait.start_ns, until_ns, whole=False))
    return pieces

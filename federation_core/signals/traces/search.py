"""Search over many clusters: each summarises the traces that match in it, the centre joins the summaries.

Rule: a trace matches where one span satisfies the query and starts in the asked time. Traces are ordered by their
newest matching span (oldest where the direction is forward): the greatest over clusters of a cluster's own order,
so no trace that a cluster cut off can belong among the first. A summary tells of the visible spans of the clusters
in which the trace matched, and only of these; the trace itself, asked by id, tells the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from federation_core.labels import Selector
from federation_core.query import Direction
from federation_core.signals.traces.expr import SpanSearch
from federation_core.signals.traces.match import selector_matches, span_matches
from federation_core.signals.traces.payload import (
    NS_PER_MS,
    FoundTraces,
    RootSpan,
    Span,
    SpanKey,
    SpanStatus,
    Summaries,
    Summary,
    TracePart,
)
from federation_core.times import format_time


def summarise(
    found: FoundTraces,
    search: SpanSearch,
    allowed: Selector,
    window_ns: tuple[int, int],
    limit: int,
    direction: Direction,
) -> tuple[Summaries, int]:
    """Summarise what a connector found; count the spans of these traces that `allowed` does not show."""
    summaries, hidden = [], 0
    for part in found.parts:
        visible = [span for span in part.spans if selector_matches(allowed, span)]
        matched = [s for s in visible if window_ns[0] <= s.start_ns < window_ns[1] and span_matches(search, s)]
        if matched:
            hidden += len(part.spans) - len(visible)
            summaries.append(_summary(part, visible, matched, direction))
    ordered = _ordered(summaries, direction)
    return Summaries(tuple(ordered[:limit]), found.more or len(ordered) > limit), hidden


def merge_summaries(
    parts: Mapping[str, Summaries], limit: int, direction: Direction
) -> tuple[Summaries, tuple[str, ...]]:
    """Join the summaries of each trace and keep the first `limit`; return also what must be said of the answer."""
    by_id: dict[str, list[tuple[str, Summary]]] = {}
    for cluster, part in sorted(parts.items()):
        for summary in part.traces:
            by_id.setdefault(summary.trace_id, []).append((cluster, summary))
    joined = _ordered((_join(pieces, direction) for pieces in by_id.values()), direction)
    kept = tuple(joined[:limit])
    more = len(joined) > limit or any(part.more for part in parts.values())
    return Summaries(kept, more), _warnings(parts, kept, limit, direction) if more else ()


def _summary(part: TracePart, visible: Sequence[Span], matched: Sequence[Span], direction: Direction) -> Summary:
    starts = [span.start_ns for span in matched]
    roots = sorted((span.start_ns, span.key, span) for span in visible if not span.parent_id)
    return Summary(
        trace_id=part.trace_id,
        matched_ns=max(starts) if direction == "backward" else min(starts),
        start_ns=min(span.start_ns for span in visible),
        end_ns=max(span.end_ns for span in visible),
        spans=_keys(visible),
        matched=_keys(matched),
        errors=_keys(span for span in visible if span.status is SpanStatus.ERROR),
        services=tuple(sorted({span.service for span in visible})),
        root=_root(roots[0][2]) if roots else None,
    )


def _root(span: Span) -> RootSpan:
    return RootSpan(span.service, span.operation, span.start_ns, span.duration_ns)


def _keys(spans: Iterable[Span]) -> tuple[SpanKey, ...]:
    return tuple(sorted({span.key for span in spans}))


def _join(pieces: Sequence[tuple[str, Summary]], direction: Direction) -> Summary:
    """Join the summaries of one trace from several clusters."""
    summaries = [summary for _, summary in pieces]
    newest = max if direction == "backward" else min
    roots = sorted((s.root for s in summaries if s.root is not None), key=lambda root: (root.start_ns, root.service))
    return Summary(
        trace_id=summaries[0].trace_id,
        matched_ns=newest(s.matched_ns for s in summaries),
        start_ns=min(s.start_ns for s in summaries),
        end_ns=max(s.end_ns for s in summaries),
        spans=tuple(sorted({key for s in summaries for key in s.spans})),
        matched=tuple(sorted({key for s in summaries for key in s.matched})),
        errors=tuple(sorted({key for s in summaries for key in s.errors})),
        services=tuple(sorted({service for s in summaries for service in s.services})),
        clusters=tuple(sorted(cluster for cluster, _ in pieces)),
        root=roots[0] if roots else None,
    )


def _ordered(summaries: Iterable[Summary], direction: Direction) -> list[Summary]:
    return sorted(summaries, key=lambda s: (s.matched_ns, s.trace_id), reverse=direction == "backward")


def _warnings(
    parts: Mapping[str, Summaries], kept: Sequence[Summary], limit: int, direction: Direction
) -> tuple[str, ...]:
    rest = "older" if direction == "backward" else "newer"
    said = [f"limit {limit} reached, {rest} traces exist"] if len(kept) == limit else []
    shown = {summary.trace_id for summary in kept}
    for cluster, part in sorted(parts.items()):
        # Less than asked, and not all: traces are missing unless the answer ends before them.
        if not part.more or len(part.traces) >= limit:
            continue
        if not part.traces:
            said.append(f"cluster {cluster} sent none of its traces")
        elif part.traces[-1].trace_id in shown:
            when = format_time(part.traces[-1].matched_ns // NS_PER_MS)
            said.append(f"cluster {cluster} stopped at {when}; its {rest} traces are missing")
    return tuple(said)

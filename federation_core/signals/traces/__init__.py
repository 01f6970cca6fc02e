"""The traces signal: one trace put together from every cluster, or a search over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from federation_core.connectors import Connector, Fetched
from federation_core.errors import Malformed
from federation_core.labels import Selector
from federation_core.plan import Leaf, Shard
from federation_core.query import Deadline, Query
from federation_core.signals import ROOM, Kept, Room, SignalKind, Silence, Split, kept_since
from federation_core.signals.traces import distribute
from federation_core.signals.traces.encoding import decode, encode
from federation_core.signals.traces.expr import Expr, SpanSearch, TraceById, map_selectors, print_expr
from federation_core.signals.traces.language import parse
from federation_core.signals.traces.match import selector_matches
from federation_core.signals.traces.payload import FoundTraces, Payload, Summaries, Trace, TracePart, window_ns
from federation_core.signals.traces.rendering import summary_to_json, trace_to_json
from federation_core.signals.traces.search import merge_summaries, summarise
from federation_core.signals.traces.stitch import judge, stitch
from federation_core.tenancy import Scope

P = TypeVar("P", TracePart, Summaries)


def split(expr: Expr, query: Query, clusters: Sequence[str]) -> Split:
    """Ask every cluster for its part of a trace, or for the traces that match in it."""
    leaves, pruned = distribute.split(expr, query, clusters)
    match expr:
        case TraceById():
            note = "stitch the parts of all clusters at the centre; the time range is not applied to a lookup by id"
        case SpanSearch():
            note = f"join summaries by trace id at the centre, first {distribute.limit_of(query)} traces"
    return Split(leaves=leaves, root=print_expr(expr), pruned=pruned, notes=(note,))


def keep(root: str, query: Query, leaves: Sequence[Leaf], oldest_ms: int) -> Kept:
    """Return what to ask of a backend that has nothing older; a trace is asked for by its id whatever the time."""
    if isinstance(parse(root), TraceById):
        return Kept(tuple(leaves), query.time_range.start_ms)
    return kept_since(root, query, leaves, oldest_ms)


def run(connector: Connector, shard: Shard, deadline: Deadline) -> dict[str, Fetched]:
    """Fetch every leaf: a trace's part as it is, found traces as summaries of what the scope shows.

    Raises Malformed: the connector returned something else than the leaf asks for. TimedOut: the deadline has passed.
    """
    return {leaf.id: _run_leaf(connector, leaf, shard, deadline) for leaf in shard.leaves}


def _run_leaf(connector: Connector, leaf: Leaf, shard: Shard, deadline: Deadline) -> Fetched:
    deadline.check_clock(shard.cluster_name)
    expr, fetched = parse(leaf.text), connector.fetch(leaf, shard.scope, deadline)
    match expr, fetched.payload:
        case TraceById(), TracePart():
            return fetched
        case SpanSearch(), FoundTraces() as found:
            allowed = Selector(shard.scope.conditions(shard.cluster_name))
            limit = leaf.limit or distribute.DEFAULT_LIMIT
            window = window_ns(leaf.time_range)
            summaries, hidden = summarise(found, expr, allowed, window, limit, leaf.direction)
            said = (f"cluster {shard.cluster_name}: {hidden} spans outside this token's scope are not counted",)
            return replace(fetched, payload=summaries, warnings=fetched.warnings + (said if hidden else ()))
        case _, other:
            raise Malformed(
                f"{connector.kind} returned {type(other).__name__} for {leaf.text!r}", cluster=shard.cluster_name
            )


def merge(
    root: str,
    query: Query,
    parts: Mapping[str, Mapping[str, Any]],
    silent: Silence,
    room: Room = ROOM,
) -> tuple[Payload, tuple[str, ...]]:
    """Stitch one trace, or join the search results of the clusters that answered.

    Raises TraceNotFound: every cluster answered and none holds the trace. Malformed: a part is not what was asked.
    """
    match parse(root):
        case TraceById(trace_id):
            trace = stitch(trace_id, _parts_of(parts, TracePart))
            return trace, judge(trace, silent)
        case SpanSearch():
            return merge_summaries(_parts_of(parts, Summaries), distribute.limit_of(query), query.direction)


def _parts_of(parts: Mapping[str, Mapping[str, Any]], kind: type[P]) -> dict[str, P]:
    found = {}
    for cluster, leaves in parts.items():
        payload = leaves[distribute.LEAF_ID]
        if not isinstance(payload, kind):
            raise Malformed(f"a part came as {type(payload).__name__}, not {kind.__name__}", cluster=cluster)
        found[cluster] = payload
    return found


def redact(payload: Payload, scope: Scope, cluster: str) -> tuple[Payload, int]:
    """Drop the spans outside the scope: a lookup by id carries no condition that a backend could apply.

    Summaries were made from visible spans alone.
    """
    if not isinstance(payload, TracePart):
        return payload, 0
    allowed = Selector(scope.conditions(cluster))
    visible = tuple(span for span in payload.spans if selector_matches(allowed, span))
    return replace(payload, spans=visible), len(payload.spans) - len(visible)


def size(payload: Payload) -> tuple[int, int]:
    """Return the numbers of traces and of spans."""
    match payload:
        case Summaries():
            return len(payload.traces), sum(len(trace.spans) for trace in payload.traces)
        case TracePart() | Trace():
            return int(bool(payload.spans)), len(payload.spans)


def to_json(payload: Payload, query: Query) -> dict[str, Any]:
    """Return the native JSON answer.

    Raises TypeError: a part is no answer.
    """
    match payload:
        case Trace():
            return trace_to_json(payload)
        case Summaries():
            return {"traces": [summary_to_json(trace) for trace in payload.traces]}
        case _:
            raise TypeError(f"not an answer: {type(payload).__name__}")


KIND = SignalKind(
    name="traces",
    parse=parse,
    print=print_expr,
    map_selectors=map_selectors,
    split=split,
    run=run,
    merge=merge,
    redact=redact,
    size=size,
    encode=encode,
    decode=decode,
    to_json=to_json,
    keep=keep,
)

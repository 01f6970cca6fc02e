"""The parts of a trace that clusters hold become one trace.

Rule: every span is there once, however many copies were sent or stored; the result is the same for any arrival
order. Nothing is invented: a missing parent makes an orphan, a missing root stays missing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from federation_core.errors import TraceNotFound
from federation_core.signals.traces.critical_path import critical_path
from federation_core.signals.traces.payload import Span, SpanKey, Trace, TracePart
from federation_core.signals.traces.skew import calls_between_clusters, offsets_ns
from federation_core.signals.traces.tree import Tree, build_tree, preorder


def stitch(trace_id: str, parts: Mapping[str, TracePart]) -> Trace:
    """Put one trace together from the parts of the clusters that answered; no spans where none holds any."""
    spans = _once_each(parts)
    clusters = tuple(sorted(cluster for cluster, part in parts.items() if part.spans))
    if not spans:
        return Trace(trace_id)
    tree = build_tree(list(spans.values()))
    root = tree.roots[0] if tree.roots else None
    spans = _adjusted(spans, tree, root)
    children = tree.children()

    def order(key: SpanKey) -> tuple[int, str, SpanKey]:
        return (spans[key].adjusted_start_ns, spans[key].cluster, key)

    tops = sorted({*tree.roots, *tree.orphans} - {root}, key=order)
    ordered = preorder([root, *tops] if root else tops, children, order)
    return Trace(
        trace_id=trace_id,
        spans=tuple(spans[key] for key in ordered),
        clusters=clusters,
        root=root,
        orphans=tuple(sorted(tree.orphans, key=order)),
        critical_path=critical_path(root, spans, children) if root else (),
    )


def judge(trace: Trace, silent: Collection[str]) -> tuple[str, ...]:
    """Say what cannot be known about a trace because clusters in `silent` did not answer.

    Raises TraceNotFound: nobody holds a span, and everybody was heard.
    """
    if not silent:
        if not trace.spans:
            raise TraceNotFound(f"no cluster holds trace {trace.trace_id}", trace_id=trace.trace_id)
        return ()
    missing = ", ".join(sorted(silent))
    if not trace.spans:
        return (f"no cluster that answered holds trace {trace.trace_id}; {missing} did not answer, so it may exist",)
    said = []
    if trace.root is None:
        said.append(f"the root span is in no cluster that answered; it may be in {missing}")
    if trace.orphans:
        said.append(f"spans whose parent is in no cluster that answered: {len(trace.orphans)}; it may be in {missing}")
    return tuple(said)


def _once_each(parts: Mapping[str, TracePart]) -> dict[SpanKey, Span]:
    """Keep one copy of each span, with the cluster it was found in.

    Copies differ where a span was exported before it ended: the most complete one is kept, and of equal ones that
    of the first cluster by name.
    """
    kept: dict[SpanKey, Span] = {}
    for cluster, part in sorted(parts.items()):
        for span in part.spans:
            held = kept.get(span.key)
            if held is None or _completeness(span) > _completeness(held):
                kept[span.key] = replace(span, cluster=cluster)
    return kept


def _completeness(span: Span) -> tuple[int, int, str]:
    """Sort key of copies that is the same whatever order they arrive in, and ignores where they were found."""
    return (span.duration_ns, len(span.attributes) + len(span.events), repr(replace(span, cluster="")))


def _adjusted(spans: Mapping[SpanKey, Span], tree: Tree, root: SpanKey | None) -> dict[SpanKey, Span]:
    """Note on every span how far its cluster's clock is from that of the root's cluster."""
    calls = calls_between_clusters(spans, tree.parents)
    if not calls:
        return dict(spans)
    reference = spans[root or tree.orphans[0]].cluster
    offsets = offsets_ns(reference, calls)
    return {key: replace(span, skew_ns=offsets.get(span.cluster, 0)) for key, span in spans.items()}

"""What every cluster is asked for a trace query.

Rule: `cluster` is a virtual field, decided here and never sent: a cluster that its conditions accept gets the
query without them, one they reject is left out and told why. A trace id is asked of every cluster, since any of
them may hold a part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from federation_core.labels import CLUSTER
from federation_core.plan import Leaf
from federation_core.query import Query
from federation_core.signals.traces.expr import Expr, SpanSearch, TraceById, print_expr

LEAF_ID = "traces"
#: Traces of a search's answer where the query names no limit (Grafana Tempo documentation, "Tempo HTTP API").
DEFAULT_LIMIT = 20


def limit_of(query: Query) -> int:
    """Return how many traces a search's answer may have."""
    return query.limit or DEFAULT_LIMIT


def split(expr: Expr, query: Query, clusters: Sequence[str]) -> tuple[Mapping[str, tuple[Leaf, ...]], dict[str, str]]:
    """Return the leaves of every cluster that is asked, and the reason for every cluster that is not."""
    match expr:
        case TraceById():
            leaf = Leaf(LEAF_ID, print_expr(expr), query.time_range)
            return dict.fromkeys(clusters, (leaf,)), {}
        case SpanSearch():
            return _split_search(expr, query, clusters)


def _split_search(
    expr: SpanSearch, query: Query, clusters: Sequence[str]
) -> tuple[Mapping[str, tuple[Leaf, ...]], dict[str, str]]:
    conditions, selector = expr.selector.split_label(CLUSTER)
    text = print_expr(replace(expr, selector=selector))
    leaves, pruned = {}, {}
    for cluster in clusters:
        broken = next((matcher for matcher in conditions if not matcher.matches(cluster)), None)
        if broken is None:
            leaves[cluster] = (Leaf(LEAF_ID, text, query.time_range, limit_of(query), query.direction),)
        else:
            pruned[cluster] = f"the query asks for {broken}"
    return leaves, pruned

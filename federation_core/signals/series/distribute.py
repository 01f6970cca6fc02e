"""What every cluster is asked about its series.

Rule: `cluster` is a virtual label, decided here and never sent: a selector whose conditions on it reject a cluster is
not that cluster's, and a cluster with no selector left is not asked. Each is asked for as many rows as the whole
answer may have, so the answer's first rows are certain to be among them.
"""

from __future__ import annotations

from collections.abc import Sequence

from federation_core.errors import UnsupportedQuery
from federation_core.labels import CLUSTER, EXPORTED_CLUSTER, Matcher, Selector, backend_accepts
from federation_core.plan import Leaf
from federation_core.query import Query
from federation_core.signals import Split
from federation_core.signals.series.expr import Discovery, Question, to_text

LEAF_ID = "found"


def split(expr: Discovery, query: Query, clusters: Sequence[str]) -> Split:
    """Ask every cluster that some selector accepts.

    Raises UnsupportedQuery: metadata by the label `exported_cluster`, which no backend knows.
    """
    if expr.question is Question.METADATA and _names(expr, EXPORTED_CLUSTER):
        raise UnsupportedQuery(f"metadata by {EXPORTED_CLUSTER} is not supported", construct=EXPORTED_CLUSTER)
    leaves, pruned = {}, {}
    for cluster in clusters:
        kept, broken = _for_cluster(expr.selectors, cluster)
        if kept:
            text = to_text(Discovery(expr.question, kept, expr.label))
            leaves[cluster] = (Leaf(LEAF_ID, text, query.time_range, query.limit),)
        else:
            pruned[cluster] = f"the selectors ask for {', '.join(dict.fromkeys(map(str, broken)))}"
    note = f"union at the centre{f', the first {query.limit}' if query.limit else ''}"
    return Split(leaves=leaves, root=to_text(expr), pruned=pruned, notes=(note,))


def _for_cluster(selectors: Sequence[Selector], cluster: str) -> tuple[tuple[Selector, ...], list[Matcher]]:
    """Return the selectors that accept the cluster, without their conditions on it, and what rejects it."""
    kept: dict[Selector, None] = {}
    broken: list[Matcher] = []
    for selector in selectors:
        conditions, rest = selector.split_label(CLUSTER)
        breaking = [matcher for matcher in conditions if not matcher.matches(cluster)]
        broken += breaking
        if not breaking:
            kept[backend_accepts(rest)] = None
    return tuple(kept), broken


def _names(expr: Discovery, label: str) -> bool:
    return any(matcher.label == label for selector in expr.selectors for matcher in selector.matchers)

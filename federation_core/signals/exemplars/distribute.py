"""What every cluster is asked for its exemplars.

Rule: `cluster` is a virtual label, decided here and never sent: a selector whose conditions on it reject a cluster is
not that cluster's, and a cluster with no selector left is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from federation_core.labels import CLUSTER, Matcher, Selector, backend_accepts
from federation_core.plan import Leaf
from federation_core.query import Query
from federation_core.signals import Split
from federation_core.signals.exemplars.expr import Wanted, to_text

LEAF_ID = "exemplars"


def split(expr: Wanted, query: Query, clusters: Sequence[str]) -> Split:
    """Ask every cluster that some selector accepts."""
    leaves, pruned = {}, {}
    for cluster in clusters:
        kept, broken = _for_cluster(expr.selectors, cluster)
        if kept:
            leaves[cluster] = (Leaf(LEAF_ID, to_text(Wanted(kept)), query.time_range),)
        else:
            pruned[cluster] = f"the selectors ask for {', '.join(dict.fromkeys(map(str, broken)))}"
    return Split(leaves=leaves, root=to_text(expr), pruned=pruned, notes=("union at the centre",))


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

"""What every cluster is asked for a log search.

Rule: `cluster` is a virtual label, decided here and never sent: a cluster that its conditions accept gets the
query without them, one they reject is left out and told why. Every cluster is asked for as many entries as the
whole answer may have, so the answer's first entries are certain to be among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from federation_core.errors import UnsupportedQuery
from federation_core.labels import CLUSTER, Matcher
from federation_core.plan import Leaf
from federation_core.query import Query
from federation_core.signals.logs.expr import LabelFilter, LogQuery, print_query

LEAF_ID = "entries"
#: Entries of an answer where the query names no limit (Grafana Loki documentation, "HTTP API").
DEFAULT_LIMIT = 100
#: Under this name a store's own `cluster` label is shown, where it is not the cluster's name.
EXPORTED_CLUSTER = "exported_cluster"


def limit_of(query: Query) -> int:
    """Return how many entries the answer may have."""
    return query.limit or DEFAULT_LIMIT


def split(
    expr: LogQuery, query: Query, clusters: Sequence[str]
) -> tuple[Mapping[str, tuple[Leaf, ...]], dict[str, str]]:
    """Return the leaves of every cluster that is asked, and the reason for every cluster that is not.

    Raises UnsupportedQuery: a condition on `exported_cluster`, which exists only in answers.
    """
    conditions, local = without_cluster(expr)
    text = print_query(local)
    leaves, pruned = {}, {}
    for cluster in clusters:
        broken = next((matcher for matcher in conditions if not matcher.matches(cluster)), None)
        if broken is None:
            leaves[cluster] = (Leaf(LEAF_ID, text, query.time_range, limit_of(query), query.direction),)
        else:
            pruned[cluster] = f"the query asks for {broken}"
    return leaves, pruned


def without_cluster(expr: LogQuery) -> tuple[tuple[Matcher, ...], LogQuery]:
    """Return the conditions on the virtual label `cluster`, and the query without them.

    Raises UnsupportedQuery: a condition on `exported_cluster`, which exists only in answers.
    """
    in_selector, selector = expr.selector.split_label(CLUSTER)
    in_filters = tuple(f.matcher for f in expr.label_filters if f.matcher.label == CLUSTER)
    stages = tuple(s for s in expr.stages if not (isinstance(s, LabelFilter) and s.matcher.label == CLUSTER))
    named = {matcher.label for matcher in selector.matchers} | {f.matcher.label for f in expr.label_filters}
    if EXPORTED_CLUSTER in named:
        raise UnsupportedQuery(f"conditions on {EXPORTED_CLUSTER} are not supported", construct=EXPORTED_CLUSTER)
    return in_selector + in_filters, replace(expr, selector=selector, stages=stages)

"""A leaf as one cluster sees it: without the virtual label `cluster`.

Rule: conditions on the label are decided here, per selector and cluster, and leave the text. A selector that rejects a
cluster is an empty vector there, and what is built on it is folded away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from federation_core.labels import CLUSTER, Matcher, backend_accepts
from federation_core.signals.metrics.distributive import is_constant
from federation_core.signals.metrics.expr import (
    Aggregate,
    Binary,
    Expr,
    MatrixSelector,
    VectorSelector,
    children,
    map_children,
    selectors,
)
from federation_core.signals.metrics.printer import to_text


def as_cluster_sees(expr: Expr) -> Expr:
    """Take the virtual label out of groupings and matchings; conditions on it stay in the selectors.

    >>> from federation_core.signals.metrics.parse import parse
    >>> from federation_core.signals.metrics.printer import to_text
    >>> to_text(as_cluster_sees(parse('sum by (cluster, a) (x{cluster="prod"})')))
    'sum by (a) (x{cluster="prod"})'
    """
    seen = map_children(expr, as_cluster_sees)
    match seen:
        case Aggregate(grouping=grouping):
            return replace(seen, grouping=replace(grouping, labels=_without_cluster(grouping.labels)))
        case Binary(matching=matching):
            return replace(seen, matching=replace(matching, labels=_without_cluster(matching.labels)))
    return seen


def as_labelled_backend_sees(leaf: Expr) -> Expr:
    """Put the label back, for a backend of which every series has it, or none: what a leaf computes always keeps it.

    Where every series has it, an aggregation without it would be matched with what still has it, in vain.

    >>> from federation_core.signals.metrics.parse import parse
    >>> from federation_core.signals.metrics.printer import to_text
    >>> to_text(as_labelled_backend_sees(parse("x * on (a) max by (a) (y) > sum without (b) (z)")))
    'x * on (cluster, a) max by (cluster, a) (y) > sum without (b) (z)'
    """
    seen = map_children(leaf, as_labelled_backend_sees)
    match seen:
        case Aggregate(grouping=grouping) if not grouping.without:
            return replace(seen, grouping=replace(grouping, labels=(CLUSTER, *grouping.labels)))
        case Binary(matching=matching) if matching.on:
            return replace(seen, matching=replace(matching, labels=(CLUSTER, *matching.labels)))
    return seen


def _without_cluster(labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(label for label in labels if label != CLUSTER)


def localise(leaf: Expr, cluster: str) -> Expr | None:
    """Decide a leaf's conditions on the virtual label for one cluster; None where the leaf is empty there.

    A leaf holds nothing that makes something out of an empty vector, so an operand that is empty empties what is over
    it; except that `or` is then its other side, and `unless` its left one.

    >>> from federation_core.signals.metrics.parse import parse
    >>> from federation_core.signals.metrics.printer import to_text
    >>> to_text(localise(parse('rate(x{cluster=~"p.*",b="1"}[5m])'), "prod"))
    'rate(x{b="1"}[5m])'
    >>> to_text(localise(parse('x{cluster="dev"} or y'), "prod"))
    'y'
    >>> localise(parse('x{cluster="dev"} + y'), "prod") is None
    True
    """
    match leaf:
        case VectorSelector(selector=selector) | MatrixSelector(selector=selector):
            conditions, rest = selector.split_label(CLUSTER)
            accepted = all(matcher.matches(cluster) for matcher in conditions)
            return replace(leaf, selector=backend_accepts(rest)) if accepted else None
        case Binary(operator="or", left=left, right=right):
            here, there = localise(left, cluster), localise(right, cluster)
            if here is None or there is None:
                return there if here is None else here
            return replace(leaf, left=here, right=there)
        case Binary(operator="unless", left=left, right=right):
            kept, taken = localise(left, cluster), localise(right, cluster)
            return kept if kept is None or taken is None else replace(leaf, left=kept, right=taken)
    seen = {child: localise(child, cluster) for child in children(leaf) if not is_constant(child)}
    if None in seen.values():
        return None
    return map_children(leaf, lambda child: seen.get(child) or child)


def texts_by_cluster(leaf: Expr, clusters: Iterable[str]) -> dict[str, str | None]:
    """Return cluster → the leaf's text for it, None where the leaf is empty there.

    Clusters that fulfil the same of its conditions have the same text, which is made once.
    """
    conditions = [matcher for node in selectors(leaf) for matcher in node.selector.split_label(CLUSTER)[0]]
    made: dict[tuple[bool, ...], str | None] = {}
    found = {}
    for cluster in clusters:
        fulfilled = tuple(matcher.matches(cluster) for matcher in conditions)
        if fulfilled not in made:
            here = localise(leaf, cluster)
            made[fulfilled] = None if here is None else to_text(here)
        found[cluster] = made[fulfilled]
    return found


def rejections(expr: Expr, cluster: str) -> Iterator[Matcher]:
    """Yield the conditions on the virtual label that reject a cluster."""
    for node in selectors(expr):
        yield from (m for m in node.selector.split_label(CLUSTER)[0] if not m.matches(cluster))

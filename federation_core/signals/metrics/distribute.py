"""The planner: one expression becomes leaves that clusters answer and a root that puts their answers together.

Ground rule: correctness outranks speed. The root over the leaves equals the expression over all series, each with its
label `cluster`. A rewrite that is not proven (`distributive`) is not made: its operands are shipped instead.

`cluster` is virtual: backends do not have it. Conditions on it are decided here, per selector and cluster, and leave
the text; a selector that rejects a cluster is an empty vector there, and what is built on it is folded away. Groupings
and matchings lose the label on the way down, and every leaf's series get it on arrival.
The before/after pairs in tests/fixtures/distribute are the specification of these rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_lowercase

from federation_core.errors import InvalidRequest
from federation_core.labels import CLUSTER, NAME, Matcher, MatchOp, Selector
from federation_core.plan import Leaf
from federation_core.query import Query
from federation_core.signals import Split
from federation_core.signals.metrics.distributive import is_constant, is_local, is_splittable, why_not_local
from federation_core.signals.metrics.expr import (
    Aggregate,
    Binary,
    Expr,
    MatrixSelector,
    VectorSelector,
    map_children,
    map_selectors,
    selectors,
)
from federation_core.signals.metrics.parse import parse, parse_root
from federation_core.signals.metrics.printer import to_text

#: A root names a leaf as a metric. No other selector occurs in a root, so the name cannot be mistaken.
LEAF_PREFIX = "leaf:"


@dataclass(slots=True)
class Leaves:
    """The leaves of one query while it is being split: what is the same question to a cluster is one leaf."""

    ids: dict[Expr, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, expr: Expr, why: str) -> VectorSelector:
        """Make the expression a leaf and return the reference that stands for it in the root."""
        leaf = as_cluster_sees(expr)
        leaf_id = self.ids.setdefault(leaf, _leaf_id(len(self.ids)))
        self.notes.append(f"leaf {leaf_id}, in each cluster: {to_text(leaf)} ({why})")
        return leaf_reference(leaf_id)


def leaf_reference(leaf_id: str) -> VectorSelector:
    """Return the node that stands for a leaf in a root."""
    return VectorSelector(Selector((Matcher(NAME, MatchOp.EQ, LEAF_PREFIX + leaf_id),)))


def keep_constant(expr: Expr, leaves: Leaves) -> Expr | None:
    """What reads no series stays where it is: it is one value, not one per cluster."""
    return expr if is_constant(expr) else None


def push_local(expr: Expr, leaves: Leaves) -> Expr | None:
    """What keeps the label `cluster` throughout is answered by each cluster as a whole."""
    return leaves.add(expr, "local: every series depends on one cluster alone") if is_local(expr) else None


def split_average(expr: Expr, leaves: Leaves) -> Expr | None:
    """An average of averages is wrong: the root divides the sum of sums by the sum of counts."""
    if not (isinstance(expr, Aggregate) and expr.operator == "avg" and is_splittable(expr)):
        return None
    parts = [replace(expr, operator=operator) for operator in ("sum", "count")]
    total, count = (Aggregate("sum", leaves.add(part, f"part of {to_text(expr)}"), expr.grouping) for part in parts)
    return Binary("/", total, count)


def split_count(expr: Expr, leaves: Leaves) -> Expr | None:
    """Counts of clusters are added up."""
    if not (isinstance(expr, Aggregate) and expr.operator == "count" and is_splittable(expr)):
        return None
    return replace(expr, operator="sum", operand=leaves.add(expr, "part: the root adds the counts"))


def split_same(expr: Expr, leaves: Leaves) -> Expr | None:
    """A sum of sums, the least of the least, the topmost of the topmost: the same aggregation once more."""
    if not (isinstance(expr, Aggregate) and is_splittable(expr)):
        return None
    return replace(expr, operand=leaves.add(expr, f"part: the root takes the {expr.operator} of the parts"))


def descend(expr: Expr, leaves: Leaves) -> Expr:
    """Everything else is the root's; its operands are looked at one by one."""
    leaves.notes.append(f"root: {to_text(expr)} ({why_not_local(expr)})")
    return map_children(expr, lambda child: rewrite(child, leaves))


#: Tried in this order; the first that answers decides. The last one always does.
RULES: tuple[Callable[[Expr, Leaves], Expr | None], ...] = (
    keep_constant,
    push_local,
    split_average,
    split_count,
    split_same,
    descend,
)


def rewrite(expr: Expr, leaves: Leaves) -> Expr:
    """Return the root's version of an expression and add what it needs to `leaves`."""
    for rule in RULES:
        found = rule(expr, leaves)
        if found is not None:
            return found
    raise TypeError(f"no rule for a {type(expr).__name__}")


def split(expr: Expr, query: Query, clusters: Sequence[str]) -> Split:
    """Plan an expression over the given clusters.

    Raises InvalidRequest: a range query of a range vector. QueryTooLarge: a leaf or the root, as printed, is larger
    than a text may be (escapes and parentheses make it grow), which is better said before clusters have worked for it.
    """
    leaves = Leaves()
    root = _split_matrix(expr, query, leaves) if isinstance(expr, MatrixSelector) else rewrite(expr, leaves)
    for leaf in leaves.ids:
        parse(to_text(leaf))
    parse_root(to_text(root))
    asked: dict[str, tuple[Leaf, ...]] = {}
    pruned: dict[str, str] = {}
    for cluster in clusters:
        found = {leaf_id: localise(leaf, cluster) for leaf, leaf_id in leaves.ids.items()}
        texts = {leaf_id: to_text(local) for leaf_id, local in found.items() if local is not None}
        if not texts:
            pruned[cluster] = _prune_reason(expr, cluster)
            continue
        asked[cluster] = tuple(Leaf(leaf_id, text, query.time_range) for leaf_id, text in texts.items())
        folded = ", ".join(leaf_id for leaf_id in found if leaf_id not in texts)
        if folded:
            leaves.notes.append(f"{cluster} is not asked for leaf {folded}: its selectors reject this cluster")
    return Split(asked, to_text(root), pruned, tuple(leaves.notes))


def _split_matrix(expr: MatrixSelector, query: Query, leaves: Leaves) -> Expr:
    if query.time_range.step_ms:
        raise InvalidRequest(
            "a range query needs one value per step, and this is a range vector",
            field="query",
            got=to_text(expr),
            expected="a scalar or instant vector, for example rate(…) of it; or an instant query",
        )
    return MatrixSelector(leaves.add(expr, "local: raw samples").selector, expr.window_ms)


def as_cluster_sees(expr: Expr) -> Expr:
    """Take the virtual label out of groupings and matchings; conditions on it stay in the selectors.

    >>> from federation_core.signals.metrics.parse import parse
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


def _without_cluster(labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(label for label in labels if label != CLUSTER)


def localise(leaf: Expr, cluster: str) -> Expr | None:
    """Decide a leaf's conditions on the virtual label for one cluster; None where the leaf is empty there.

    In a leaf every operand that reads series is needed, so one selector that rejects the cluster empties it.

    >>> from federation_core.signals.metrics.parse import parse
    >>> to_text(localise(parse('rate(x{cluster=~"p.*",b="1"}[5m])'), "prod"))
    'rate(x{b="1"}[5m])'
    >>> localise(parse('x{cluster="dev"} + y'), "prod") is None
    True
    """
    conditions = (m for node in selectors(leaf) for m in node.selector.split_label(CLUSTER)[0])
    if not all(matcher.matches(cluster) for matcher in conditions):
        return None
    return map_selectors(leaf, lambda selector: selector.split_label(CLUSTER)[1])


def _prune_reason(expr: Expr, cluster: str) -> str:
    conditions = (m for node in selectors(expr) for m in node.selector.split_label(CLUSTER)[0])
    rejecting = dict.fromkeys(str(matcher) for matcher in conditions if not matcher.matches(cluster))
    if not rejecting:
        return "the query reads no series"
    return f"the query's conditions leave nothing to ask of this cluster: {', '.join(rejecting)}"


def _leaf_id(number: int) -> str:
    """Return a, b, … z, aa, ab, …"""
    prefix = _leaf_id(number // 26 - 1) if number >= 26 else ""
    return prefix + ascii_lowercase[number % 26]


def leaf_ids(root: Expr) -> Mapping[Expr, str]:
    """Return the leaves a root refers to: selector node → leaf id."""
    return {node: node.selector.name.removeprefix(LEAF_PREFIX) for node in selectors(root)}

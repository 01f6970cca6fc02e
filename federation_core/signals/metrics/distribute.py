"""The planner: one expression becomes leaves that clusters answer and a root that puts their answers together.

Ground rule: correctness outranks speed. The root over the leaves equals the expression over all series, each with its
label `cluster`. A rewrite that is not proven (`distributive`) is not made: its operands are shipped instead, and where
they are ranges, the raw samples, so that every valid query has a plan.

A leaf has its own times: the query's, or those of the subquery it is under. Every series gets the label `cluster` on
arrival; see `localise` for what it has to do with the label before.
The before/after pairs in tests/fixtures/distribute are the specification of these rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_lowercase

from federation_core.errors import InvalidRequest, QueryTooLarge
from federation_core.labels import NAME, Matcher, MatchOp, Selector
from federation_core.plan import Leaf
from federation_core.query import MAX_STEPS, Query, TimeRange
from federation_core.signals import Split
from federation_core.signals.metrics.distributive import is_constant, is_local, is_splittable, why_not_local
from federation_core.signals.metrics.expr import (
    Aggregate,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    StringLiteral,
    Subquery,
    VectorSelector,
    map_children,
)
from federation_core.signals.metrics.frame import Grid
from federation_core.signals.metrics.localise import as_cluster_sees, rejections, texts_by_cluster
from federation_core.signals.metrics.moments import resolve, seen_from, subquery_grid
from federation_core.signals.metrics.parse import parse, parse_root
from federation_core.signals.metrics.printer import binary_text, to_text

#: A root names a leaf as a metric. No other selector occurs in a root, so the name cannot be mistaken.
LEAF_PREFIX = "leaf:"
#: No bound (`guards`) can be passed in so few characters, as they are printed: brackets take two, a level takes three.
_CERTAINLY_READABLE = 128


@dataclass(slots=True)
class Leaves:
    """The leaves of one query while it is being split: what is the same question to a cluster is one leaf."""

    ids: dict[tuple[Expr, TimeRange], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    #: Nodes that stay at the root, and why, with the place of each one's note.
    kept: list[tuple[int, Expr, str]] = field(default_factory=list)

    def add(self, expr: Expr, time_range: TimeRange, why: str) -> VectorSelector:
        """Make the expression a leaf and return the reference that stands for it in the root."""
        leaf = as_cluster_sees(expr)
        leaf_id = self.ids.setdefault((leaf, time_range), _leaf_id(len(self.ids)))
        self.notes.append(f"leaf {leaf_id}, in each cluster: {to_text(leaf)} ({why})")
        return leaf_reference(leaf_id)

    def keep(self, expr: Expr, why: str) -> None:
        """Note that a node stays at the root."""
        self.kept.append((len(self.notes), expr, why))
        self.notes.append("")

    def told(self) -> list[str]:
        """Return the notes.

        Operands were met after what they are in: backwards, each node is printed once, however long a chain it is in.
        """
        texts: dict[int, str] = {}
        for place, expr, why in reversed(self.kept):
            if isinstance(expr, Binary):
                left, right = (texts.get(id(side)) or to_text(side) for side in (expr.left, expr.right))
                texts[id(expr)] = binary_text(expr, left, right)
            self.notes[place] = f"root: {texts.get(id(expr)) or to_text(expr)} ({why})"
        return self.notes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands: the grid it is evaluated on, the subquery that made that, and the query's leaves so far."""

    grid: Grid
    leaves: Leaves
    subquery: Subquery | None = None

    def ask(self, expr: Expr, why: str) -> VectorSelector:
        """Make the expression a leaf on this grid.

        Raises QueryTooLarge: the leaf would have more steps than a query may have.
        """
        grid = self.grid
        if grid.steps > MAX_STEPS:
            # Only a subquery makes more of them than the query has.
            node = to_text(self.subquery or expr)
            raise QueryTooLarge(
                f"{node}: a subquery over what spans clusters has {grid.steps} steps, above {MAX_STEPS}, because"
                f" clusters are asked for {to_text(expr)} at every one of them; take a longer step or a shorter range",
                limit="steps",
                asked=grid.steps,
                allowed=MAX_STEPS,
            )
        return self.leaves.add(expr, TimeRange(grid.start_ms, grid.end_ms, grid.step_ms), why)


def leaf_reference(leaf_id: str) -> VectorSelector:
    """Return the node that stands for a leaf in a root."""
    return VectorSelector(Selector((Matcher(NAME, MatchOp.EQ, LEAF_PREFIX + leaf_id),)))


def keep_constant(expr: Expr, place: Place) -> Expr | None:
    """What reads no series stays where it is: it is one value, not one per cluster."""
    return expr if is_constant(expr) else None


def ship_samples(expr: Expr, place: Place) -> Expr | None:
    """A range that the root itself looks at is sent as raw samples, all windows of it at once."""
    if not isinstance(expr, MatrixSelector):
        return None
    first_ms, last_ms = seen_from(expr, place.grid)
    samples = MatrixSelector(expr.selector, last_ms - first_ms + expr.window_ms)
    leaf = place.leaves.add(samples, TimeRange(last_ms, last_ms), "local: raw samples")
    return replace(expr, selector=leaf.selector)


def push_local(expr: Expr, place: Place) -> Expr | None:
    """What keeps the label `cluster` throughout is answered by each cluster as a whole."""
    return place.ask(expr, "local: every series depends on one cluster alone") if is_local(expr) else None


def ask_whether_present(expr: Expr, place: Place) -> Expr | None:
    """Where `absent` only has to know whether there is anything, each cluster says that and no more."""
    if not (isinstance(expr, Call) and expr.function in ("absent", "absent_over_time")):
        return None
    operand = expr.arguments[0]
    ranged = isinstance(operand, MatrixSelector | Subquery)
    # It keeps the names: of several metrics, others would fail for what became equal without them.
    present = Call("last_over_time", (operand,)) if ranged else operand
    if not is_local(present):
        return None
    leaf = place.ask(Aggregate("group", present), f"part of {to_text(expr)}")
    if isinstance(operand, MatrixSelector | VectorSelector):
        # The labels of the answer are read off the selector as it is written.
        written = tuple(matcher for matcher in operand.selector.matchers if matcher.label != NAME)
        leaf = replace(leaf, selector=Selector(leaf.selector.matchers + written))
    return Call("absent", (leaf,))


def split_average(expr: Expr, place: Place) -> Expr | None:
    """An average of averages is wrong: the root divides the sum of sums by the sum of counts."""
    if not (isinstance(expr, Aggregate) and expr.operator == "avg" and is_splittable(expr)):
        return None
    parts = [replace(expr, operator=operator) for operator in ("sum", "count")]
    total, count = (Aggregate("sum", place.ask(part, f"part of {to_text(expr)}"), expr.grouping) for part in parts)
    return Binary("/", total, count)


def split_count(expr: Expr, place: Place) -> Expr | None:
    """Counts of clusters are added up."""
    if not (isinstance(expr, Aggregate) and expr.operator == "count" and is_splittable(expr)):
        return None
    return replace(expr, operator="sum", operand=place.ask(expr, "part: the root adds the counts"))


def split_counted_values(expr: Expr, place: Place) -> Expr | None:
    """How often each value occurs is added up over the clusters, the value being a label by then."""
    if not (isinstance(expr, Aggregate) and expr.operator == "count_values" and is_splittable(expr)):
        return None
    label, grouping = expr.parameter, expr.grouping
    assert isinstance(label, StringLiteral)
    if not grouping.without:
        grouping = replace(grouping, labels=tuple(dict.fromkeys((*grouping.labels, label.value))))
    return Aggregate("sum", place.ask(expr, "part: the root adds the counts of each value"), grouping)


def split_same(expr: Expr, place: Place) -> Expr | None:
    """A sum of sums, the least of the least, the topmost of the topmost: the same aggregation once more."""
    if not (isinstance(expr, Aggregate) and is_splittable(expr)):
        return None
    return replace(expr, operand=place.ask(expr, f"part: the root takes the {expr.operator} of the parts"))


def descend(expr: Expr, place: Place) -> Expr:
    """Everything else is the root's; its operands are looked at one by one, on the grid they are evaluated on."""
    place.leaves.keep(expr, why_not_local(expr) or "a range of values")
    if isinstance(expr, Subquery):
        inner = subquery_grid(expr, place.grid)
        if not inner.steps:
            # No multiple of the step lies in any window: whatever stands here is never looked at.
            return replace(expr, operand=Call("vector", (NumberLiteral(0.0),)))
        place = replace(place, grid=inner, subquery=expr)
    return map_children(expr, lambda child: rewrite(child, place))


#: Tried in this order; the first that answers decides. The last one always does.
RULES: tuple[Callable[[Expr, Place], Expr | None], ...] = (
    keep_constant,
    ship_samples,
    push_local,
    ask_whether_present,
    split_average,
    split_count,
    split_counted_values,
    split_same,
    descend,
)


def rewrite(expr: Expr, place: Place) -> Expr:
    """Return the root's version of an expression and add what it needs to the leaves."""
    if isinstance(expr, Subquery) and not is_constant(expr):
        # Its values over time are no leaf's answer; those of its expression are.
        return descend(expr, place)
    for rule in RULES:
        found = rule(expr, place)
        if found is not None:
            return found
    raise TypeError(f"no rule for a {type(expr).__name__}")


def split(expr: Expr, query: Query, clusters: Sequence[str]) -> Split:
    """Plan an expression over the given clusters.

    Raises InvalidRequest: a range query of a range vector. QueryTooLarge: a leaf or the root, as printed, is larger
    than a text may be (escapes and parentheses make it grow), which is better said before clusters have worked for it.
    """
    _require_value_per_step(expr, query)
    expr = resolve(expr, query.time_range)
    leaves = Leaves()
    root = rewrite(expr, Place(Grid.of(query.time_range), leaves))
    for leaf, _ in leaves.ids:
        _require_readable(leaf)
    root_text = to_text(root)
    parse_root(root_text)
    notes = leaves.told()
    texts = [(leaf_id, when, texts_by_cluster(leaf, clusters)) for (leaf, when), leaf_id in leaves.ids.items()]
    asked: dict[str, tuple[Leaf, ...]] = {}
    pruned: dict[str, str] = {}
    for cluster in clusters:
        found = [(leaf_id, text[cluster], when) for leaf_id, when, text in texts]
        parts = tuple(Leaf(leaf_id, text, when) for leaf_id, text, when in found if text is not None)
        if not parts:
            pruned[cluster] = _prune_reason(expr, cluster)
            continue
        asked[cluster] = parts
        folded = ", ".join(leaf_id for leaf_id, text, _ in found if text is None)
        if folded:
            notes.append(f"{cluster} is not asked for leaf {folded}: its selectors reject this cluster")
    return Split(asked, root_text, pruned, tuple(notes))


def _require_readable(leaf: Expr) -> None:
    """Raise QueryTooLarge if a leaf, as printed, is larger than a text may be."""
    text = to_text(leaf)
    if len(text) > _CERTAINLY_READABLE:
        parse(text)


def _require_value_per_step(expr: Expr, query: Query) -> None:
    if isinstance(expr, MatrixSelector | Subquery | StringLiteral) and query.time_range.step_ms:
        kind = "string" if isinstance(expr, StringLiteral) else "range vector"
        raise InvalidRequest(
            f"a range query needs one value per step, and this is a {kind}",
            field="query",
            got=to_text(expr),
            expected="a scalar or instant vector, for example rate(…) of it; or an instant query",
        )


def _prune_reason(expr: Expr, cluster: str) -> str:
    rejecting = dict.fromkeys(map(str, rejections(expr, cluster)))
    if not rejecting:
        return "the query reads no series"
    return f"the query's conditions leave nothing to ask of this cluster: {', '.join(rejecting)}"


def _leaf_id(number: int) -> str:
    """Return a, b, … z, aa, ab, …"""
    prefix = _leaf_id(number // 26 - 1) if number >= 26 else ""
    return prefix + ascii_lowercase[number % 26]


def leaf_id_of(node: VectorSelector | MatrixSelector) -> str:
    """Return the id of the leaf that a selector of a root stands for."""
    return node.selector.name.removeprefix(LEAF_PREFIX)

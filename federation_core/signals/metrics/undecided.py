"""What cannot be known while a cluster is silent: neither that a series is there nor that it is not.

Rule: a construct that makes a sample out of a missing series has none of it while a cluster that may hold the series
has not answered, and a warning says which. A false alert is worse than a gap that is explained. What only grows or
shrinks with the clusters (sums, counts, joins, comparisons) keeps its value: the ledger says over whom it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from federation_core.labels import CLUSTER
from federation_core.signals.metrics.distribute import leaf_id_of, leaf_reference
from federation_core.signals.metrics.distributive import is_constant
from federation_core.signals.metrics.expr import (
    Binary,
    Call,
    Expr,
    StringLiteral,
    VectorSelector,
    children,
    map_children,
    selectors,
)

#: Stands in a root for a vector without series.
NOTHING = leaf_reference("")


@dataclass(frozen=True, slots=True)
class Undecided:
    """Takes out of a root what is undecided, and collects why.

    `silent`: leaf id → clusters that were to answer it and have not. Where the answer is the same without what was
    taken out, it was decided all the same: more series could only have taken more away. That is no proof where one
    such construct looks at another (`is_nested`).
    """

    silent: Mapping[str, tuple[str, ...]]
    said: dict[str, None] = field(default_factory=dict)
    nested: list[Expr] = field(default_factory=list)

    @property
    def is_nested(self) -> bool:
        """Whether what makes a sample of a missing series has been looked for by another such construct."""
        return bool(self.nested)

    def without(self, expr: Expr) -> Expr:
        """Return the expression without what is undecided."""
        match expr:
            case Call(function="absent" | "absent_over_time", arguments=(operand,)):
                if not is_constant(operand) and (missing := self._looked_at(operand)):
                    self._say(expr.function, "whether there is no series", missing)
                    return NOTHING
            case Binary(operator="or", left=left, right=right) if is_constant(right) and not _is_apart(expr):
                if missing := self._looked_at(left):
                    self._say("the right side of or", "whether its left side has no series", missing)
                    return self.without(left)
            case Binary(operator="unless", right=right):
                if missing := self._looked_at(right):
                    self._say("unless", "what its right side takes away", missing)
                    return NOTHING
            case Binary(matching=matching) if (matching.fill_left, matching.fill_right) != (None, None):
                return self._filled(expr)
        return map_children(expr, self.without)

    def _filled(self, node: Binary) -> Expr:
        matching, question = node.matching, "whether a series is missing on that side"
        if matching.fill_left is not None and (missing := self._looked_at(node.left)):
            self._say("fill_left", question, missing)
            matching = replace(matching, fill_left=None)
        if matching.fill_right is not None and (missing := self._looked_at(node.right)):
            self._say("fill_right", question, missing)
            matching = replace(matching, fill_right=None)
        return map_children(replace(node, matching=matching), self.without)

    def _looked_at(self, expr: Expr) -> tuple[str, ...]:
        """Return the clusters that are missing where a construct looks for series, and note what is undecided there."""
        if Undecided(self.silent).without(expr) != expr:
            self.nested.append(expr)
        found = {cluster for node in selectors(expr) for cluster in self.silent.get(leaf_id_of(node), ())}
        return tuple(sorted(found))

    def _say(self, construct: str, question: str, missing: Iterable[str]) -> None:
        self.said[f"{construct} is undecided: {question} cannot be known without {', '.join(missing)}"] = None


def _is_apart(node: Binary) -> bool:
    """Tell whether no series of the left can be matched by the right: all of a leaf's belong to a cluster."""
    return isinstance(node.left, VectorSelector) and node.matching.keeps(CLUSTER) and not _writes_cluster(node.right)


def _writes_cluster(constant: Expr) -> bool:
    """Tell whether what reads no series may be given the label all the same: labels are named by strings alone."""
    return constant == StringLiteral(CLUSTER) or any(map(_writes_cluster, children(constant)))

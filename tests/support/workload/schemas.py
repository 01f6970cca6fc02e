"""Which labels the series of each metric have, read off the expressions that use it.

A metric has the labels of the conditions on it, and those by which it is grouped or matched above. Metrics that are
matched by all their labels have the same ones.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from federation_core.labels import CLUSTER, NAME, Matcher, MatchOp
from federation_core.signals.metrics.expr import Aggregate, Binary, Call, Expr, StringLiteral, children, selectors
from tests.support.workload.patterns import WILDCARD, accepted_texts

#: The label with the upper bound of a classic histogram's bucket.
BOUND = "le"
#: Labels that are no matter of a metric's schema.
GIVEN = frozenset({NAME, CLUSTER, BOUND})
#: What every histogram has besides the bounds that conditions name.
_BOUNDS = frozenset({"0.1", "1", "5", "25"})
#: What a metric takes from its partner may go on to a partner of that one.
_ROUNDS = 3


@dataclass
class Schemas:
    """Labels, values named in conditions, and upper bounds named in conditions, by metric."""

    labels: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    values: dict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    bounds: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @classmethod
    def of(cls, exprs: Sequence[Expr]) -> Schemas:
        """Read the schemas of all metrics."""
        found = cls()
        for expr in exprs:
            found._read(expr, frozenset())
        for _ in range(_ROUNDS):
            for expr in exprs:
                found._unite(expr)
        return found

    def has_bounds(self, name: str) -> bool:
        """Tell whether a metric is a histogram's buckets: by its name, or because a condition names a bound."""
        return name.endswith("_bucket") or bool(self.bounds[name])

    def bounds_of(self, name: str) -> list[str]:
        """Return the upper bounds of a histogram's buckets, in order."""
        return sorted(self.bounds[name] | _BOUNDS | {"+Inf"}, key=float)

    def _read(self, expr: Expr, above: frozenset[str]) -> None:
        """Read what stands below an expression; `above` are the labels that are looked at above it."""
        match expr:
            case Aggregate(grouping=grouping) if not grouping.without:
                above = frozenset(grouping.labels)
            case Binary(left=left, right=right, matching=matching):
                # Labels that the "one" side gives to the result are not the other side's.
                many = (above | set(matching.labels if matching.on else ())) - set(matching.include)
                one = many | set(matching.include)
                self._read(left, one if matching.card == "one-to-many" else many)
                self._read(right, one if matching.card == "many-to-one" else many)
                return
            case Call(function="label_replace" | "label_join", arguments=(_, StringLiteral(value=written), *_)):
                above -= {written}
        for child in children(expr):
            self._read(child, above)
        if not children(expr):
            for node in selectors(expr):
                self.labels[node.selector.name] |= above - GIVEN
                for matcher in node.selector.matchers:
                    self._read_matcher(node.selector.name, matcher)

    def _read_matcher(self, name: str, matcher: Matcher) -> None:
        named = named_values(matcher)
        if matcher.label == BOUND:
            self.bounds[name] |= set(named[:1])
        elif matcher.label not in GIVEN:
            self.labels[name].add(matcher.label)
            if is_positive(matcher):
                self.values[name, matcher.label].update(named)

    def _unite(self, expr: Expr) -> None:
        if isinstance(expr, Binary) and not expr.matching.on:
            names = {*_bare(expr.left), *_bare(expr.right)}
            both = set[str]().union(*(self.labels[name] for name in names)) - set(expr.matching.labels)
            for name in names:
                self.labels[name] |= both
        for child in children(expr):
            self._unite(child)


def _bare(expr: Expr) -> Iterator[str]:
    """Yield the metrics whose labels an expression still has."""
    if isinstance(expr, Aggregate):
        return
    if not children(expr):
        yield from (node.selector.name for node in selectors(expr))
    for child in children(expr):
        yield from _bare(child)


def is_positive(matcher: Matcher) -> bool:
    """Tell whether a condition names what it accepts."""
    return matcher.op in (MatchOp.EQ, MatchOp.RE)


def named_values(matcher: Matcher) -> list[str]:
    """Return the values that a condition names; those that it rejects, if it is negative."""
    if matcher.op in (MatchOp.EQ, MatchOp.NE):
        return [matcher.value] if matcher.value else []
    # A text of wildcards alone is no example; an OpenMetrics file would have to escape quotes and backslashes.
    texts = [text for text in accepted_texts(matcher.value) if text.strip(WILDCARD)]
    return [text for text in texts if text.isprintable() and not set(text) & set('\\"')]

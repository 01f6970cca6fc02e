"""Expressions as trees of rules: how they are printed, what is known of them, what smaller ones there are.

Rule: a tree is only ever made by `make`, which asks the rule for the facts; so every tree, a shrunk one too, is valid
and admissible. The printer is our own, independent of the one under test, and sets parentheses where precedence needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.support.random_queries.facts import Facts, Inadmissible

#: How tightly something binds: an operand that binds looser than its operator wants is put into parentheses.
OR, AND, COMPARISON, SUM, PRODUCT, SIGN, POWER, MODIFIED, ATOM = range(9)


#: Names of functions as a version spells them.
Dialect: TypeAlias = Mapping[str, str]
PROMETHEUS_2: Dialect = {"double_exponential_smoothing": "holt_winters"}
PROMETHEUS_3: Dialect = {}


class Rule:
    """One production of the grammar with its clauses chosen; frozen dataclasses below."""

    binds = ATOM

    def wants(self, place: int) -> int:
        """Return how tightly the operand at a place must bind."""
        return OR

    def facts(self, operands: Sequence[Facts]) -> Facts:
        """Return what is known of the result; raises Inadmissible."""
        raise NotImplementedError

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        """Print the expression from its printed operands."""
        raise NotImplementedError

    def names(self) -> Iterator[str]:
        """Yield the constructs in this node, for the count."""
        raise NotImplementedError

    def simpler(self) -> Iterator[Rule]:
        """Yield the same rule with a clause less."""
        yield from ()


@dataclass(frozen=True)
class Tree:
    """An expression; made by `make`."""

    rule: Any
    operands: tuple[Tree, ...]
    facts: Facts

    def text(self, dialect: Dialect) -> str:
        """Print the expression."""
        printed = []
        for place, operand in enumerate(self.operands):
            text = operand.text(dialect)
            printed.append(f"({text})" if operand.rule.binds < self.rule.wants(place) else text)
        return str(self.rule.write(printed, dialect))

    def constructs(self) -> Counter[str]:
        """Count the constructs of the whole tree."""
        found = Counter(self.rule.names())
        for operand in self.operands:
            found += operand.constructs()
        return found

    def leaves(self) -> Iterator[Tree]:
        """Yield the nodes without operands, in order of the text."""
        if not self.operands:
            yield self
        for operand in self.operands:
            yield from operand.leaves()

    @property
    def depth(self) -> int:
        """Number of nodes down to the deepest leaf, a matrix selector counted as one."""
        return 1 + max((operand.depth for operand in self.operands), default=0)

    @property
    def size(self) -> int:
        """Number of nodes."""
        return 1 + sum(operand.size for operand in self.operands)


def make(rule: Rule, *operands: Tree) -> Tree:
    """Return the tree of a rule over its operands.

    Raises Inadmissible: Prometheus 2.42 and 3 may answer it differently.
    """
    return Tree(rule, operands, rule.facts([operand.facts for operand in operands]))


def smaller(tree: Tree) -> Iterator[Tree]:
    """Yield admissible trees that are a step smaller: an operand instead of the whole, a clause less, anywhere."""
    for operand in tree.operands:
        if operand.facts.kind == tree.facts.kind:
            yield operand
        for below in operand.operands:
            if below.facts.kind == tree.facts.kind:
                yield below
    for rule in tree.rule.simpler():
        yield from _made(rule, tree.operands)
    for place, operand in enumerate(tree.operands):
        for other in smaller(operand):
            yield from _made(tree.rule, (*tree.operands[:place], other, *tree.operands[place + 1 :]))


def _made(rule: Rule, operands: tuple[Tree, ...]) -> Iterator[Tree]:
    try:
        yield make(rule, *operands)
    except Inadmissible:
        return

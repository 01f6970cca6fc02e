"""Binary operators, signs and parentheses.

Known differences of 2.42 from 3, kept out here:
* A filter between vectors drops values before it is looked at whether two rows have the same partner in 2.42, after
  that since 3.9: never where two may have.
* `-v` is an error in 2.42 where two rows are one without their names, although they never meet at a step; since 3.9
  they are united: never over rows of several names.
* `fill` does not exist in 2.42.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.support.random_queries.arithmetic import ARITHMETIC, either
from tests.support.random_queries.facts import Facts, grids_of, require, require_sharp
from tests.support.random_queries.tree import AND, COMPARISON, OR, POWER, PRODUCT, SIGN, SUM, Dialect, Rule

RANKS = {
    "or": OR,
    **dict.fromkeys(("and", "unless"), AND),
    **dict.fromkeys(("==", "!=", ">", "<", ">=", "<="), COMPARISON),
    **dict.fromkeys(("+", "-"), SUM),
    **dict.fromkeys(("*", "/", "%", "atan2"), PRODUCT),
    "^": POWER,
}
SET_OPERATORS = ("and", "or", "unless")
COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")


@dataclass(frozen=True)
class Binary(Rule):
    """A binary operator. `matching` is "on", "ignoring" or nothing; `group` "group_left", "group_right" or nothing."""

    operator: str
    returns_bool: bool = False
    matching: str = ""
    labels: tuple[str, ...] = ()
    group: str = ""
    include: tuple[str, ...] = ()
    upper_case: bool = False

    @property
    def binds(self) -> int:  # type: ignore[override]
        return RANKS[self.operator]

    def wants(self, place: int) -> int:
        # Only the power binds to the right.
        tighter = place == (0 if self.operator == "^" else 1)
        rank = RANKS[self.operator]
        if rank == POWER and not tighter:
            # A sign is unmistakable behind an operator.
            return SIGN
        return rank + tighter

    def facts(self, operands: Sequence[Facts]) -> Facts:
        left, right = operands
        vectors = [facts for facts in operands if facts.kind == "vector"]
        if len(vectors) == 2:
            require(not left.chosen and not right.chosen, "partners of rows that ties decide")
            require(not self._filters or self._is_unambiguous(left, right), "a filter may drop all but one partner")
        known = self._values(left, right)
        return replace(
            known,
            kind="vector" if vectors else "scalar",
            labels=self._labels(left, right) if vectors else frozenset(),
            named=self._named(left, right),
            many_names=any(facts.many_names for facts in operands)
            or (self.operator == "or" and (left.named or right.named)),
            chosen=any(facts.chosen for facts in operands),
            moved=False,
            fixed=left.fixed and right.fixed,
            grids=grids_of(*operands),
        )

    @property
    def _filters(self) -> bool:
        return self.operator in COMPARISONS and not self.returns_bool

    def _is_unambiguous(self, left: Facts, right: Facts) -> bool:
        """Tell whether no two rows can have the same partner and the same labels afterwards."""
        many = right if self.group == "group_right" else left
        if self.group:
            return not many.many_names and not many.labels & set(self.include)
        kept = many.labels & set(self.labels) if self.matching == "on" else many.labels - set(self.labels)
        return not many.many_names and kept == many.labels

    def _labels(self, left: Facts, right: Facts) -> frozenset[str]:
        if left.kind != right.kind:
            return left.labels | right.labels
        if self.operator == "or":
            return left.labels | right.labels
        if self.operator in SET_OPERATORS:
            return left.labels
        if self.group:
            many = left if self.group == "group_left" else right
            return many.labels | set(self.include)
        if self.matching == "on":
            return frozenset(self.labels) - {"__name__"}
        return left.labels - set(self.labels)

    def _named(self, left: Facts, right: Facts) -> bool:
        if self.operator == "or":
            return left.named or right.named
        if self.operator in SET_OPERATORS:
            return left.named
        if self.returns_bool or self.operator not in COMPARISONS:
            return False
        if left.kind == right.kind and self.matching == "on" and not self.group:
            return "__name__" in self.labels
        return left.named or right.named

    def _values(self, left: Facts, right: Facts) -> Facts:
        if self.operator in SET_OPERATORS:
            return left if self.operator != "or" else either(left, right)
        if self.operator in COMPARISONS:
            require_sharp(left, right)
            if self.returns_bool or left.kind == right.kind == "scalar":
                return Facts(whole=True, sign=1, bound=1.0)
            return replace(right if left.kind == "scalar" else left, climbs=False)
        return ARITHMETIC[self.operator](left, right)

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        words = [operands[0], self.operator.upper() if self.upper_case else self.operator]
        if self.returns_bool:
            words.append("bool")
        if self.matching:
            words.append(f"{self.matching} ({', '.join(self.labels)})")
        if self.group:
            words.append(f"{self.group} ({', '.join(self.include)})" if self.include else self.group)
            if not self.include:
                # Without a list, a parenthesis that follows would be read as one.
                words[-1] += " ()"
        return " ".join((*words, operands[1]))

    def names(self) -> Iterator[str]:
        yield self.operator
        if self.returns_bool:
            yield "bool"
        if self.matching:
            yield self.matching
        if self.group:
            yield f"{self.group} with labels" if self.include else self.group

    def simpler(self) -> Iterator[Rule]:
        if self.include:
            yield replace(self, include=())
        if self.group:
            yield replace(self, group="", include=())
        if self.matching:
            yield replace(self, matching="", labels=(), group="", include=())


@dataclass(frozen=True)
class Parentheses(Rule):
    """Parentheses that nothing needs, with or without a comment."""

    comment: bool = False

    def facts(self, operands: Sequence[Facts]) -> Facts:
        return operands[0]

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        return f"( # a comment\n\t{operands[0]} #) another\n)" if self.comment else f"({operands[0]})"

    def names(self) -> Iterator[str]:
        yield "comment" if self.comment else "parentheses"


@dataclass(frozen=True)
class Sign(Rule):
    """A sign before an expression."""

    sign: str
    binds = SIGN

    def wants(self, place: int) -> int:
        return SIGN

    def facts(self, operands: Sequence[Facts]) -> Facts:
        (operand,) = operands
        if self.sign == "+":
            return replace(operand, signed=True)
        require(not operand.many_names, "rows that are one without their names, at different steps")
        return replace(operand, named=False, sign=-operand.sign, negative_zero=True, climbs=False, moved=False)

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        return self.sign + operands[0]

    def names(self) -> Iterator[str]:
        yield f"sign {self.sign}"

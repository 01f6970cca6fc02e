"""Aggregations, binary operators and signs.

Known differences of 2.42 from 3, kept out here:
* `sum` and `avg` are not compensated in 2.42: only over terms that cannot cancel, and rough afterwards.
* `stddev` and `stdvar` of a group whose first value is not finite: 0 in 2.42, NaN in 3; of large numbers close to each
  other, such as times: 2.42 loses the digits that differ.
* `count_values by (…)` forgets a label from the second step on in 2.42, unless the label it writes sorts last.
* `atan2` keeps the metric name in 2.42: only over rows that have none.
* A parameter that changes from step to step is looked at only once in 2.42 where the operand is the same at every step.
* A filter between vectors drops values before it is looked at whether two rows have the same partner in 2.42, after
  that since 3.9: never where two may have.
* topk of infinite k is an error in 2.42, nothing or an error in 3.
* The sign of a zero that was added up differs: nothing is divided by what may be -0.
* `fill`, `limitk`, `limit_ratio` do not exist in 2.42.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tests.support.random_queries.facts import (
    INTEGERS_END,
    NOISY,
    ROUGH,
    SHARP,
    SMALL,
    Facts,
    grids_of,
    require,
    require_sharp,
    worst,
)
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
#: No group has more rows.
MOST_ROWS = 1400


def _sum(facts: Facts) -> Facts:
    require(facts.sign != 0 or facts.counts_exactly, "terms may cancel")
    require(facts.noise < NOISY, "noise adds up")
    exact = facts.counts_exactly
    return replace(
        facts,
        whole=exact,
        noise=SHARP if exact else ROUGH,
        nonzero=facts.nonzero and facts.sign != 0,
        negative_zero=facts.sign < 1 or facts.negative_zero,
        bound=facts.bound * MOST_ROWS,
        # A sum jumps when a row joins in, and may be small beside that.
        climbs=False,
    )


def _avg(facts: Facts) -> Facts:
    require(facts.sign != 0 or facts.bound < SMALL, "terms may cancel")
    noise = ROUGH if facts.sign and facts.noise < NOISY else NOISY
    return replace(facts, whole=False, noise=noise, nonzero=False, negative_zero=True, climbs=False)


def _extreme(facts: Facts) -> Facts:
    return replace(facts, negative_zero=facts.negative_zero or facts.sign < 1, climbs=False)


def _count(facts: Facts) -> Facts:
    return Facts(whole=True, sign=1, nonzero=True, bound=MOST_ROWS)


def _deviation(facts: Facts) -> Facts:
    require_sharp(facts)
    require(facts.finite, "2.42 and 3 begin otherwise with what is not finite")
    require(facts.wide or facts.bound < 1e4, "2.42 rounds the mean of large numbers, beside which they hardly differ")
    return Facts(noise=ROUGH, sign=1, negative_zero=False, bound=facts.bound**2)


def _quantile(facts: Facts) -> Facts:
    require(facts.sign != 0 or facts.noise == SHARP, "neighbours may cancel")
    noise = max(ROUGH, facts.noise)
    return replace(facts, whole=False, noise=noise, nonzero=False, finite=False, negative_zero=True, climbs=False)


def _choice(facts: Facts) -> Facts:
    require_sharp(facts)
    require(not facts.many_names, "what is left may become equal without its name")
    return replace(facts, chosen=True)


def _values(facts: Facts) -> Facts:
    require_sharp(facts)
    return _count(facts)


AGGREGATIONS: dict[str, Callable[[Facts], Facts]] = {
    "sum": _sum,
    "avg": _avg,
    "min": _extreme,
    "max": _extreme,
    "count": _count,
    "group": _count,
    "stddev": _deviation,
    "stdvar": _deviation,
    "quantile": _quantile,
    "topk": _choice,
    "bottomk": _choice,
    "count_values": _values,
}


@dataclass(frozen=True)
class Aggregation(Rule):
    """An aggregation; `clause` is "by", "without" or nothing. `value_label` is the parameter of count_values."""

    operator: str
    clause: str = ""
    labels: tuple[str, ...] = ()
    clause_last: bool = False
    value_label: str = ""
    spelling: str = ""

    def facts(self, operands: Sequence[Facts]) -> Facts:
        *parameters, operand = operands
        require_sharp(*parameters)
        require(not operand.fixed or all(facts.fixed for facts in parameters), "2.42 looks at the parameter once")
        if parameters and self.operator != "quantile":
            require(not math.isinf(parameters[0].bound), "the parameter may be infinite")
        keeps = operand.labels & set(self.labels) if self.clause != "without" else operand.labels - set(self.labels)
        # Of equal values any may be chosen: only what looks at all values alike may be asked about them.
        require(not operand.chosen or not keeps, "which rows there are depends on ties")
        known = AGGREGATIONS[self.operator](operand)
        if self.operator in ("topk", "bottomk"):
            return replace(known, grids=grids_of(*operands), fixed=operand.fixed)
        if self.value_label:
            sorts_last = self.clause != "by" or all(label <= self.value_label for label in self.labels)
            require(sorts_last, "2.42 forgets a label")
            keeps = keeps | {self.value_label}
        return replace(
            known,
            labels=keeps,
            named=self.clause == "by" and "__name__" in self.labels and operand.named,
            many_names=operand.many_names and "__name__" in self.labels,
            chosen=False,
            moved=False,
            fixed=operand.fixed,
            grids=grids_of(*operands),
        )

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        operator = self.spelling or self.operator
        arguments = ", ".join((f'"{self.value_label}"', *operands) if self.value_label else operands)
        if not self.clause:
            return f"{operator}({arguments})"
        clause = f"{self.clause} ({', '.join(self.labels)})"
        return f"{operator}({arguments}) {clause}" if self.clause_last else f"{operator} {clause} ({arguments})"

    def names(self) -> Iterator[str]:
        yield self.operator
        if self.clause:
            yield self.clause

    def simpler(self) -> Iterator[Rule]:
        if self.clause:
            yield replace(self, clause="", labels=())
        for place in range(len(self.labels)):
            yield replace(self, labels=self.labels[:place] + self.labels[place + 1 :])


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
            or (self.operator == "or" and self.matching == "on" and (left.named or right.named)),
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
            return left if self.operator != "or" else _either(left, right)
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
            return operand
        return replace(operand, named=False, sign=-operand.sign, negative_zero=True, climbs=False, moved=False)

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        return self.sign + operands[0]

    def names(self) -> Iterator[str]:
        yield f"sign {self.sign}"


def _either(left: Facts, right: Facts) -> Facts:
    return Facts(
        whole=left.whole and right.whole,
        noise=worst(left, right),
        sign=left.sign if left.sign == right.sign else 0,
        finite=left.finite and right.finite,
        nonzero=left.nonzero and right.nonzero,
        negative_zero=left.negative_zero or right.negative_zero,
        bound=max(left.bound, right.bound),
        climbs=left.climbs and right.climbs,
    )


def _added(left: Facts, right: Facts) -> Facts:
    return _combined(left, right, right.sign)


def _subtracted(left: Facts, right: Facts) -> Facts:
    return _combined(left, right, -right.sign)


def _combined(left: Facts, right: Facts, right_sign: int) -> Facts:
    bound, noise = left.bound + right.bound, worst(left, right)
    cancels = left.sign == 0 or left.sign != right_sign
    if noise > SHARP and cancels:
        require(bound < SMALL, "equal values may cancel")
        noise = NOISY
    if noise == NOISY:
        require(bound < SMALL, "an absolute error among large values")
    return Facts(
        whole=left.whole and right.whole and bound < INTEGERS_END,
        noise=noise,
        sign=0 if cancels else left.sign,
        finite=left.finite and right.finite,
        nonzero=not cancels and (left.nonzero or right.nonzero),
        negative_zero=left.negative_zero or right.negative_zero,
        bound=bound,
    )


def _multiplied(left: Facts, right: Facts) -> Facts:
    noise = worst(left, right)
    for one, other in ((left, right), (right, left)):
        require(one.noise < NOISY or (other.noise == SHARP and other.bound <= 2), "an absolute error is multiplied")
    sign, bound = left.sign * right.sign, left.bound * right.bound
    return Facts(
        whole=left.whole and right.whole and bound < INTEGERS_END,
        noise=noise,
        sign=sign,
        finite=left.finite and right.finite and bound < 1e300,
        nonzero=left.nonzero and right.nonzero and noise == SHARP and bound > 0,
        negative_zero=sign < 1 or left.negative_zero or right.negative_zero,
        bound=bound,
    )


def _divided(left: Facts, right: Facts) -> Facts:
    require(worst(left, right) < NOISY, "an absolute error is multiplied")
    require(not right.negative_zero or right.nonzero, "divided by a zero of either sign")
    sign = left.sign * right.sign
    return Facts(
        noise=worst(left, right),
        sign=sign,
        finite=left.finite and right.nonzero and right.bound < 1e5,
        negative_zero=sign < 1 or left.negative_zero or right.negative_zero,
    )


def _remainder(left: Facts, right: Facts) -> Facts:
    require_sharp(left, right)
    return Facts(
        whole=left.whole and right.whole,
        sign=left.sign,
        finite=left.finite and right.nonzero and right.finite,
        negative_zero=left.sign < 1 or left.negative_zero,
        bound=min(left.bound, right.bound) if right.finite else left.bound,
    )


def _power(left: Facts, right: Facts) -> Facts:
    require(worst(left, right) < NOISY, "an absolute error is multiplied")
    require(right.bound <= 100, "the error grows with the exponent")
    require(not left.negative_zero, "0 ^ -1 of a zero of either sign")
    # A power of a negative number exists for whole exponents alone.
    require(right.noise == SHARP or left.sign > 0, "an exponent that is nearly whole")
    return Facts(noise=ROUGH, sign=1 if left.sign > 0 else 0, finite=False, negative_zero=left.sign < 1)


def _atan2(left: Facts, right: Facts) -> Facts:
    require_sharp(left, right)
    require(not left.named and not right.named, "2.42 keeps the name")
    require(not left.negative_zero and not right.negative_zero, "the angle to a zero of either sign")
    return Facts(noise=NOISY, finite=left.finite and right.finite, bound=4.0)


ARITHMETIC: dict[str, Callable[[Facts, Facts], Facts]] = {
    "+": _added,
    "-": _subtracted,
    "*": _multiplied,
    "/": _divided,
    "%": _remainder,
    "^": _power,
    "atan2": _atan2,
}

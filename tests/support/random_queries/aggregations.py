"""Aggregations.

Known differences of 2.42 from 3, kept out here:
* `sum` and `avg` are not compensated in 2.42: only over terms that cannot cancel, and rough afterwards.
* `stddev` and `stdvar` of a group whose first value is not finite: 0 in 2.42, NaN in 3; of large numbers close to each
  other, such as times: 2.42 loses the digits that differ.
* `count_values by (…)` forgets a label from the second step on in 2.42, unless the label it writes sorts last.
* A parameter that changes from step to step is looked at only once in 2.42 where the operand is the same at every step.
* topk of infinite k is an error in 2.42, nothing or an error in 3.
* `limitk`, `limit_ratio` do not exist in 2.42.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tests.support.random_queries.facts import (
    NOISY,
    ROUGH,
    SHARP,
    SMALL,
    Facts,
    grids_of,
    require,
    require_sharp,
)
from tests.support.random_queries.tree import Dialect, Rule

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

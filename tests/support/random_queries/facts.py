"""What is known of an expression's values before it is evaluated, and the error for one that must not be drawn.

Rule: two right engines may differ in the last digits of a sum, and must then not be asked a question that those digits
decide. `noise` says how far they may differ; every rule of the grammar looks at it and raises `Inadmissible` where it
would matter. A mismatch is therefore never excused afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

#: Both engines compute the same 64 bits.
SHARP = 0
#: The relative error is that of a few roundings.
ROUGH = 1
#: The absolute error is about 1e-13: enough for an answer, not for anything but the gentlest arithmetic above it.
NOISY = 2
#: Above it not every integer is a float64.
INTEGERS_END = 2.0**52
#: An absolute error below 1e-12 needs values below this.
SMALL = 1000.0


class Inadmissible(Exception):
    """The expression is valid, but Prometheus 2.42 and 3 may answer it differently; the message says why."""


@dataclass(frozen=True)
class Facts:
    """What is known of an expression.

    `labels`: the label names that tell the rows of a vector apart. `sign`: 1 for values ≥ 0, -1 for ≤ 0, 0 unknown.
    `bound`: no finite value is larger. `climbs`: a counter whose first value is large beside its growth.
    `wide`: large numbers that lie far apart. `chosen`: which rows there are depends on how ties were broken.
    `fixed`: the same at every step. `many_names`: rows that may differ in their names alone. `moved`: a selector with
    both an offset and `@`. `signed`: below a plus sign. `grids`: (range + offset in ms, step in ms) of the subqueries
    whose left edge moves with the evaluation time.
    """

    kind: str = "vector"
    labels: frozenset[str] = frozenset()
    named: bool = False
    whole: bool = False
    noise: int = SHARP
    sign: int = 0
    finite: bool = True
    nonzero: bool = False
    negative_zero: bool = False
    bound: float = math.inf
    climbs: bool = False
    wide: bool = False
    chosen: bool = False
    fixed: bool = False
    many_names: bool = False
    moved: bool = False
    signed: bool = False
    grids: frozenset[tuple[int, int]] = frozenset()

    @property
    def counts_exactly(self) -> bool:
        """Whether sums of some hundred such values are exact in any order."""
        return self.whole and self.noise == SHARP and self.bound * 1000 < INTEGERS_END


def require(holds: bool, reason: str) -> None:
    """Raise Inadmissible unless the condition holds."""
    if not holds:
        raise Inadmissible(reason)


def require_sharp(*all_facts: Facts) -> None:
    """Raise Inadmissible where a last digit would decide: filters, choices, cuts, differences."""
    require(all(facts.noise == SHARP for facts in all_facts), "a last digit would decide")


def worst(*all_facts: Facts) -> int:
    """Return the noise of values that were made from all of these."""
    return max(facts.noise for facts in all_facts)


def grids_of(*all_facts: Facts) -> frozenset[tuple[int, int]]:
    """Return the subquery grids of all operands."""
    return frozenset().union(*(facts.grids for facts in all_facts))


def admitted_by(known: Callable[[Facts], Facts]) -> Callable[[Facts], bool]:
    """Return what tells whether a rule takes such an operand; `known` raises Inadmissible if not."""

    def admitted(facts: Facts) -> bool:
        try:
            known(facts)
        except Inadmissible:
            return False
        return True

    return admitted

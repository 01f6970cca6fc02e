"""Functions of every value alone: mathematics, dates, bounds.

Known differences of 2.42 from 3, kept out here:
* Date functions of NaN, infinities and huge numbers: Go's conversion to int64 is not defined, each build has its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tests.support.random_queries.facts import NOISY, ROUGH, SHARP, Facts, grids_of, require, require_sharp
from tests.support.random_queries.tree import Dialect, Rule


def _abs(facts: Facts) -> Facts:
    return replace(facts, sign=1, negative_zero=False)


def _cut(facts: Facts) -> Facts:
    require_sharp(facts)
    return replace(facts, whole=facts.finite, negative_zero=True, nonzero=False, bound=facts.bound + 1)


def _rounded(facts: Facts) -> Facts:
    require_sharp(facts)
    return replace(facts, whole=False, negative_zero=True, nonzero=False, finite=False, bound=facts.bound * 2 + 10)


def _sgn(facts: Facts) -> Facts:
    require_sharp(facts)
    return replace(facts, whole=facts.finite, bound=1.0)


def _sqrt(facts: Facts) -> Facts:
    require(facts.noise < NOISY, "the root of a small error is a large one")
    return Facts(noise=facts.noise, sign=1, finite=facts.finite and facts.sign > 0, negative_zero=True)


def _exp(facts: Facts) -> Facts:
    require(facts.noise < NOISY and (facts.noise == SHARP or facts.bound < 1e4), "the error grows with the argument")
    return Facts(noise=ROUGH, sign=1, finite=facts.finite and facts.bound < 700)


def _logarithm(facts: Facts) -> Facts:
    require(facts.noise < NOISY, "the logarithm of a small error is a large one")
    return Facts(noise=NOISY, finite=False, bound=800.0 if facts.finite else math.inf)


def _gentle(facts: Facts) -> Facts:
    """Sine and others whose slope is at most one: an absolute error stays."""
    allowed = 1e6 if facts.noise == SHARP else 200.0
    require(facts.bound < allowed, "an error of many turns")
    return Facts(noise=NOISY, finite=facts.finite, bound=4.0)


def _tangent(facts: Facts) -> Facts:
    require_sharp(facts)
    require(facts.bound < 1000, "an error of many turns")
    return Facts(noise=NOISY, finite=False)


def _within_domain(facts: Facts) -> Facts:
    require_sharp(facts)
    return Facts(noise=NOISY, finite=False)


def _hyperbolic(facts: Facts) -> Facts:
    require(facts.noise == SHARP or (facts.noise == ROUGH and facts.bound < 1e4), "the error grows with the argument")
    return Facts(noise=ROUGH, finite=facts.finite and facts.bound < 700)


def _tanh(facts: Facts) -> Facts:
    return Facts(noise=NOISY, finite=facts.finite, bound=1.0)


def _asinh(facts: Facts) -> Facts:
    require(facts.noise < NOISY, "noise")
    return Facts(noise=NOISY, finite=facts.finite, bound=800.0)


def _factor(facts: Facts) -> Facts:
    require(facts.noise < NOISY, "noise is multiplied")
    return replace(facts, whole=False, noise=ROUGH, bound=facts.bound * 60)


def _date(facts: Facts) -> Facts:
    require_sharp(facts)
    require(facts.finite and facts.bound < 1e11, "the conversion to int64 is not defined")
    return Facts(whole=True, sign=1, bound=10_000.0)


MATHEMATICS: dict[str, Callable[[Facts], Facts]] = {
    "abs": _abs,
    "ceil": _cut,
    "floor": _cut,
    "round": _cut,
    "sgn": _sgn,
    "sqrt": _sqrt,
    "exp": _exp,
    "ln": _logarithm,
    "log2": _logarithm,
    "log10": _logarithm,
    "sin": _gentle,
    "cos": _gentle,
    "tan": _tangent,
    "asin": _within_domain,
    "acos": _within_domain,
    "atan": _gentle,
    "sinh": _hyperbolic,
    "cosh": _hyperbolic,
    "tanh": _tanh,
    "asinh": _asinh,
    "acosh": _within_domain,
    "atanh": _within_domain,
    "rad": _factor,
    "deg": _factor,
}
DATES = ("day_of_month", "day_of_week", "days_in_month", "hour", "minute", "month", "year")


@dataclass(frozen=True)
class Mathematics(Rule):
    """A function of every value, or of the date that a value is; `round` may have a second argument."""

    function: str

    def facts(self, operands: Sequence[Facts]) -> Facts:
        operand = operands[0]
        if self.function in DATES:
            known = _date(operand)
        elif len(operands) == 2:
            require_sharp(operands[1])
            known = _rounded(operand)
        else:
            known = MATHEMATICS[self.function](operand)
        # Which row ties have chosen says nothing of the multiset of values, before or after.
        fixed = self.function not in DATES and all(facts.fixed for facts in operands)
        return replace(
            known,
            labels=operand.labels,
            named=False,
            climbs=False,
            chosen=operand.chosen,
            fixed=fixed,
            grids=grids_of(*operands),
        )

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        return f"{self.function}({', '.join(operands)})"

    def names(self) -> Iterator[str]:
        yield self.function


@dataclass(frozen=True)
class Clamp(Rule):
    """`clamp`, `clamp_min`, `clamp_max`."""

    function: str

    def facts(self, operands: Sequence[Facts]) -> Facts:
        vector, scalars = operands[0], operands[1:]
        # The larger of two limits decides whether there is an answer at all.
        require_sharp(*scalars)
        return replace(
            vector,
            named=False,
            whole=vector.whole and all(facts.whole for facts in scalars),
            sign=vector.sign if all(facts.sign == vector.sign for facts in scalars) else 0,
            finite=vector.finite and all(facts.finite for facts in scalars),
            nonzero=False,
            negative_zero=True,
            climbs=False,
            bound=max(facts.bound for facts in operands),
            fixed=all(facts.fixed for facts in operands),
            grids=grids_of(*operands),
        )

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        return f"{self.function}({', '.join(operands)})"

    def names(self) -> Iterator[str]:
        yield self.function

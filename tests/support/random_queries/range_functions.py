"""Functions of range vectors.

Known differences of 2.42 from 3, kept out here:
* `rate` and `increase` compare the way to a counter's zero with the extrapolation threshold in another order: only over
  counters that begin high (`climbs`), where that way is long in both.
* The same extrapolation is computed in another order of operations: the results are `ROUGH`.
* Compensated sums handle ±Inf otherwise: regressions, deviations and smoothing only over finite values.
* The window of an `@` moves along from the second step on in 2.42 where the rest of the call does: below
  `predict_linear`, whose answer depends on the step, and beside a scalar that has no `@`.
* `mad_over_time`, `first_over_time`, `ts_of_*` do not exist in 2.42.
"""

from __future__ import annotations

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

#: No window holds more samples: two hours in steps of ten seconds.
MOST_SAMPLES = 720


def _same(facts: Facts) -> Facts:
    return replace(facts, climbs=False)


def _extrapolated(facts: Facts) -> Facts:
    require(facts.climbs, "2.42 and 3 extrapolate to the zero of a counter in another order")
    return Facts(noise=ROUGH, sign=1, bound=facts.bound * 3)


def _difference(facts: Facts) -> Facts:
    require_sharp(facts)
    return Facts(noise=ROUGH, finite=facts.finite, negative_zero=True, bound=facts.bound * 3)


def _last_difference(facts: Facts) -> Facts:
    require_sharp(facts)
    return Facts(whole=facts.whole, finite=facts.finite, negative_zero=facts.negative_zero, bound=facts.bound * 2)


def _irate(facts: Facts) -> Facts:
    require_sharp(facts)
    return Facts(noise=ROUGH, sign=max(facts.sign, 0), finite=facts.finite, negative_zero=True, bound=facts.bound * 2)


def _trend(facts: Facts) -> Facts:
    require_sharp(facts)
    require(facts.finite, "compensated sums of infinities differ")
    # The base of a counter dwarfs its growth, and the fit would be rounding.
    require(not facts.climbs, "the trend of large numbers is rounding")
    return Facts(noise=ROUGH, negative_zero=True, bound=facts.bound * 1e4)


def _deviation(facts: Facts) -> Facts:
    require_sharp(facts)
    require(facts.finite, "compensated sums of infinities differ")
    return Facts(noise=ROUGH, sign=1, bound=facts.bound**2)


def _sum(facts: Facts) -> Facts:
    require(facts.sign != 0 or facts.counts_exactly or facts.bound * MOST_SAMPLES < SMALL, "terms may cancel")
    require(facts.noise < NOISY, "noise adds up")
    exact = facts.counts_exactly
    return Facts(
        whole=exact,
        noise=SHARP if exact else ROUGH,
        sign=facts.sign,
        finite=facts.finite,
        negative_zero=True,
        bound=facts.bound * MOST_SAMPLES,
    )


def _average(facts: Facts) -> Facts:
    require(facts.sign != 0 or facts.bound < SMALL, "terms may cancel")
    noise = ROUGH if facts.sign and facts.noise < NOISY else NOISY
    return Facts(noise=noise, sign=facts.sign, finite=facts.finite, negative_zero=True, bound=facts.bound)


def _count(facts: Facts) -> Facts:
    return Facts(whole=True, sign=1, nonzero=True, bound=MOST_SAMPLES)


def _happenings(facts: Facts) -> Facts:
    require_sharp(facts)
    return Facts(whole=True, sign=1, bound=MOST_SAMPLES)


def _quantile(facts: Facts) -> Facts:
    require(facts.sign != 0 or facts.noise == SHARP, "neighbours may cancel")
    return Facts(noise=max(ROUGH, facts.noise), sign=facts.sign, finite=False, negative_zero=True, bound=facts.bound)


#: name → what is known of the result. Labels, steps and names are added by the rule.
FUNCTIONS: dict[str, Callable[[Facts], Facts]] = {
    "rate": _extrapolated,
    "increase": _extrapolated,
    "delta": _difference,
    "irate": _irate,
    "idelta": _last_difference,
    "deriv": _trend,
    "predict_linear": _trend,
    "double_exponential_smoothing": _trend,
    "resets": _happenings,
    "changes": _happenings,
    "sum_over_time": _sum,
    "avg_over_time": _average,
    "min_over_time": _same,
    "max_over_time": _same,
    "last_over_time": _same,
    "count_over_time": _count,
    "present_over_time": _count,
    "stddev_over_time": _deviation,
    "stdvar_over_time": _deviation,
    "quantile_over_time": _quantile,
    "absent_over_time": _count,
}
#: How many scalars stand before and behind the range vector.
SCALARS = {"predict_linear": (0, 1), "double_exponential_smoothing": (0, 2), "quantile_over_time": (1, 0)}


@dataclass(frozen=True)
class RangeFunction(Rule):
    """A function of one range vector, and of scalars before or behind it."""

    function: str

    def facts(self, operands: Sequence[Facts]) -> Facts:
        before = SCALARS.get(self.function, (0, 0))[0]
        matrix = operands[before]
        scalars = [*operands[:before], *operands[before + 1 :]]
        # A parameter that is a last digit beside a limit (0 or 1) would decide whether there is an answer.
        require_sharp(*scalars)
        pinned = self.function != "predict_linear" and all(facts.fixed for facts in scalars)
        require(not matrix.fixed or pinned, "2.42 moves the window of an @ along from the second step on")
        known = FUNCTIONS[self.function](matrix)
        if self.function == "predict_linear":
            require(scalars[0].finite and scalars[0].bound < 1e5, "the prediction would be rounding")
        keeps_name = self.function == "last_over_time"
        return replace(
            known,
            kind="vector",
            labels=frozenset() if self.function == "absent_over_time" else matrix.labels,
            named=keeps_name and matrix.named,
            fixed=pinned and matrix.fixed,
            grids=grids_of(*operands),
        )

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        return f"{dialect.get(self.function, self.function)}({', '.join(operands)})"

    def names(self) -> Iterator[str]:
        yield self.function

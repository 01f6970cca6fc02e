"""What is known of the results of arithmetic and set operators between values.

Known differences of 2.42 from 3, kept out here:
* `atan2` keeps the metric name in 2.42: only over rows that have none.
* The sign of a zero that was added up differs: nothing is divided by what may be -0.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.support.random_queries.facts import (
    INTEGERS_END,
    NOISY,
    ROUGH,
    SHARP,
    SMALL,
    Facts,
    require,
    require_sharp,
    worst,
)


def either(left: Facts, right: Facts) -> Facts:
    """Return what is known of values that are the left's or the right's."""
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

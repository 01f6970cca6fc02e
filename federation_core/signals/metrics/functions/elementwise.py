"""Functions of each value alone: rounding, bounds, logarithms, trigonometry.

Rule: every value is what Go's `math` gives Prometheus, NaN, infinities and the sign of zero included. A bound that is a
scalar has one value per step.
Source: Prometheus documentation, "Functions"; documentation of Go's package math.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from federation_core.signals.metrics.frame import Floats, Frame
from federation_core.signals.metrics.functions.contract import Apply, Argument, Context, Function, frame_argument

#: One result per value.
Kernel: TypeAlias = Callable[[Floats], Floats]


def _of_each(kernel: Kernel) -> Apply:
    def apply(arguments: Sequence[Argument], context: Context) -> Frame:
        frame = frame_argument(arguments[0])
        return replace(frame, values=kernel(frame.values))

    return apply


def larger(left: Floats, right: Floats) -> Floats:
    """Return the larger values as Go's math.Max has it: +Inf beats NaN, NaN beats the rest, 0 beats -0."""
    picked = np.where((left == 0) & (right == 0), left + right, np.maximum(left, right))
    return np.where(np.isposinf(left) | np.isposinf(right), np.inf, picked)


def smaller(left: Floats, right: Floats) -> Floats:
    """Return the smaller values as Go's math.Min has it: -Inf beats NaN, NaN beats the rest, -0 beats 0."""
    return -larger(-left, -right)


def _sign(values: Floats) -> Floats:
    # Zeros keep their sign, NaN stays.
    return np.where(values > 0, 1.0, np.where(values < 0, -1.0, values))


def _log2(values: Floats) -> Floats:
    # Go takes the exponent apart first, which is exact for powers of two and loses digits just above 1.
    fractions, exponents = np.frexp(values)
    return np.where(fractions == 0.5, exponents - 1.0, np.log(fractions) * (1 / np.log(2)) + exponents)


def _log10(values: Floats) -> Floats:
    logarithms: Floats = np.log(values) * np.log10(np.e)
    return logarithms


def _asin(values: Floats) -> Floats:
    # Go goes by way of the arc tangent, which near 1 and -1 loses digits of the arc cosine: the same ones here.
    sizes = np.abs(values)
    others = np.sqrt(1 - values * values)
    angles = np.where(sizes > 0.7, np.pi / 2 - np.arctan(others / sizes), np.arctan(sizes / others))
    return np.copysign(angles, values)


def _sinh(values: Floats) -> Floats:
    # Go computes it out of the exponential, and it is infinite with that, a little earlier than need be.
    return np.where(np.isinf(np.exp(np.abs(values))), np.copysign(np.inf, values), np.sinh(values))


def _cosh(values: Floats) -> Floats:
    return np.where(np.isinf(np.exp(np.abs(values))), np.inf, np.cosh(values))


def _acos(values: Floats) -> Floats:
    return np.pi / 2 - _asin(values)


def _deg(values: Floats) -> Floats:
    return values * 180 / np.pi


def _rad(values: Floats) -> Floats:
    return values * np.pi / 180


def _bounded(frame: Frame, lowest: Floats, highest: Floats) -> Frame:
    """Bound the values at every step; a step whose bounds exclude each other has no values."""
    values = larger(lowest, smaller(highest, frame.values))
    return replace(frame, values=values, present=frame.present & ~(lowest > highest))


def _clamp(arguments: Sequence[Argument], context: Context) -> Frame:
    frame, lowest, highest = map(frame_argument, arguments)
    return _bounded(frame, lowest.values, highest.values)


def _clamp_min(arguments: Sequence[Argument], context: Context) -> Frame:
    frame, lowest = map(frame_argument, arguments)
    return _bounded(frame, lowest.values, np.array(np.inf))


def _clamp_max(arguments: Sequence[Argument], context: Context) -> Frame:
    frame, highest = map(frame_argument, arguments)
    return _bounded(frame, np.array(-np.inf), highest.values)


def _round(arguments: Sequence[Argument], context: Context) -> Frame:
    frame, *nearest = map(frame_argument, arguments)
    # Ties are rounded up. The inverse loses less for steps like 0.1, whose tenfold is exact.
    inverse = 1 / nearest[0].values if nearest else np.array(1.0)
    return replace(frame, values=np.floor(frame.values * inverse + 0.5) / inverse)


def _of_two_scalars(pick: Callable[[Floats, Floats], Floats]) -> Apply:
    def apply(arguments: Sequence[Argument], context: Context) -> Frame:
        left, right = map(frame_argument, arguments)
        return Frame.scalar(context.grid, pick(left.values, right.values))

    return apply


_KERNELS: Mapping[str, Kernel] = {
    "abs": np.abs,
    "acos": _acos,
    "acosh": np.arccosh,
    "asin": _asin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": _cosh,
    "deg": _deg,
    "exp": np.exp,
    "floor": np.floor,
    "ln": np.log,
    "log10": _log10,
    "log2": _log2,
    "rad": _rad,
    "sgn": _sign,
    "sin": np.sin,
    "sinh": _sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}

FUNCTIONS = (
    *(Function(name, _of_each(kernel)) for name, kernel in _KERNELS.items()),
    Function("clamp", _clamp),
    Function("clamp_max", _clamp_max),
    Function("clamp_min", _clamp_min),
    Function("max_of", _of_two_scalars(larger)),
    Function("min_of", _of_two_scalars(smaller)),
    Function("round", _round),
)

"""Arithmetic and comparison of numbers, element by element.

Rule: numbers are IEEE 754 ones and every operation has a value; `%` has the sign of its left operand, and NaN equals
nothing. A filter, which is a comparison without `bool`, keeps some values of one side.
Source: Prometheus documentation, "Operators / Binary operators"; the special cases are those of Go's package math,
which are C's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from federation_core.signals.metrics.expr import COMPARISONS, Binary
from federation_core.signals.metrics.frame import Bools, Floats

_ARITHMETIC: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    # `np.power` takes the root where the exponent is one half, which is NaN of -Inf.
    "^": np.float_power,
    "atan2": np.arctan2,
}
_COMPARISON: Mapping[str, Callable[[Floats, Floats], Bools]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}


def filters(node: Binary) -> bool:
    """Tell whether the operator keeps some of one side's samples as they are, names included."""
    return node.operator in COMPARISONS and not node.returns_bool


def operate(node: Binary, left: Floats, right: Floats, filtered: Floats) -> tuple[Floats, Bools | None]:
    """Return the operator's values and which of them a filter keeps, None being all; it keeps values of `filtered`."""
    if node.operator not in COMPARISONS:
        return _ARITHMETIC[node.operator](left, right), None
    holds = _COMPARISON[node.operator](left, right)
    if node.returns_bool:
        return holds.astype(np.float64), None
    return filtered, holds

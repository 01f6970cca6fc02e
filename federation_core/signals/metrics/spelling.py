"""Numbers in the texts of errors and annotations, spelled as Prometheus spells them.

Source: documentation of Go's package fmt, the verbs %g and %f.
"""

from __future__ import annotations

import math
from decimal import Decimal

#: Powers of ten between which the shortest spelling has no exponent.
_PLAIN = range(-4, 6)


def shortest(value: float) -> str:
    """Spell a number in as few digits as tell it apart.

    >>> shortest(5.0), shortest(0.1), shortest(1234567.0), shortest(float("inf"))
    ('5', '0.1', '1.234567e+06', '+Inf')
    """
    if not math.isfinite(value):
        return _not_finite(value)
    number = Decimal(repr(value)).normalize()
    if number.adjusted() in _PLAIN or not value:
        return f"{number:f}"
    return f"{value:.{len(number.as_tuple().digits) - 1}e}"


def six_decimals(value: float) -> str:
    """Spell a number with six decimals.

    >>> six_decimals(1.5), six_decimals(float("-inf"))
    ('1.500000', '-Inf')
    """
    return f"{value:f}" if math.isfinite(value) else _not_finite(value)


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"

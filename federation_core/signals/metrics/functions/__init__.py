"""The functions of PromQL: one record each, one module per family.

Rule: a function is known here or refused by `parse`. `FUNCTIONS` is the only list of them: what the parser lets
through, what the engine runs and what the planner may push are all read from the same records.
"""

from __future__ import annotations

from collections.abc import Mapping

from federation_core.signals.metrics.functions import (
    absence,
    conversions,
    counters,
    dates,
    elementwise,
    histogram,
    over_time,
    quantile_over_time,
    regression,
    relabelling,
    sorting,
)
from federation_core.signals.metrics.functions.contract import Function

_FAMILIES = (
    absence,
    conversions,
    counters,
    dates,
    elementwise,
    histogram,
    over_time,
    quantile_over_time,
    regression,
    relabelling,
    sorting,
)
FUNCTIONS: Mapping[str, Function] = {function.name: function for family in _FAMILIES for function in family.FUNCTIONS}

__all__ = ["FUNCTIONS", "Function"]

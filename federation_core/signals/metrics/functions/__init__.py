"""The functions of PromQL: one record each, one module per family.

Rule: a function is known here or refused by `parse`. `FUNCTIONS` is the only list of them: what the parser lets
through, what the engine runs and what the planner may push are all read from the same records.
"""

from __future__ import annotations

from collections.abc import Mapping

from federation_core.signals.metrics.functions import counters, histogram, over_time
from federation_core.signals.metrics.functions.contract import Argument, Function

FUNCTIONS: Mapping[str, Function] = {
    function.name: function for function in (*counters.FUNCTIONS, *over_time.FUNCTIONS, *histogram.FUNCTIONS)
}

__all__ = ["FUNCTIONS", "Argument", "Function"]

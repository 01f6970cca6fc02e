"""quantile_over_time and mad_over_time: functions of the samples of each window in order of size.

Rule: windows are laid side by side, as many as fit a bounded space, and sorted row by row.
Source: Prometheus documentation, "Functions / aggregation over time".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from federation_core.signals.metrics.frame import Floats, Frame, Ints
from federation_core.signals.metrics.functions.contract import (
    Argument,
    Context,
    Function,
    frame_argument,
    windows_argument,
)
from federation_core.signals.metrics.functions.runs import Runs
from federation_core.signals.metrics.quantile import quantile_of_sorted, warn_about_quantile
from federation_core.signals.metrics.windows import WindowList, varies

#: Values of windows laid side by side at once.
_SIDE_BY_SIDE = 1_000_000


def _quantile_over_time(arguments: Sequence[Argument], context: Context) -> Frame:
    wanted = frame_argument(arguments[0]).values[0]
    listed = windows_argument(arguments[1]).holding(1, each_step=varies(wanted))
    quantiles = listed.per_step(wanted)
    # A step without any samples wants no quantile.
    warn_about_quantile(quantiles, context.warn)

    def quantile(samples: Floats, runs: Runs) -> Floats:
        return quantile_of_sorted(_sorted(samples), runs.counts, quantiles[runs.index])

    return _side_by_side(listed, context, quantile)


def _mad_over_time(arguments: Sequence[Argument], context: Context) -> Frame:
    return _side_by_side(windows_argument(arguments[0]).holding(1), context, _median_deviation)


def _median_deviation(samples: Floats, runs: Runs) -> Floats:
    ordered = _sorted(samples)
    deviation = _median(_sorted(np.abs(ordered - _median(ordered, runs.counts)[:, None])), runs.counts)
    # From a sample that is NaN nothing deviates by any number.
    return np.where(np.isnan(ordered[:, 0]), np.nan, deviation)


def _median(ordered: Floats, counts: Ints) -> Floats:
    return quantile_of_sorted(ordered, counts, np.full(len(ordered), 0.5))


def _side_by_side(listed: WindowList, context: Context, kernel: Callable[[Floats, Runs], Floats]) -> Frame:
    """Call `kernel(samples, windows)` with the samples of some windows, a row each, filled up with +Inf."""
    values, results = listed.windows.columns.values, np.empty(len(listed.first))
    runs = Runs.of(listed.first, listed.counts, context.check)
    start = 0
    while start < len(runs):
        context.check()
        longest = int(runs.counts[start])
        block = runs.take(slice(start, start + max(1, _SIDE_BY_SIDE // longest)))
        results[block.index] = kernel(_rows(values, block), block)
        start += len(block)
    return listed.frame(results)


def _rows(values: Floats, runs: Runs) -> Floats:
    if len(runs) == 1:
        # It may be longer than all that is otherwise laid side by side, and needs no copy.
        return values[runs.first[0] : runs.first[0] + runs.longest][None]
    places = np.arange(runs.longest)
    inside = places < runs.counts[:, None]
    return np.where(inside, values[np.where(inside, runs.first[:, None] + places, 0)], np.inf)


def _sorted(samples: Floats) -> Floats:
    """Return the rows sorted, NaN before all numbers; what fills a row up stays behind them."""
    # NaN sorts last, whatever its sign: sorted from the largest down and turned around it comes first.
    falling = np.negative(samples)
    falling.sort(axis=1)
    return np.negative(falling, out=falling)[:, ::-1]


FUNCTIONS = (
    Function("quantile_over_time", _quantile_over_time),
    Function("mad_over_time", _mad_over_time),
)

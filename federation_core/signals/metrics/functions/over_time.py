"""The `*_over_time` functions: one value out of the samples of each window.

Rule: Prometheus 3's arithmetic: sums are compensated, a mean outlives a sum beyond float64, extremes pass over NaN.
Source: Prometheus documentation, "Functions / aggregation over time"; behaviour of promql's functions, Prometheus 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from federation_core.signals.metrics.frame import Bools, Floats, Frame, Ints, SampleColumns
from federation_core.signals.metrics.functions.contract import Apply, Argument, Context, Function, windows_argument
from federation_core.signals.metrics.functions.runs import Runs, accumulate, compensated, over_runs
from federation_core.signals.metrics.windows import WindowList

#: Finds one result for each of some windows.
WindowKernel: TypeAlias = Callable[[SampleColumns, Runs], Floats]
#: Finds one result for each listed window at once.
ListKernel: TypeAlias = Callable[[WindowList], Floats]


def _sum(columns: SampleColumns, windows: Runs) -> Floats:
    totals, errors = compensated(windows, lambda places, _: columns.values[places])
    return totals + errors


def _avg(columns: SampleColumns, windows: Runs) -> Floats:
    totals, errors = compensated(windows, lambda places, _: columns.values[places])
    means = totals / windows.counts + errors / windows.counts
    # A sum that left the range of float64 says nothing about the mean.
    lost = np.flatnonzero(~np.isfinite(totals))
    if len(lost):
        means[lost] = _avg_beyond_float64(columns.values, windows.take(lost))
    return means


def _avg_beyond_float64(values: Floats, windows: Runs) -> Floats:
    # Scaling by a power of two loses nothing that would matter beside such a sum.
    halvings = windows.longest.bit_length()
    totals, errors = compensated(windows, lambda places, _: np.ldexp(values[places], -halvings))
    return np.ldexp(totals / windows.counts + errors / windows.counts, halvings)


def _stdvar(columns: SampleColumns, windows: Runs) -> Floats:
    return (_spread_by_pieces if windows.worth_cutting else _spread)(columns.values, windows) / windows.counts


def _spread(values: Floats, windows: Runs) -> Floats:
    """Return the sum of squared distances from the mean, by Welford's method.

    The mean is rounded at every sample, as in Prometheus: of large numbers close to each other it shows.
    """
    means, slips, squares, errors = np.zeros((4, len(windows)))
    for position, places in windows.positions():
        m = len(places)
        samples = values[places]
        delta = samples - (means[:m] + slips[:m])
        accumulate(means, slips, delta / (position + 1))
        accumulate(squares, errors, delta * (samples - (means[:m] + slips[:m])))
    return np.where(np.isfinite(squares), squares + errors, squares)


def _spread_by_pieces(values: Floats, windows: Runs) -> Floats:
    # Seen from the first sample, so that one value many times has exactly no spread.
    origins = values[windows.first]
    totals, slips = compensated(windows, lambda places, of: values[places] - origins[of])
    means = (totals + slips) / windows.counts
    squares, errors = compensated(windows, lambda places, of: np.square(values[places] - origins[of] - means[of]))
    return squares + errors


def _stddev(columns: SampleColumns, windows: Runs) -> Floats:
    return np.sqrt(_stdvar(columns, windows))


def _latest_extreme(wins: Callable[[Floats, Floats], Bools]) -> WindowKernel:
    """Return when, in seconds, a window has its extreme for the last time; nothing but NaN is extreme at its end."""

    def kernel(columns: SampleColumns, windows: Runs) -> Floats:
        return columns.t_ms[_latest_best(columns.values, wins, windows)] / 1000

    return kernel


def _latest_best(values: Floats, wins: Callable[[Floats, Floats], Bools], runs: Runs) -> Ints:
    if runs.worth_cutting:
        cut = runs.cut()
        best = cut.in_order(_latest_best(values, wins, cut.pieces))
        return best[_latest_best(values[best], wins, cut.runs)]
    best = runs.first.copy()
    for _, places in runs.positions(start=1):
        leading = best[: len(places)]
        samples, leaders = values[places], values[leading]
        better = wins(samples, leaders) | np.isnan(leaders)
        leading[better] = places[better]
    return best


def _extreme(pick: np.ufunc) -> ListKernel:
    def kernel(listed: WindowList) -> Floats:
        # Every second segment is a window; the ones between are ignored. The padding lets a window end at the end.
        edges = np.stack((listed.first, listed.end), axis=1).ravel()
        values = np.append(listed.windows.columns.values, np.nan)
        picked: Floats = pick.reduceat(values, edges)[::2] if len(edges) else np.empty(0)
        return picked

    return kernel


def _first(listed: WindowList) -> Floats:
    oldest: Floats = listed.windows.columns.values[listed.first]
    return oldest


def _last(listed: WindowList) -> Floats:
    newest: Floats = listed.windows.columns.values[listed.end - 1]
    return newest


def _time_of_first(listed: WindowList) -> Floats:
    return listed.windows.columns.t_ms[listed.first] / 1000


def _time_of_last(listed: WindowList) -> Floats:
    return listed.windows.columns.t_ms[listed.end - 1] / 1000


def _present(listed: WindowList) -> Floats:
    return np.ones(len(listed.first))


def _count(listed: WindowList) -> Floats:
    return listed.counts.astype(np.float64)


def _swept(kernel: WindowKernel) -> Apply:
    def apply(arguments: Sequence[Argument], context: Context) -> Frame:
        windows = windows_argument(arguments[0])
        return over_runs(windows.holding(1), context, lambda runs: kernel(windows.columns, runs))

    return apply


def _at_once(kernel: ListKernel) -> Apply:
    def apply(arguments: Sequence[Argument], context: Context) -> Frame:
        listed = windows_argument(arguments[0]).holding(1)
        return listed.frame(kernel(listed))

    return apply


FUNCTIONS = (
    Function("sum_over_time", _swept(_sum)),
    Function("avg_over_time", _swept(_avg)),
    Function("stddev_over_time", _swept(_stddev)),
    Function("stdvar_over_time", _swept(_stdvar)),
    Function("min_over_time", _at_once(_extreme(np.fmin))),
    Function("max_over_time", _at_once(_extreme(np.fmax))),
    Function("count_over_time", _at_once(_count)),
    Function("present_over_time", _at_once(_present)),
    Function("first_over_time", _at_once(_first), keeps_name=True),
    Function("last_over_time", _at_once(_last), keeps_name=True),
    Function("ts_of_first_over_time", _at_once(_time_of_first)),
    Function("ts_of_last_over_time", _at_once(_time_of_last)),
    Function("ts_of_min_over_time", _swept(_latest_extreme(np.less_equal))),
    Function("ts_of_max_over_time", _swept(_latest_extreme(np.greater_equal))),
)

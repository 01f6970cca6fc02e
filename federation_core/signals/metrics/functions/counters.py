"""rate, increase, delta and irate.

Rule: exactly Prometheus 3's arithmetic, in its order of operations. The slope between the first and last sample
of a window is extrapolated to the window's edges where the samples come near them, and by half a sample distance
where they do not; a counter is never extrapolated below zero. A counter that fell was reset: what it had reached
is added.
Source: Prometheus documentation, "Functions"; behaviour of promql's extrapolated rate, Prometheus 3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from federation_core.signals.metrics.frame import Floats, Frame, Ints
from federation_core.signals.metrics.functions.contract import Apply, Function, windows_argument
from federation_core.signals.metrics.windows import Windows

#: A sample is near a window's edge if it is within this many average sample distances of it.
EDGE_NEARNESS = 1.1


def _rate(windows: Windows) -> Frame:
    return extrapolate(windows, is_counter=True, per_second=True)


def _increase(windows: Windows) -> Frame:
    return extrapolate(windows, is_counter=True, per_second=False)


def _delta(windows: Windows) -> Frame:
    return extrapolate(windows, is_counter=False, per_second=False)


def extrapolate(windows: Windows, *, is_counter: bool, per_second: bool) -> Frame:
    """Return the change over every window with at least two samples, extrapolated to the window's edges."""
    listed = windows.holding(2)
    values, times = windows.columns.values, windows.columns.t_ms
    first, last = listed.first, listed.end - 1
    change = values[last] - values[first]
    if is_counter:
        change = _with_resets(values, first, last, change)
    right_ms = listed.times_ms
    to_start = (times[first] - (right_ms - windows.window_ms)) / 1000
    to_end = (right_ms - times[last]) / 1000
    sampled = (times[last] - times[first]) / 1000
    distance = sampled / (last - first)
    near = distance * EDGE_NEARNESS
    to_start = np.where(to_start >= near, distance / 2, to_start)
    if is_counter:
        rising = (change > 0) & (values[first] >= 0)
        to_zero = np.where(rising, sampled * (values[first] / change), to_start)
        to_start = np.where(to_zero < to_start, to_zero, to_start)
    to_end = np.where(to_end >= near, distance / 2, to_end)
    factor = (sampled + to_start + to_end) / sampled
    if per_second:
        factor = factor / (windows.window_ms / 1000)
    return listed.frame(change * factor)


def _with_resets(values: Floats, first: Ints, last: Ints, change: Floats) -> Floats:
    """Add to every window's change the values that its counter fell from, in order of time."""
    # A fall between two series is counted too, but no window spans two series.
    falls = np.flatnonzero(values[1:] < values[:-1]) + 1
    if not len(falls):
        return change
    before = np.searchsorted(falls, first, side="right")
    resets = np.searchsorted(falls, last, side="right") - before
    for nth in range(int(resets.max(initial=0))):
        hit = resets > nth
        change[hit] += values[falls[before[hit] + nth] - 1]
    return change


def _irate(windows: Windows) -> Frame:
    """Return the rate between the last two samples of every window."""
    listed = windows.holding(2)
    values, times = windows.columns.values, windows.columns.t_ms
    last, previous = listed.end - 1, listed.end - 2
    reset = values[last] < values[previous]
    change = np.where(reset, values[last], values[last] - values[previous])
    return listed.frame(change / ((times[last] - times[previous]) / 1000))


def _over_windows(compute: Callable[[Windows], Frame]) -> Apply:
    return lambda arguments, context: compute(windows_argument(arguments[0]))


FUNCTIONS = (
    Function("rate", _over_windows(_rate)),
    Function("increase", _over_windows(_increase)),
    Function("delta", _over_windows(_delta)),
    Function("irate", _over_windows(_irate)),
)

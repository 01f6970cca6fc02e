"""rate, increase, delta, irate, idelta, resets and changes: what a window says of a counter's or gauge's course.

Rule: exactly Prometheus 3's arithmetic, in its order of operations. The slope between the first and last sample
of a window is extrapolated to the window's edges where the samples come near them, and by half a sample distance
where they do not; a counter is never extrapolated below zero. A counter that fell was reset: what it had reached
is added.
Source: Prometheus documentation, "Functions"; behaviour of promql's extrapolated rate, Prometheus 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from federation_core.labels import NAME
from federation_core.signals.metrics.frame import Bools, Floats, Frame, Ints
from federation_core.signals.metrics.functions.contract import Apply, Argument, Context, Function, windows_argument
from federation_core.signals.metrics.functions.runs import Runs, compensated, marks_before
from federation_core.signals.metrics.windows import WindowList, Windows

#: A sample is near a window's edge if it is within this many average sample distances of it.
EDGE_NEARNESS = 1.1
#: Windows extrapolated together: few enough that their state stays in the processor's cache.
_TOGETHER = 16_384
#: How the name of a counter ends, by convention.
COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")


def _rate(arguments: Sequence[Argument], context: Context) -> Frame:
    return _of_counter(windows_argument(arguments[0]), context, per_second=True)


def _increase(arguments: Sequence[Argument], context: Context) -> Frame:
    return _of_counter(windows_argument(arguments[0]), context, per_second=False)


def _of_counter(windows: Windows, context: Context, *, per_second: bool) -> Frame:
    listed = windows.holding(2)
    _say_what_may_be_no_counter(listed, context)
    changes = _change(listed)
    _add_resets(listed, changes, context)
    return _extrapolated(listed, changes, is_counter=True, per_second=per_second)


def _say_what_may_be_no_counter(listed: WindowList, context: Context) -> None:
    labels = listed.windows.columns.labels
    rated = np.flatnonzero(listed.chosen.any(axis=1)).tolist()
    for name in dict.fromkeys(labels[row].get(NAME) for row in rated):
        if name and not name.endswith(COUNTER_SUFFIXES):
            context.info(f'metric might not be a counter, name does not end in {"/".join(COUNTER_SUFFIXES)}: "{name}"')


def _delta(arguments: Sequence[Argument], context: Context) -> Frame:
    listed = windows_argument(arguments[0]).holding(2)
    return _extrapolated(listed, _change(listed), is_counter=False, per_second=False)


def _change(listed: WindowList) -> Floats:
    values = listed.windows.columns.values
    return values[listed.end - 1] - values[listed.first]


def _extrapolated(listed: WindowList, changes: Floats, *, is_counter: bool, per_second: bool) -> Frame:
    """Return the change over every window, extrapolated to the window's edges."""
    windows, right_ms = listed.windows, listed.times_ms
    results = np.empty(len(changes))
    for start in range(0, len(changes), _TOGETHER):
        block = slice(start, start + _TOGETHER)
        first, last = listed.first[block], listed.end[block] - 1
        factors = _factors(windows, first, last, right_ms[block], changes[block] if is_counter else None)
        if per_second:
            factors /= windows.window_ms / 1000
        results[block] = changes[block] * factors
    return listed.frame(results)


def _factors(windows: Windows, first: Ints, last: Ints, right_ms: Ints, rises: Floats | None) -> Floats:
    """Return how much longer than from the first to the last sample the extrapolated windows are.

    `rises` are the changes of counters, None for gauges.
    """
    values, times = windows.columns.values, windows.columns.t_ms
    to_start = (times[first] - (right_ms - windows.window_ms)) / 1000
    to_end = (right_ms - times[last]) / 1000
    sampled = (times[last] - times[first]) / 1000
    distance = sampled / (last - first)
    near = distance * EDGE_NEARNESS
    to_start = np.where(to_start >= near, distance / 2, to_start)
    if rises is not None:
        from_zero = (rises > 0) & (values[first] >= 0)
        to_zero = np.where(from_zero, sampled * (values[first] / rises), to_start)
        to_start = np.where(to_zero < to_start, to_zero, to_start)
    to_end = np.where(to_end >= near, distance / 2, to_end)
    return (sampled + to_start + to_end) / sampled


def _add_resets(listed: WindowList, changes: Floats, context: Context) -> None:
    """Add to every window's change the values that its counter fell from, in order of time."""
    columns = listed.windows.columns
    falls = columns.values[1:] < columns.values[:-1]
    # From the end of one series to the beginning of the next there is no fall.
    ends = columns.offsets[1:-1]
    falls[ends[(ends > 0) & (ends < columns.sample_count)] - 1] = False
    if not falls.any():
        return
    before = marks_before(falls)
    earlier = before[listed.first]
    counts = before[listed.end - 1] - earlier
    fallen = np.flatnonzero(counts)
    reached = columns.values[:-1][falls]
    for block in Runs.of(earlier[fallen], counts[fallen], context.check).blocks():
        windows = fallen[block.index]
        if block.worth_cutting:
            totals, errors = compensated(block, lambda places, _: reached[places])
            changes[windows] += totals + errors
            continue
        for _, places in block.positions():
            changes[windows[: len(places)]] += reached[places]


def _irate(windows: Windows) -> Frame:
    """Return the rate between the last two samples of every window."""
    listed = windows.holding(2)
    newest, previous = _last_two(listed)
    changes = np.where(newest < previous, newest, newest - previous)
    times = windows.columns.t_ms
    return listed.frame(changes / ((times[listed.end - 1] - times[listed.end - 2]) / 1000))


def _idelta(windows: Windows) -> Frame:
    """Return the difference of the last two samples of every window."""
    listed = windows.holding(2)
    newest, previous = _last_two(listed)
    return listed.frame(newest - previous)


def _last_two(listed: WindowList) -> tuple[Floats, Floats]:
    values = listed.windows.columns.values
    return values[listed.end - 1], values[listed.end - 2]


def _resets(windows: Windows) -> Frame:
    """Return how often a value is below its predecessor in every window."""
    values = windows.columns.values
    return _count_between(windows, values[1:] < values[:-1])


def _changes(windows: Windows) -> Frame:
    """Return how often a value differs from its predecessor in every window; NaN after NaN does not."""
    values = windows.columns.values
    nan = np.isnan(values)
    return _count_between(windows, (values[1:] != values[:-1]) & ~(nan[1:] & nan[:-1]))


def _count_between(windows: Windows, marked: Bools) -> Frame:
    """Count the marked neighbours within every window; `marked[i]` is of the samples i and i + 1."""
    listed = windows.holding(1)
    before = marks_before(marked)
    return listed.frame((before[listed.end - 1] - before[listed.first]).astype(np.float64))


def _over_windows(compute: Callable[[Windows], Frame]) -> Apply:
    return lambda arguments, context: compute(windows_argument(arguments[0]))


FUNCTIONS = (
    Function("rate", _rate),
    Function("increase", _increase),
    Function("delta", _delta),
    Function("irate", _over_windows(_irate)),
    Function("idelta", _over_windows(_idelta)),
    Function("resets", _over_windows(_resets)),
    Function("changes", _over_windows(_changes)),
)

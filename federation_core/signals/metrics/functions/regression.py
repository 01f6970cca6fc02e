"""deriv, predict_linear and double_exponential_smoothing: what the samples of each window tend to.

Rule: lines are fitted by least squares with compensated sums, times taken from a moment near the samples; a window of
one value many times has no slope at all. Smoothing runs from the oldest sample to the newest.
Source: Prometheus documentation, "Functions"; behaviour of promql's linear regression, Prometheus 3; C. C. Holt,
"Forecasting seasonals and trends by exponentially weighted moving averages".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from federation_core.errors import QueryExecutionError
from federation_core.signals.metrics.frame import Floats, Frame, Ints, SampleColumns
from federation_core.signals.metrics.functions.contract import (
    Argument,
    Context,
    Function,
    frame_argument,
    windows_argument,
)
from federation_core.signals.metrics.functions.runs import Runs, compensated, marks_before, over_runs
from federation_core.signals.metrics.spelling import six_decimals
from federation_core.signals.metrics.windows import WindowList, varies


def _deriv(arguments: Sequence[Argument], context: Context) -> Frame:
    """Return the slope, per second, of the line through every window with at least two samples."""
    listed = windows_argument(arguments[0]).holding(2)
    t_ms, line = listed.windows.columns.t_ms, _lines(listed.windows.columns)
    return over_runs(listed, context, lambda windows: line(windows, t_ms[windows.first])[0])


def _predict_linear(arguments: Sequence[Argument], context: Context) -> Frame:
    """Return where that line is so many seconds after the evaluation time."""
    listed = windows_argument(arguments[0]).holding(2, each_step=True)
    line = _lines(listed.windows.columns)
    ahead_s = listed.per_step(frame_argument(arguments[1]).values[0])
    # Of the evaluation time: an offset or `@` moves the samples, not what is asked about.
    now_ms = listed.per_step(context.grid.times_ms)

    def height(windows: Runs) -> Floats:
        slope, now = line(windows, now_ms[windows.index])
        now += slope * ahead_s[windows.index]
        return now

    return over_runs(listed, context, height)


def _lines(columns: SampleColumns) -> Callable[[Runs, Ints], tuple[Floats, Floats]]:
    """Return what finds, of windows and an origin in ms for each, the slope of their lines and the height there."""
    values, t_ms = columns.values, columns.t_ms
    # NaN differs from NaN: a window that holds some is not constant.
    changes = marks_before(values[1:] != values[:-1])

    def line(windows: Runs, origin_ms: Ints) -> tuple[Floats, Floats]:
        def terms(places: Ints, of: Ints) -> Floats:
            x, y = (t_ms[places] - origin_ms[of]) / 1000, values[places]
            return np.stack((x, y, x * y, x * x))

        totals, errors = compensated(windows, terms, (4,))
        sum_x, sum_y, sum_xy, sum_xx = totals + errors
        n, last = windows.counts, windows.first + windows.counts - 1
        slope = (sum_xy - sum_x * sum_y / n) / (sum_xx - sum_x * sum_x / n)
        height = sum_y / n - slope * sum_x / n
        constant = changes[last] == changes[windows.first]
        flat = np.where(np.isinf(values[last]), np.nan, 0.0)
        return np.where(constant, flat, slope), np.where(constant, values[last] + flat, height)

    return line


def _double_exponential_smoothing(arguments: Sequence[Argument], context: Context) -> Frame:
    """Return the level, after Holt, that every window with at least two samples ends at.

    Raises QueryExecutionError: a factor is not between 0 and 1.
    """
    windows = windows_argument(arguments[0])
    factors = [frame_argument(argument).values[0] for argument in arguments[1:]]
    each_step = any(map(varies, factors))
    _require_factors(windows.holding(1, each_step=each_step), *factors)
    listed = windows.holding(2, each_step=each_step)
    smoothing, trend = map(listed.per_step, factors)

    def level(block: Runs) -> Floats:
        return _level(windows.columns.values, block, smoothing[block.index], trend[block.index])

    return over_runs(listed, context, level)


def _require_factors(listed: WindowList, smoothing: Floats, trend: Floats) -> None:
    for steps, name, short in ((smoothing, "smoothing", "sf"), (trend, "trend", "tf")):
        used = listed.per_step(steps)
        wrong = used[(used <= 0) | (used >= 1)]
        if len(wrong):
            raise QueryExecutionError(
                f"invalid {name} factor. Expected: 0 < {short} < 1, got: {six_decimals(float(wrong[0]))}"
            )


def _level(values: Floats, windows: Runs, smoothing: Floats, trend: Floats) -> Floats:
    """Return the last level of every window; its first two samples begin level and slope."""
    level = values[windows.first]
    slope = values[windows.first + 1] - level
    later = Runs(windows.first + 1, windows.counts - 1, windows.index, windows.check)
    if later.worth_cutting:
        _smooth_by_pieces(level, slope, values, later, smoothing, trend)
    else:
        _smooth(level, slope, values, later, smoothing, trend)
    return level


def _smooth(level: Floats, slope: Floats, values: Floats, runs: Runs, smoothing: Floats, trend: Floats) -> None:
    """Let the samples of every run move its level and slope, in place."""
    for _, places in runs.positions():
        m = len(places)
        s, t, before = smoothing[:m], trend[:m], level[:m].copy()
        level[:m] = s * values[places] + (1 - s) * (before + slope[:m])
        slope[:m] = t * (level[:m] - before) + (1 - t) * slope[:m]


def _smooth_by_pieces(
    level: Floats, slope: Floats, values: Floats, runs: Runs, smoothing: Floats, trend: Floats
) -> None:
    """Do the same for a few long runs: a piece turns the level and slope it begins with by a matrix and adds a part
    that depends on its samples alone."""
    cut = runs.cut()
    of = cut.of[cut.pieces.index]
    added = np.zeros((2, len(of)))
    _smooth(added[0], added[1], values, cut.pieces, smoothing[of], trend[of])
    added = cut.in_order(added)
    s, t = smoothing[cut.of], trend[cut.of]
    turn = np.stack((1 - s, 1 - s, -t * s, 1 - t * s), axis=-1).reshape(-1, 2, 2)
    turns = _powers(turn, cut.in_order(cut.pieces.counts))
    state = np.stack((level, slope), axis=-1)
    for _, numbers in cut.runs.positions():
        m = len(numbers)
        state[:m] = (turns[numbers] @ state[:m, :, None])[..., 0] + added[:, numbers].T
    level[:], slope[:] = state.T


def _powers(matrices: Floats, exponents: Ints) -> Floats:
    """Return every one of M matrices, M × 2 × 2, to the power of its own exponent."""
    powers = np.broadcast_to(np.eye(2), matrices.shape)
    while exponents.any():
        powers = np.where((exponents % 2 == 1)[:, None, None], powers @ matrices, powers)
        matrices, exponents = matrices @ matrices, exponents // 2
    return powers


FUNCTIONS = (
    Function("deriv", _deriv),
    Function("predict_linear", _predict_linear),
    Function("double_exponential_smoothing", _double_exponential_smoothing),
)

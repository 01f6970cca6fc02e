"""The `*_over_time` functions: one value out of the samples of each window.

Rule: exactly Prometheus 3's arithmetic, in its order of operations (compensated sums from the oldest sample to the
newest). Loops run over the position within a window, for all windows at once, never over samples or steps.
Source: Prometheus documentation, "Functions / aggregation over time".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from federation_core.signals.metrics.compensated import two_sum
from federation_core.signals.metrics.frame import Floats, Frame, Ints
from federation_core.signals.metrics.functions.contract import (
    Apply,
    Argument,
    Context,
    Function,
    frame_argument,
    windows_argument,
)
from federation_core.signals.metrics.quantile import quantile_of_sorted, warn_about_quantile

#: Windows handled together: few enough that their state stays in the processor's cache.
_BLOCK = 16_384
#: Values of windows laid side by side at once, as a quantile needs them.
_SIDE_BY_SIDE = 1_000_000
#: values, first index per window, number of samples per window (descending) → one result per window.
Kernel: TypeAlias = Callable[[Floats, Ints, Ints], Floats]


def _positions(values: Floats, first: Ints, counts: Ints, start: int = 0) -> Iterator[tuple[int, int, Floats]]:
    """Yield (position, m, samples): the samples at this position of the first m windows, which are those that have one.

    `counts` must not rise.
    """
    longest = int(counts[0]) if len(counts) else 0
    having = len(counts) - np.searchsorted(counts[::-1], np.arange(longest), side="right")
    for position in range(start, longest):
        m = int(having[position])
        yield position, m, values[first[:m] + position]


def _add(totals: Floats, errors: Floats, samples: Floats) -> None:
    m = len(samples)
    total, lost = two_sum(totals[:m], samples)
    errors[:m] = np.where(np.isinf(total), 0.0, errors[:m] + lost)
    totals[:m] = total


def _sum(values: Floats, first: Ints, counts: Ints) -> Floats:
    totals, errors = np.zeros(len(first)), np.zeros(len(first))
    for _, _, samples in _positions(values, first, counts):
        _add(totals, errors, samples)
    return totals + errors


def _avg(values: Floats, first: Ints, counts: Ints) -> Floats:
    totals, errors = values[first], np.zeros(len(first))
    for _, _, samples in _positions(values, first, counts, start=1):
        _add(totals, errors, samples)
    means = totals / counts + errors / counts
    # A sum that left the range of float64 says nothing about the mean, which is found step by step instead.
    overflown = np.flatnonzero(~np.isfinite(totals))
    if len(overflown):
        means[overflown] = _running_mean(values, first[overflown], counts[overflown])
    return means


def _running_mean(values: Floats, first: Ints, counts: Ints) -> Floats:
    totals, errors, running = values[first], np.zeros(len(first)), np.zeros(len(first), dtype=np.bool_)
    for position, m, samples in _positions(values, first, counts, start=1):
        total, lost = two_sum(totals[:m], samples)
        turning = np.isinf(total) & ~running[:m]
        totals[:m][turning] /= position
        errors[:m][turning] /= position
        running[:m] |= turning
        n = float(position + 1)
        share = (n - 1) / n
        mean, slip = two_sum(share * totals[:m], samples / n)
        slip = np.where(np.isinf(mean), 0.0, share * errors[:m] + slip)
        totals[:m] = np.where(running[:m], mean, total)
        errors[:m] = np.where(running[:m], slip, errors[:m] + lost)
    return np.where(running, totals + errors, totals / counts + errors / counts)


def _stdvar(values: Floats, first: Ints, counts: Ints) -> Floats:
    size = len(first)
    means, mean_errors = np.zeros(size), np.zeros(size)
    squares, square_errors = np.zeros(size), np.zeros(size)
    for position, m, samples in _positions(values, first, counts):
        delta = samples - (means[:m] + mean_errors[:m])
        _add(means, mean_errors, delta / (position + 1))
        _add(squares, square_errors, delta * (samples - (means[:m] + mean_errors[:m])))
    return (squares + square_errors) / counts


def _stddev(values: Floats, first: Ints, counts: Ints) -> Floats:
    return np.sqrt(_stdvar(values, first, counts))


def _extreme(pick: np.ufunc) -> Kernel:
    def kernel(values: Floats, first: Ints, counts: Ints) -> Floats:
        # Every second segment is a window; the ones between are ignored. The padding lets a window end at the end.
        edges = np.stack((first, first + counts), axis=1).ravel()
        picked: Floats = pick.reduceat(np.append(values, np.nan), edges)[::2]
        return picked

    return kernel


def _last(values: Floats, first: Ints, counts: Ints) -> Floats:
    newest: Floats = values[first + counts - 1]
    return newest


def _present(values: Floats, first: Ints, counts: Ints) -> Floats:
    return np.ones(len(first))


def _count(values: Floats, first: Ints, counts: Ints) -> Floats:
    return counts.astype(np.float64)


def _over_time(kernel: Kernel) -> Apply:
    def apply(arguments: Sequence[Argument], context: Context) -> Frame:
        listed = windows_argument(arguments[0]).holding(1)
        results = np.empty(len(listed.first))
        for block in _blocks(listed.counts, _BLOCK):
            context.check()
            results[block] = kernel(listed.windows.columns.values, listed.first[block], listed.counts[block])
        return listed.frame(results)

    return apply


def _blocks(counts: Ints, size: int) -> Iterator[Ints]:
    """Yield the numbers of all windows in blocks of `size`, the longest windows first."""
    order = np.argsort(-counts, kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _quantile_over_time(arguments: Sequence[Argument], context: Context) -> Frame:
    wanted = frame_argument(arguments[0]).values[0]
    warn_about_quantile(wanted, context.warn)
    listed = windows_argument(arguments[1]).holding(1)
    quantiles = listed.per_step(wanted)
    values, results = listed.windows.columns.values, np.empty(len(listed.first))
    longest = int(listed.counts.max(initial=1))
    for block in _blocks(listed.counts, min(_BLOCK, max(1, _SIDE_BY_SIDE // longest))):
        context.check()
        counts = listed.counts[block]
        places = np.arange(int(counts[0]))
        inside = places < counts[:, None]
        samples = values[np.where(inside, listed.first[block][:, None] + places, 0)]
        results[block] = quantile_of_sorted(_sorted_nan_first(samples, inside), counts, quantiles[block])
    return listed.frame(results)


def _sorted_nan_first(samples: Floats, inside: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Floats:
    # NaN sorts first and padding last: sort by the class (NaN, number, padding), then by value.
    rank = np.where(inside, np.where(np.isnan(samples), 0, 1), 2)
    order = np.lexsort((samples, rank), axis=1)
    return np.take_along_axis(samples, order, axis=1)


FUNCTIONS = (
    Function("sum_over_time", _over_time(_sum)),
    Function("avg_over_time", _over_time(_avg)),
    Function("min_over_time", _over_time(_extreme(np.fmin))),
    Function("max_over_time", _over_time(_extreme(np.fmax))),
    Function("count_over_time", _over_time(_count)),
    Function("last_over_time", _over_time(_last), keeps_name=True),
    Function("present_over_time", _over_time(_present)),
    Function("stddev_over_time", _over_time(_stddev)),
    Function("stdvar_over_time", _over_time(_stdvar)),
    Function("quantile_over_time", _quantile_over_time),
)

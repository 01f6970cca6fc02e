"""Aggregations that tell how a group is spread: stddev, stdvar and quantile.

Rule: the variance is that of the population, from the distances to the group's mean. The group's least value is taken
off first, so that equal values have no variance at all, and small distances between large values are not lost. (Where
the mean is far beyond the deviation, the running mean of Prometheus is off by some 1e-7, depending on the order.)
Source: Prometheus documentation, "Operators / Aggregation operators".
"""

from __future__ import annotations

import numpy as np

from federation_core.signals.metrics.compensated import sum_runs
from federation_core.signals.metrics.frame import Floats, Frame, Ints
from federation_core.signals.metrics.groups import Groups, filled
from federation_core.signals.metrics.quantile import quantile_of_sorted


def variance_of(frame: Frame, groups: Groups, counts: Ints) -> Floats:
    """Return the population's variance of every group and step; NaN or an infinity among its values makes it NaN."""
    sizes, divisors = groups.sizes, np.maximum(counts, 1)
    values = filled(frame, groups, np.nan)
    origins = np.fmin.reduceat(values, groups.starts, axis=0)
    distances = values - np.repeat(origins, sizes, axis=0)
    present = groups.arranged(frame.present)
    means = sum_runs(np.where(present, distances, 0.0), groups.starts) / divisors
    residues = np.where(present, distances - np.repeat(means, sizes, axis=0), 0.0)
    return sum_runs(residues * residues, groups.starts) / divisors


def deviation_of(frame: Frame, groups: Groups, counts: Ints) -> Floats:
    """Return the population's standard deviation of every group and step."""
    deviations: Floats = np.sqrt(variance_of(frame, groups, counts))
    return deviations


def quantiles_of(frame: Frame, groups: Groups, counts: Ints, quantiles: Floats) -> Floats:
    """Return the φ-quantile of every group and step; `quantiles` is φ at every step."""
    result = np.empty(counts.shape)
    values = np.where(frame.present, frame.values, np.nan)
    is_nan = frame.present & np.isnan(frame.values)
    for block, rows in groups.blocks():
        steps, size = values.shape[1], rows.shape[1]
        samples = np.sort(values[rows].transpose(0, 2, 1).reshape(len(block) * steps, size), axis=1)
        nans = np.count_nonzero(is_nan[rows], axis=1).ravel()
        if nans.any():
            # A NaN sorts before all other values; numpy put it behind them, with the absent ones. Counted backwards
            # from the beginning, the places before it are NaN.
            samples = np.take_along_axis(samples, np.arange(size) - nans[:, None], axis=1)
        found = quantile_of_sorted(samples, np.maximum(counts[block], 1).ravel(), np.tile(quantiles, len(block)))
        result[block] = found.reshape(len(block), steps)
    return result


def warnable_quantiles(quantiles: Floats) -> Floats:
    """Return those φ of an aggregation that Prometheus warns of: one beyond each end, or that there is a NaN."""
    if np.isnan(quantiles).any():
        return np.array([np.nan])
    ends = np.array([quantiles.max(), quantiles.min()])
    return ends[(ends > 1) | (ends < 0)]

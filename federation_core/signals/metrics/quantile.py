"""The φ-quantile of a set of samples.

Rule: φ below 0 is -Inf, above 1 +Inf, NaN is NaN; between two samples the value is interpolated; NaN samples sort
before all others.
Source: Prometheus documentation, "Operators / quantile" and "Functions / quantile_over_time".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from federation_core.signals.metrics.frame import Floats, Ints
from federation_core.signals.metrics.spelling import shortest


def quantile_of_sorted(samples: Floats, counts: Ints, quantiles: Floats) -> Floats:
    """Return the quantile of each of W rows: W × N samples sorted along the row, `counts` ≥ 1 of them used."""
    inside = np.where((quantiles >= 0) & (quantiles <= 1), quantiles, 0.0)
    rank = inside * (counts - 1)
    lower = np.floor(rank).astype(np.int64)
    upper = np.minimum(counts - 1, lower + 1)
    weight = rank - lower
    rows = np.arange(len(samples))
    value = samples[rows, lower] * (1 - weight) + samples[rows, upper] * weight
    value = np.where(quantiles < 0, -np.inf, np.where(quantiles > 1, np.inf, value))
    return np.where(np.isnan(quantiles), np.nan, value)


def warn_about_quantile(quantiles: Floats, warn: Callable[[str], None]) -> None:
    """Warn of each quantile outside [0, 1]."""
    for value in np.unique(quantiles[~((quantiles >= 0) & (quantiles <= 1))]).tolist():
        warn(f"quantile value should be between 0 and 1, got {shortest(value)}")

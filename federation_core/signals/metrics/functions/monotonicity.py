"""Counts of buckets that rise, as a quantile needs them, and what was changed for it.

Rule: from the lowest bucket up, a count that differs from the one before by no more than rounding takes its value,
silently; one that is lower takes it too, which is told once per metric: in which buckets, how far, how often and when.
Source: Prometheus documentation, "Functions / histogram_quantile"; behaviour of Prometheus 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from federation_core.labels import Labels
from federation_core.signals.metrics.frame import Bools, Floats, Grid, Ints
from federation_core.signals.metrics.functions.buckets import Histograms, of_metric
from federation_core.signals.metrics.functions.contract import Context
from federation_core.signals.metrics.functions.runs import Runs
from federation_core.signals.metrics.spelling import shortest

#: Relative difference below which two neighbouring counts are the same count with a rounding error.
SMALL_DELTA = 1e-12
_MIN_NORMAL, _MAX = float(np.finfo(np.float64).smallest_normal), float(np.finfo(np.float64).max)
_TOLD = (
    "input to histogram_quantile needed to be fixed for monotonicity "
    "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rising(histograms: Histograms, context: Context) -> tuple[Floats, Floats]:
    """Return the histograms' counts without falls, and by how much each of the N counts had fallen, or 0."""
    counts, owner = histograms.counts, histograms.owner
    # What a count is compared with is the highest before it, unless one was a rounding error higher still.
    highest = _highest_so_far(counts, owner)
    before = np.append(counts[:1], highest[:-1])
    np.copyto(before, counts, where=np.diff(owner, prepend=-1) > 0)
    falling, same = _compared(before, counts)
    falls = np.where(falling, before - counts, 0.0)
    doubtful = np.unique(owner[np.isnan(counts) | (same & (counts > before))])
    if not len(doubtful):
        return highest, falls
    runs = Runs.of(histograms.first[doubtful], histograms.used[doubtful], context.check)
    before = highest[runs.first] = counts[runs.first]
    for _, places in runs.positions(start=1):
        before, found = before[: len(places)], counts[places]
        falling, same = _compared(before, found)
        falls[places] = np.where(falling, before - found, 0.0)
        before = np.where(falling | same, before, found)
        highest[places] = before
    return highest, falls


def _highest_so_far(counts: Floats, owner: Ints) -> Floats:
    """Return for every bucket the highest count of its histogram up to it; NaN is the highest there is."""
    distinct, rank = np.unique(counts, return_inverse=True)
    # The ranks of later histograms are above those of all earlier ones, so that one pass does for all.
    highest: Floats = distinct[np.maximum.accumulate(owner * len(distinct) + rank) - owner * len(distinct)]
    return highest


def _compared(before: Floats, counts: Floats) -> tuple[Bools, Bools]:
    """Tell which counts are lower than those before them, and which are no more than a rounding error away."""
    size, difference = np.abs(before) + np.abs(counts), np.abs(before - counts)
    tiny = (before == 0) | (counts == 0) | (size < _MIN_NORMAL)
    relative = difference / np.minimum(size, _MAX) < SMALL_DELTA
    same = np.where(tiny, difference < SMALL_DELTA * _MIN_NORMAL, relative)
    return (counts < before) & ~same, same


@dataclass(frozen=True, slots=True)
class Repair:
    """What was repaired: the `bounds` of the lowest and the highest bucket, the largest fall, how often, and when."""

    bounds: tuple[float, float]
    fall: float
    histograms: int
    steps: tuple[int, int]

    def and_(self, other: Repair) -> Repair:
        """Return both as one."""
        return Repair(
            (min(self.bounds[0], other.bounds[0]), max(self.bounds[1], other.bounds[1])),
            max(self.fall, other.fall),
            self.histograms + other.histograms,
            (min(self.steps[0], other.steps[0]), max(self.steps[1], other.steps[1])),
        )

    def text(self, grid: Grid) -> str:
        """Tell it, as it follows on the name of the metric."""
        lowest, highest = map(shortest, self.bounds)
        fall = f"{self.fall:.2g}" if math.isfinite(self.fall) else shortest(self.fall)
        first, last = (_timestamp(grid.start_ms + step * grid.step_ms) for step in self.steps)
        return (
            f", from buckets {lowest} to {highest}, with a max diff of {fall}, "
            f"over {self.histograms} samples from {first} to {last}"
        )


@dataclass(frozen=True, slots=True)
class Repairs:
    """What is repaired in the course of a call. `metrics` numbers the groups' metrics, `names` tells them."""

    names: tuple[str, ...]
    metrics: Ints
    found: dict[str, Repair] = field(default_factory=dict)

    @classmethod
    def of(cls, groups: tuple[Labels, ...], *, named: bool) -> Repairs:
        """Begin; metrics are told apart if they are still `named` when a call ends, as they are not by default."""
        told = [of_metric(labels) if named else "" for labels in groups]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(told))}
        return cls(tuple(numbers), np.array([numbers[name] for name in told], dtype=np.int64))

    def note(self, histograms: Histograms, falls: Floats, asked: Bools) -> None:
        """Take down the falls in those of the H histograms whose quantile was `asked`."""
        owner = histograms.owner
        places = np.flatnonzero((falls > 0) & asked[owner])
        metrics = self.metrics[histograms.group[owner[places]]]
        for metric in np.unique(metrics).tolist():
            chosen = places[metrics == metric]
            bounds, owners = histograms.bounds[chosen], np.unique(owner[chosen])
            steps = histograms.step[owners]
            repair = Repair(
                (float(bounds.min()), float(bounds.max())),
                float(falls[chosen].max()),
                len(owners),
                (int(steps.min()), int(steps.max())),
            )
            name = self.names[metric]
            self.found[name] = self.found[name].and_(repair) if name in self.found else repair

    def tell(self, context: Context) -> None:
        """Say what was repaired, once for each metric."""
        for name, repair in self.found.items():
            context.info(_TOLD + name + repair.text(context.grid))


def _timestamp(time_ms: int) -> str:
    seconds = int(time_ms / 1000)
    try:
        return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"
    except OverflowError:
        return f"{seconds} s"

"""Which raw samples each step of a grid sees: windows for range functions, the latest one for instant vectors.

Rule: a window is left-open, (t - window, t], as Prometheus 3 has it. Nothing here loops over samples or steps:
every sample is assigned the first step that sees it, and counts per step turn into index ranges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from federation_core.signals.metrics.frame import Bools, Floats, Frame, Grid, Ints, SampleColumns

#: How far an instant vector looks back for its latest sample (Prometheus' default).
LOOKBACK_MS = 300_000


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The samples of S series seen from T steps: window (s, t) is columns[first[s, t] : end[s, t]].

    `check` raises once nobody waits for the answer any more; long work calls it from time to time.
    """

    columns: SampleColumns
    grid: Grid
    window_ms: int
    offset_ms: int
    first: Ints
    end: Ints
    check: Callable[[], None] = lambda: None

    @property
    def counts(self) -> Ints:
        """Samples per window, S × T."""
        return self.end - self.first

    def samples_at(self, step: int) -> SampleColumns:
        """Return the samples that one step sees; series without any are left out."""
        spans = zip(self.columns.labels, self.first[:, step].tolist(), self.end[:, step].tolist(), strict=True)
        return SampleColumns.of(
            (labels, self.columns.t_ms[first:end], self.columns.values[first:end])
            for labels, first, end in spans
            if first < end
        )

    def holding(self, at_least: int) -> WindowList:
        """List the windows with at least so many samples."""
        chosen = self.counts >= at_least
        return WindowList(self, chosen, self.first[chosen], self.end[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class WindowList:
    """Windows with enough samples, flattened to one dimension of W windows; `chosen` marks them in S × T."""

    windows: Windows
    chosen: Bools
    first: Ints
    end: Ints

    @property
    def counts(self) -> Ints:
        """Samples per window, W."""
        return self.end - self.first

    @property
    def times_ms(self) -> Ints:
        """Right edge of every window, the offset taken into account, W."""
        grid_times = self.windows.grid.times_ms - self.windows.offset_ms
        return np.broadcast_to(grid_times, self.chosen.shape)[self.chosen]

    def per_step(self, values: Floats) -> Floats:
        """Return for every window the value of its step, out of one value per step."""
        return np.broadcast_to(values, self.chosen.shape)[self.chosen]

    def frame(self, results: Floats) -> Frame:
        """Put one result per window back to its series and step."""
        values = np.full(self.chosen.shape, np.nan)
        values[self.chosen] = results
        return Frame(self.windows.columns.labels, self.windows.grid, values, self.chosen)


def seen_by_step(columns: SampleColumns, grid: Grid, shift_ms: int) -> Ints:
    """Return, S × T, the index just behind the last sample with t_ms + shift_ms ≤ the step's time."""
    late = columns.t_ms + (shift_ms - grid.start_ms)
    step = np.where(late > 0, 1, 0) if grid.is_instant else np.maximum(-(-late // grid.step_ms), 0)
    width = grid.steps + 1
    # Samples after the last step fall into one more column, which is cut off.
    places = columns.series_index * width + np.minimum(step, grid.steps)
    arrivals = np.bincount(places, minlength=columns.series_count * width).reshape(-1, width)[:, :-1]
    return np.cumsum(arrivals, axis=1) + columns.offsets[:-1, None]


def windows_of(columns: SampleColumns, grid: Grid, window_ms: int, offset_ms: int) -> Windows:
    """Return the windows of a matrix selector. Stale markers must have been removed from `columns`."""
    end = seen_by_step(columns, grid, offset_ms)
    return Windows(columns, grid, window_ms, offset_ms, seen_by_step(columns, grid, offset_ms + window_ms), end)


def latest(columns: SampleColumns, grid: Grid, offset_ms: int, lookback_ms: int = LOOKBACK_MS) -> Frame:
    """Return the instant vector of a selector: the latest sample within the lookback, unless it is a stale marker."""
    end = seen_by_step(columns, grid, offset_ms)
    found = end > seen_by_step(columns, grid, offset_ms + lookback_ms)
    last = np.where(found, end - 1, 0)
    if columns.sample_count == 0:
        return Frame.empty(grid)
    # The markers are found by their bits before any arithmetic can change them.
    found &= ~columns.stale[last]
    return Frame(columns.labels, grid, columns.values[last], found).pruned()

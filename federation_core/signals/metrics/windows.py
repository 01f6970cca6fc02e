"""Which raw samples each step of a grid sees: windows for range functions, the latest one for instant vectors.

Rule: a window is left-open, (t - window, t], as Prometheus 3 has it. Nothing here loops over samples or steps:
every sample is assigned the first step that sees it, and counts per step turn into index ranges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from federation_core.signals.metrics.frame import Bools, Floats, Frame, Grid, Ints, SampleColumns

#: How far an instant vector looks back for its latest sample (Prometheus' default).
LOOKBACK_MS = 300_000
Number = TypeVar("Number", np.float64, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The samples of S series seen from T steps: window (s, t) is columns[first[s, t] : end[s, t]].

    With `at_ms` every step sees what is seen at that moment.
    """

    columns: SampleColumns
    grid: Grid
    window_ms: int
    offset_ms: int
    first: Ints
    end: Ints
    at_ms: int | None = None

    @property
    def counts(self) -> Ints:
        """Samples per window, S × T."""
        return self.end - self.first

    @property
    def right_ms(self) -> Ints:
        """Right edge of the windows of every step, the offset taken into account, T."""
        seen = self.grid.times_ms if self.at_ms is None else np.full(self.grid.steps, self.at_ms, dtype=np.int64)
        return seen - self.offset_ms

    def samples_at(self, step: int) -> SampleColumns:
        """Return the samples that one step sees; series without any are left out."""
        spans = zip(self.columns.labels, self.first[:, step].tolist(), self.end[:, step].tolist(), strict=True)
        return SampleColumns.of(
            (labels, self.columns.t_ms[first:end], self.columns.values[first:end])
            for labels, first, end in spans
            if first < end
        )

    def holding(self, at_least: int, *, each_step: bool = False) -> WindowList:
        """List the windows with at least so many samples.

        What every step sees alike is listed once, unless `each_step` makes something else of it.
        """
        width = 1 if self.at_ms is not None and not each_step else self.grid.steps
        first, end = self.first[:, :width], self.end[:, :width]
        chosen = end - first >= at_least
        return WindowList(self, chosen, first[chosen], end[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class WindowList:
    """Windows with enough samples, flattened to one dimension of W windows.

    `chosen` marks them in S × T, or in S × 1 where they are those of every step.
    """

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
        return self.per_step(self.windows.right_ms)

    def per_step(self, values: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Return for every window the value of its step, out of one value per step."""
        return np.broadcast_to(values[: self.chosen.shape[1]], self.chosen.shape)[self.chosen]

    def frame(self, results: Floats) -> Frame:
        """Put one result per window back to its series and step."""
        values = np.full(self.chosen.shape, np.nan)
        values[self.chosen] = results
        shape = self.windows.first.shape
        values, chosen = np.broadcast_to(values, shape), np.broadcast_to(self.chosen, shape)
        return Frame(self.windows.columns.labels, self.windows.grid, values, chosen)


def varies(values: Floats) -> bool:
    """Tell whether values, one per step, are not the same number at every step."""
    return bool((values != values[:1]).any())


def seen_by_step(columns: SampleColumns, grid: Grid, shift_ms: int) -> Ints:
    """Return, S × T, the index just behind the last sample with t_ms + shift_ms ≤ the step's time."""
    late = columns.t_ms + (shift_ms - grid.start_ms)
    step = np.where(late > 0, 1, 0) if grid.is_instant else np.maximum(-(-late // grid.step_ms), 0)
    width = grid.steps + 1
    # Samples after the last step fall into one more column, which is cut off.
    places = columns.series_index * width + np.minimum(step, grid.steps)
    arrivals = np.bincount(places, minlength=columns.series_count * width).reshape(-1, width)[:, :-1]
    return np.cumsum(arrivals, axis=1) + columns.offsets[:-1, None]


def windows_of(
    columns: SampleColumns, grid: Grid, window_ms: int, offset_ms: int = 0, at_ms: int | None = None
) -> Windows:
    """Return the windows of a range vector. Stale markers must have been removed from `columns`."""
    seen = _moments(grid, at_ms)
    shape = (columns.series_count, grid.steps)
    first = np.broadcast_to(seen_by_step(columns, seen, offset_ms + window_ms), shape)
    end = np.broadcast_to(seen_by_step(columns, seen, offset_ms), shape)
    return Windows(columns, grid, window_ms, offset_ms, first, end, at_ms)


def latest(columns: SampleColumns, grid: Grid, offset_ms: int = 0, at_ms: int | None = None) -> Frame:
    """Return the instant vector of a selector: the latest sample within the lookback, unless it is a stale marker."""
    if columns.sample_count == 0:
        return Frame.empty(grid)
    last, found = _latest(columns, grid, offset_ms, at_ms)
    return Frame(columns.labels, grid, columns.values[last], found).pruned()


def latest_times(columns: SampleColumns, grid: Grid, offset_ms: int = 0, at_ms: int | None = None) -> Frame:
    """Return the times, in seconds, of the samples that `latest` returns."""
    if columns.sample_count == 0:
        return Frame.empty(grid)
    last, found = _latest(columns, grid, offset_ms, at_ms)
    return Frame(columns.labels, grid, columns.t_ms[last] / 1000, found).pruned()


def _latest(columns: SampleColumns, grid: Grid, offset_ms: int, at_ms: int | None) -> tuple[Ints, Bools]:
    """Return, S × T, the index of the sample that a step sees and whether there is one; there are some samples."""
    seen = _moments(grid, at_ms)
    end = seen_by_step(columns, seen, offset_ms)
    found = end > seen_by_step(columns, seen, offset_ms + LOOKBACK_MS)
    last = np.where(found, end - 1, 0)
    # The markers are found by their bits before any arithmetic can change them.
    found &= ~columns.stale[last]
    shape = (columns.series_count, grid.steps)
    return np.broadcast_to(last, shape), np.broadcast_to(found, shape)


def _moments(grid: Grid, at_ms: int | None) -> Grid:
    return grid if at_ms is None else Grid(at_ms, 0, 1)


def columns_of(frame: Frame) -> SampleColumns:
    """Return the values of a vector as samples at the times of its grid: what a subquery sees of its expression."""
    rows, steps = np.nonzero(frame.present)
    offsets = np.zeros(frame.series_count + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=frame.series_count), out=offsets[1:])
    return SampleColumns(frame.labels, offsets, frame.grid.times_ms[steps], frame.values[rows, steps])

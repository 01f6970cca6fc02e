"""Values of the metrics signal in numpy: `Frame` (a result on a grid) and `SampleColumns` (raw samples).

Rule: absent is not NaN. A frame carries a presence mask beside its values; a value at an absent place means
nothing. Stale markers are a NaN of one exact bit pattern and are told apart by their bits, never by `isnan`,
because arithmetic turns them into an ordinary NaN.
Source of the staleness semantics: Prometheus documentation, "Querying basics / Staleness".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from federation_core.labels import Labels
from federation_core.query import TimeRange

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
FrameKind: TypeAlias = Literal["vector", "scalar"]

#: The bits of the NaN that Prometheus stores where a series ends.
STALE_BITS = 0x7FF0000000000002


@dataclass(frozen=True, slots=True)
class Grid:
    """The evaluation times start, start + step, …: `steps` of them. An instant has step_ms 0 and one step."""

    start_ms: int
    step_ms: int
    steps: int

    @classmethod
    def of(cls, time_range: TimeRange) -> Grid:
        """Return the evaluation times of a time range."""
        return cls(time_range.first_ms, time_range.step_ms, time_range.steps)

    @property
    def end_ms(self) -> int:
        """The last evaluation time."""
        return self.start_ms + self.step_ms * (self.steps - 1)

    @property
    def is_instant(self) -> bool:
        """Whether one moment was asked for, which is answered by a vector rather than a matrix."""
        return self.step_ms == 0

    @property
    def times_ms(self) -> Ints:
        """All evaluation times, int64 of length `steps`."""
        return self.start_ms + self.step_ms * np.arange(self.steps, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A result: values S × T on a grid of T steps, with a presence mask of the same shape.

    A scalar is one row without labels that is present everywhere. Rows of a vector have distinct label sets.
    `unnamed` marks, S, the rows whose metric name is dropped at the very end, where the evaluation delays that; None
    where names are dropped at once, as Prometheus does unless told otherwise.
    """

    labels: tuple[Labels, ...]
    grid: Grid
    values: Floats
    present: Bools
    kind: FrameKind = "vector"
    unnamed: Bools | None = None

    def __post_init__(self) -> None:
        shape = (len(self.labels), self.grid.steps)
        if self.values.shape != shape or self.present.shape != shape:
            raise ValueError(
                f"a frame of shape {shape} was given values {self.values.shape}, mask {self.present.shape}"
            )

    @classmethod
    def empty(cls, grid: Grid) -> Frame:
        """Return a vector without series."""
        return cls((), grid, np.empty((0, grid.steps)), np.empty((0, grid.steps), dtype=np.bool_))

    @classmethod
    def scalar(cls, grid: Grid, value: float | Floats) -> Frame:
        """Return a scalar: one value, or one per step."""
        values = np.broadcast_to(np.asarray(value, dtype=np.float64), (1, grid.steps))
        return cls((Labels(),), grid, values, np.ones((1, grid.steps), dtype=np.bool_), "scalar")

    @property
    def series_count(self) -> int:
        """Number of rows."""
        return len(self.labels)

    @property
    def sample_count(self) -> int:
        """Number of values that are present."""
        return int(np.count_nonzero(self.present))

    def take(self, rows: Sequence[int] | Ints) -> Frame:
        """Return the given rows, in the given order."""
        index = np.asarray(rows, dtype=np.int64)
        labels = tuple(self.labels[row] for row in index.tolist())
        unnamed = None if self.unnamed is None else self.unnamed[index]
        return Frame(labels, self.grid, self.values[index], self.present[index], self.kind, unnamed)

    def pruned(self) -> Frame:
        """Drop the rows of a vector that are present at no step."""
        if self.kind == "scalar":
            return self
        alive = self.present.any(axis=1)
        return self if alive.all() else self.take(np.flatnonzero(alive))

    def sorted_by_labels(self) -> Frame:
        """Return the rows in order of their label sets."""
        order = sorted(range(len(self.labels)), key=self.labels.__getitem__)
        return self if order == list(range(len(order))) else self.take(order)


@dataclass(frozen=True, slots=True, eq=False)
class SampleColumns:
    """Raw samples of S series in three columns: series s holds the samples offsets[s] to offsets[s + 1] - 1.

    `offsets`: int64 of length S + 1, from 0; `t_ms`: int64, strictly increasing within a series; `values`:
    float64, stale markers included.
    """

    labels: tuple[Labels, ...]
    offsets: Ints
    t_ms: Ints
    values: Floats

    def __post_init__(self) -> None:
        if len(self.offsets) != len(self.labels) + 1 or self.offsets[0] != 0 or self.offsets[-1] != len(self.t_ms):
            raise ValueError("offsets do not describe the sample columns")
        if (np.diff(self.offsets) < 0).any():
            raise ValueError("offsets fall")
        if len(self.t_ms) != len(self.values):
            raise ValueError("the sample columns differ in length")

    @classmethod
    def of(cls, series: Iterable[tuple[Labels, Sequence[int] | Ints, Sequence[float] | Floats]]) -> SampleColumns:
        """Build the columns from (labels, times in ms, values) of every series."""
        rows = list(series)
        times = [np.asarray(t, dtype=np.int64) for _, t, _ in rows]
        values = [np.asarray(v, dtype=np.float64) for _, _, v in rows]
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(t) for t in times], out=offsets[1:])
        return cls(
            tuple(labels for labels, _, _ in rows),
            offsets,
            np.concatenate(times) if times else np.empty(0, dtype=np.int64),
            np.concatenate(values) if values else np.empty(0),
        )

    @classmethod
    def empty(cls) -> SampleColumns:
        """Return columns without series."""
        return cls.of(())

    @property
    def series_count(self) -> int:
        """Number of series."""
        return len(self.labels)

    @property
    def sample_count(self) -> int:
        """Number of samples, stale markers included."""
        return len(self.t_ms)

    @property
    def series_index(self) -> Ints:
        """The series number of every sample, int64."""
        return np.repeat(np.arange(len(self.labels), dtype=np.int64), np.diff(self.offsets))

    @property
    def stale(self) -> Bools:
        """Mark the samples that are stale markers."""
        bits: npt.NDArray[np.uint64] = np.ascontiguousarray(self.values).view(np.uint64)
        return np.equal(bits, np.uint64(STALE_BITS))

    @property
    def in_order(self) -> bool:
        """Whether the times of every series strictly increase."""
        rising = np.diff(self.t_ms) > 0
        # Between two series time may fall back.
        inner = self.offsets[1:-1]
        rising[inner[(inner > 0) & (inner < len(self.t_ms))] - 1] = True
        return bool(rising.all())

    def relabelled(self, labels: Iterable[Labels]) -> SampleColumns:
        """Return the same samples under other label sets."""
        return SampleColumns(tuple(labels), self.offsets, self.t_ms, self.values)

    def select(self, keep: Bools) -> SampleColumns:
        """Return the samples marked in `keep`; series without any of them stay, empty."""
        if keep.all():
            return self
        before = np.zeros(len(keep) + 1, dtype=np.int64)
        np.cumsum(keep, out=before[1:])
        return SampleColumns(self.labels, before[self.offsets], self.t_ms[keep], self.values[keep])

    def without_stale(self) -> SampleColumns:
        """Return the samples that are not stale markers."""
        return self.select(~self.stale)

    def take(self, rows: Sequence[int] | Ints) -> SampleColumns:
        """Return the given series, in the given order."""
        return SampleColumns.of(
            (
                self.labels[row],
                self.t_ms[self.offsets[row] : self.offsets[row + 1]],
                self.values[self.offsets[row] : self.offsets[row + 1]],
            )
            for row in np.asarray(rows, dtype=np.int64).tolist()
        )

    def sorted_by_labels(self) -> SampleColumns:
        """Return the series in order of their label sets."""
        order = sorted(range(len(self.labels)), key=self.labels.__getitem__)
        return self if order == list(range(len(order))) else self.take(order)


@dataclass(frozen=True, slots=True)
class StringValue:
    """The answer to a query that is a string literal, at one moment."""

    at_ms: int
    text: str

    @property
    def series_count(self) -> int:
        """A string belongs to no series."""
        return 0

    @property
    def sample_count(self) -> int:
        """It is one value."""
        return 1

    def sorted_by_labels(self) -> StringValue:
        """Return the string, which has no labels to be sorted by."""
        return self


#: What a leaf or a whole query of this signal answers with.
Payload: TypeAlias = Frame | SampleColumns | StringValue


def size(payload: Payload) -> tuple[int, int]:
    """Return (series, samples) of a payload."""
    return payload.series_count, payload.sample_count

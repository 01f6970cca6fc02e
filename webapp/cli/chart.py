"""A line chart in characters: braille dots, two across and four down per cell, over a time axis.

Rule: it draws samples and joins only neighbours; where a series has no sample there is a gap, never a line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from webapp.cli import moments

#: Unicode, "Braille Patterns": the bit of each dot, by column and row within a cell.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BRAILLE = 0x2800


@dataclass(frozen=True, slots=True)
class Line:
    """One series: (t_ms, value) in order of time, and the colour it is drawn in."""

    points: Sequence[tuple[float, float]]
    colour: str


def draw(lines: Sequence[Line], step_ms: float, width: int, height: int = 12) -> list[Text]:
    """Return the rows of a chart `width` characters wide with `height` rows of dots; none where nothing is finite.

    Neighbours further apart than one and a half steps are not joined.
    """
    finite = [[(t, v) for t, v in line.points if math.isfinite(v)] for line in lines]
    if not any(finite):
        return []
    values = [v for points in finite for _, v in points]
    times = [t for points in finite for t, _ in points]
    ticks = _ticks(min(values), max(values))
    labels = [number(tick) for tick in ticks]
    margin = max(len(label) for label in labels) + 2
    canvas = _Canvas(max(8, width - margin), height, (min(times), max(times)), (ticks[0], ticks[-1]))
    for line, points in zip(lines, finite, strict=True):
        canvas.add(points, line.colour, step_ms * 1.5)
    rows = []
    at_row = {canvas.row_of(tick): label for tick, label in zip(ticks, labels, strict=True)}
    for row in range(height):
        label = at_row.get(row, "")
        rows.append(Text.assemble((f"{label:>{margin - 2}} {'┤' if label else '│'}", "dim"), canvas.row(row)))
    return [*rows, _time_axis(margin, canvas.columns, min(times), max(times))]


def number(value: float) -> str:
    """Return a value with four digits that matter.

    >>> number(0.1 + 0.2), number(12345678), number(float("inf"))
    ('0.3', '1.235e+07', '+Inf')
    """
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else f"{value:.4g}"


class _Canvas:
    """A grid of dots over a range of times and values, and the colour of each cell."""

    def __init__(self, columns: int, rows: int, times: tuple[float, float], values: tuple[float, float]) -> None:
        self.columns = columns
        self._rows, self._times, self._values = rows, times, values
        self._dots = [[0] * columns for _ in range(rows)]
        self._colours = [[""] * columns for _ in range(rows)]

    def add(self, points: Sequence[tuple[float, float]], colour: str, gap_ms: float) -> None:
        """Draw one series, joining neighbours no further apart than `gap_ms`."""
        before: tuple[float, int, int] | None = None
        for t, value in points:
            x, y = self._x(t), self._y(value)
            if before is not None and t - before[0] <= gap_ms:
                self._join(before[1], before[2], x, y, colour)
            else:
                self._dot(x, y, colour)
            before = (t, x, y)

    def row_of(self, value: float) -> int:
        """Return the row of cells that a value lies in."""
        return self._y(value) // 4

    def row(self, row: int) -> Text:
        """Return one row of cells."""
        text = Text()
        for dots, colour in zip(self._dots[row], self._colours[row], strict=True):
            text.append(chr(_BRAILLE + dots) if dots else " ", style=colour)
        return text

    def _x(self, t: float) -> int:
        first, last = self._times
        return round((t - first) / (last - first) * (self.columns * 2 - 1)) if last > first else 0

    def _y(self, value: float) -> int:
        low, high = self._values
        return round((high - value) / (high - low) * (self._rows * 4 - 1))

    def _join(self, x0: int, y0: int, x1: int, y1: int, colour: str) -> None:
        count = max(abs(x1 - x0), abs(y1 - y0), 1)
        for at in range(count + 1):
            self._dot(x0 + round((x1 - x0) * at / count), y0 + round((y1 - y0) * at / count), colour)

    def _dot(self, x: int, y: int, colour: str) -> None:
        self._dots[y // 4][x // 2] |= _DOTS[x % 2][y % 4]
        self._colours[y // 4][x // 2] = colour


def _ticks(low: float, high: float) -> list[float]:
    """Return three to seven round values that enclose the range; 0 is among them where it is not far."""
    if low > 0 and low < high / 2:
        low = 0.0
    if high <= low:
        spread = abs(high) * 0.1 or 1.0
        low, high = low - spread, high + spread
    rough = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [at * step for at in range(first, last + 1)]


def _time_axis(margin: int, columns: int, first_ms: float, last_ms: float) -> Text:
    seconds = last_ms - first_ms < 10 * 60_000
    dated = last_ms - first_ms > 20 * 3_600_000
    written = [
        moments.moment(t)[5:16] if dated else moments.clock(t, seconds=seconds)
        for t in (first_ms, (first_ms + last_ms) / 2, last_ms)
    ]
    left, middle, right = written
    axis = left + middle.center(max(len(middle), columns - len(left) - len(right))) + right
    return Text(" " * margin + axis, style="dim")

"""The chart: what it draws, and what it must not invent."""

from __future__ import annotations

import math

from webapp.cli.chart import Line, draw, number


def rows(*lines: Line, step_ms: float = 1000, width: int = 60, height: int = 6) -> list[str]:
    return [row.plain for row in draw(lines, step_ms, width, height)]


def dots(row: str) -> int:
    return sum((ord(char) - 0x2800).bit_count() for char in row if 0x2800 <= ord(char) < 0x2900)


def test_nothing_finite_gives_no_chart() -> None:
    assert rows(Line([(0, math.nan), (1000, math.inf)], "red")) == []
    assert rows() == []


def test_a_rising_line_is_high_on_the_right_and_low_on_the_left() -> None:
    drawn = rows(Line([(t * 1000, float(t)) for t in range(50)], "red"))
    with_dots = [row for row in drawn if dots(row)]
    top, bottom = with_dots[0], with_dots[-1]
    marks = [index for index, char in enumerate(top) if 0x2800 < ord(char) < 0x2900]
    assert min(marks) > len(top) * 0.6
    marks = [index for index, char in enumerate(bottom) if 0x2800 < ord(char) < 0x2900]
    assert max(marks) < len(bottom) * 0.4


def test_samples_further_apart_than_a_step_and_a_half_are_not_joined() -> None:
    joined = rows(Line([(0, 1.0), (100_000, 1.0)], "red"), step_ms=100_000)
    apart = rows(Line([(0, 1.0), (100_000, 1.0)], "red"), step_ms=1000)
    assert sum(map(dots, apart)) == 2
    assert sum(map(dots, joined)) > 50


def test_a_value_that_is_not_finite_leaves_a_gap() -> None:
    drawn = rows(Line([(0, 1.0), (1000, math.nan), (2000, 1.0)], "red"))
    assert sum(map(dots, drawn)) == 2


def test_the_axis_encloses_the_values_and_starts_at_zero_where_zero_is_near() -> None:
    drawn = rows(Line([(0, 0.4), (1000, 1.9)], "red"))
    assert [row.split()[0] for row in drawn if "┤" in row][-1] == "0"
    high = rows(Line([(0, 1000.0), (1000, 1001.0)], "red"))
    labels = [float(row.split()[0]) for row in high if "┤" in row]
    assert min(labels) >= 999
    assert max(labels) >= 1001


def test_a_constant_line_is_drawn_within_the_chart() -> None:
    drawn = rows(Line([(t * 1000, 5.0) for t in range(10)], "red"))
    assert dots(drawn[0]) == dots(drawn[-2]) == 0
    assert sum(map(dots, drawn)) > 10


def test_no_row_is_wider_than_asked() -> None:
    assert max(map(len, rows(Line([(0, 1.0), (7_200_000, 123_456.0)], "red"), width=50))) <= 50


def test_each_series_keeps_its_colour() -> None:
    drawn = draw([Line([(0, 1.0), (1000, 1.0)], "red"), Line([(0, 9.0), (1000, 9.0)], "blue")], 1000, 40, 6)
    styles = {str(span.style) for row in drawn for span in row.spans}
    assert {"red", "blue"} <= styles


def test_numbers_are_short_and_special_values_are_spelled_as_prometheus_does() -> None:
    assert [number(value) for value in (0.30000000000000004, math.inf, -math.inf, math.nan)] == [
        "0.3",
        "+Inf",
        "-Inf",
        "NaN",
    ]

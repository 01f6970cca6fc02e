"""Reads Prometheus' own PromQL test scripts (`load`, `clear`, `eval …`) into cases.

The scripts are read from where the test data lies; nothing of them is part of the project. Rule: a line that is not
understood raises. Native histograms are not loaded; a case remembers where they would be, and so whether it needs them.
Source: promql/promqltest/README.md of Prometheus, with the older spellings `eval_fail`, `eval_warn`, ….
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from federation_core.labels import NAME, Labels, Selector
from federation_core.query import TimeRange
from federation_core.signals.metrics.expr import Expr, MatrixSelector, Subquery, VectorSelector, children
from federation_core.signals.metrics.windows import LOOKBACK_MS
from federation_core.times import parse_duration_ms
from tests.support.promql_notation import Points, read_number, read_series, read_string
from tests.support.sample_store import Series

_LOAD = re.compile(r"load(?P<nhcb>_with_nhcb)?\s+(?P<step>\S+)")
_EVAL_INSTANT = re.compile(r"eval(?:_(?P<how>fail|warn|ordered|info))?\s+instant\s+at\s+(?P<at>\S+)\s+(?P<query>.+)")
_EVAL_RANGE = re.compile(
    r"eval(?:_(?P<how>fail|warn|info))?\s+range\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)"
    r"\s+step\s+(?P<step>\S+)\s+(?P<query>.+)"
)
_EXPECT_RANGE = re.compile(r"expect range vector\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)\s+step\s+(?P<step>\S+)")
_EXPECT_STRING = re.compile(r"expect string\s+(?P<text>.+)")
_EXPECT = re.compile(
    r"expect\s+(?P<what>ordered|fail|warn|no_warn|info|no_info)(?:\s+(?P<how>regex|msg):(?P<text>.+))?"
)
#: Where in the query an annotation belongs, which the scripts spell out and our annotations do not tell.
_POSITION = re.compile(r" (?:\([0-9]+:[0-9]+\)|\\\(.*\\\))$")

Kind = Literal["vector", "scalar", "string", "range vector"]


@dataclass(frozen=True, slots=True)
class Words:
    """What an error or annotation must say; without `text` anything."""

    text: str = ""
    is_regex: bool = False

    def matches(self, said: str) -> bool:
        """Tell whether this is said; an error of ours may add to Prometheus' words after a colon."""
        if self.is_regex:
            return re.search(self.text, said) is not None
        return said == self.text or not self.text or said.startswith(self.text + ":")


@dataclass(slots=True)
class Expected:
    """The answer that a script wants. `rows`: label set → time in ms → value; a scalar has an empty label set."""

    kind: Kind = "vector"
    rows: dict[Labels, dict[int, float]] = field(default_factory=dict)
    text: str = ""
    ordered: bool = False
    has_histograms: bool = False
    #: What must be said, by kind: fail, warn or info; and no_warn or no_info where that kind must not be.
    said: dict[str, list[Words]] = field(default_factory=dict)

    @property
    def fails(self) -> bool:
        """Whether an error is wanted."""
        return "fail" in self.said


@dataclass(frozen=True, slots=True)
class Case:
    """One `eval`: what is asked of which series, and what is expected."""

    script: str
    line: int
    query: str
    time_range: TimeRange
    series: tuple[Series, ...]
    #: The series that hold native histograms, and when.
    histograms: tuple[tuple[Labels, tuple[int, ...]], ...]
    expected: Expected

    @property
    def name(self) -> str:
        """Where the case is written."""
        return f"{self.script}:{self.line}"

    def needs_histograms(self, expr: Expr) -> bool:
        """Tell whether the case rests on native histograms: some are expected, or lie where the query looks."""
        return self.expected.has_histograms or any(
            selector.matches(labels) and any(start_ms < t <= end_ms for t in times)
            for selector, start_ms, end_ms in looked_at(expr, self.time_range)
            for labels, times in self.histograms
        )


def looked_at(expr: Expr, asked: TimeRange) -> Iterator[tuple[Selector, int, int]]:
    """Yield (selector, start, end) for every selector: it sees no samples outside (start, end]."""
    yield from _looked_at(expr, asked, asked.first_ms, asked.end_ms)


def _looked_at(expr: Expr, asked: TimeRange, start_ms: int, end_ms: int) -> Iterator[tuple[Selector, int, int]]:
    if not isinstance(expr, VectorSelector | MatrixSelector | Subquery):
        for child in children(expr):
            yield from _looked_at(child, asked, start_ms, end_ms)
        return
    if expr.at is not None:
        ends = {"start": asked.first_ms, "end": asked.end_ms}
        start_ms = end_ms = ends[expr.at] if isinstance(expr.at, str) else expr.at
    window_ms = LOOKBACK_MS if isinstance(expr, VectorSelector) else expr.window_ms
    start_ms, end_ms = start_ms - expr.offset_ms - window_ms, end_ms - expr.offset_ms
    if isinstance(expr, Subquery):
        yield from _looked_at(expr.operand, asked, start_ms, end_ms)
    else:
        yield expr.selector, start_ms, end_ms


def cases(folder: Path) -> Iterator[Case]:
    """Yield every `eval` of every script, in order."""
    for script in sorted(folder.glob("*.test")):
        yield from _Script(script).cases()


class _Script:
    def __init__(self, path: Path) -> None:
        self.path = path
        # A line of comment ends a block, as an empty one does.
        self.lines = [re.sub(r"^#.*", "", line.strip()) for line in path.read_text().splitlines()]
        self.samples: dict[Labels, dict[int, float]] = {}
        self.histograms: dict[Labels, set[int]] = {}
        self._series: tuple[Series, ...] | None = None

    def cases(self) -> Iterator[Case]:
        at = 0
        while at < len(self.lines):
            line, start = self.lines[at], at
            at += 1
            if not line:
                continue
            block = []
            while line != "clear" and at < len(self.lines) and self.lines[at]:
                block.append(self.lines[at])
                at += 1
            if line == "clear":
                self.samples, self.histograms, self._series = {}, {}, None
            elif load := _LOAD.fullmatch(line):
                self._load(parse_duration_ms(load["step"]), block, converts=load["nhcb"] is not None)
            else:
                yield self._case(start + 1, line, block)

    def _load(self, step_ms: int, block: list[str], converts: bool) -> None:
        self._series = None
        # A series written twice in one block is the latter one.
        for labels, points in dict(map(read_series, block)).items():
            row = self.samples.setdefault(labels, {})
            times = {i * step_ms: value for i, value in enumerate(points.values) if value is not None}
            row.update(times)
            if points.histograms:
                self.histograms.setdefault(labels, set()).update(i * step_ms for i in points.histograms)
            base, of_histogram = re.subn(r"_(bucket|count|sum)$", "", labels.get(NAME))
            if converts and of_histogram:
                # The server adds a native histogram of the same buckets, under the name without its suffix.
                derived = labels.without(("le",)).with_label(NAME, base)
                self.histograms.setdefault(derived, set()).update(times)

    def _case(self, number: int, line: str, block: list[str]) -> Case:
        found = _EVAL_INSTANT.fullmatch(line) or _EVAL_RANGE.fullmatch(line)
        if found is None:
            raise ValueError(f"{self.path.name}:{number}: not understood: {line}")
        time_range = _instant(found["at"]) if "at" in found.groupdict() else _range(found)
        expected = Expected(ordered=found["how"] == "ordered")
        if found["how"] in ("fail", "warn", "info"):
            expected.said[found["how"]] = [Words()]
        self._read_expected(expected, block, time_range)
        if self._series is None:
            self._series = tuple(_in_order(labels, row) for labels, row in self.samples.items() if row)
        histograms = tuple((labels, tuple(sorted(times))) for labels, times in self.histograms.items())
        return Case(self.path.stem, number, found["query"], time_range, self._series, histograms, expected)

    def _read_expected(self, expected: Expected, block: list[str], asked: TimeRange) -> None:
        times = asked
        for text in block:
            if ranged := _EXPECT_RANGE.fullmatch(text):
                expected.kind, times = "range vector", _range(ranged)
            elif string := _EXPECT_STRING.fullmatch(text):
                expected.kind, expected.text = "string", read_string(string["text"])
            elif expect := _EXPECT.fullmatch(text):
                _expect(expected, expect)
            elif (number := read_number(text)) is not None:
                expected.kind, expected.rows = "scalar", {Labels(): {asked.end_ms: number}}
            else:
                labels, points = read_series(text)
                expected.has_histograms |= bool(points.histograms)
                row = _placed(points, times)
                if row:
                    expected.rows[labels] = row


def _expect(expected: Expected, found: re.Match[str]) -> None:
    if found["what"] == "ordered":
        expected.ordered = True
        return
    text = _POSITION.sub("", (found["text"] or "").strip())
    expected.said.setdefault(found["what"], []).append(Words(text, found["how"] == "regex"))


def _in_order(labels: Labels, row: dict[int, float]) -> Series:
    times = sorted(row)
    return labels, times, [row[t] for t in times]


def _placed(points: Points, times: TimeRange) -> dict[int, float]:
    steps = times.steps if times.step_ms else 1
    if len(points.values) > steps:
        raise ValueError(f"{len(points.values)} points for {steps} steps")
    return {times.first_ms + i * times.step_ms: v for i, v in enumerate(points.values) if v is not None}


def _instant(text: str) -> TimeRange:
    at_ms = parse_duration_ms(text)
    return TimeRange(at_ms, at_ms)


def _range(found: re.Match[str]) -> TimeRange:
    return TimeRange(*(parse_duration_ms(found[part]) for part in ("start", "end", "step")))

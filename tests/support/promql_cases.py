"""Reads Prometheus' own PromQL test scripts (`load`, `clear`, `eval …`) into cases.

The scripts are read from where the test data lies; nothing of them is part of the project.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from federation_core.labels import Labels
from federation_core.query import TimeRange
from federation_core.times import parse_duration_ms
from tests.support.sample_store import STALE, Series

_EVAL_INSTANT = re.compile(r"eval(?:_(?P<how>\w+))?\s+instant\s+at\s+(?P<at>\S+)\s+(?P<query>.+)")
_EVAL_RANGE = re.compile(
    r"eval(?:_(?P<how>\w+))?\s+range\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)\s+step\s+(?P<step>\S+)\s+(?P<query>.+)"
)
_NUMBER = r"[-+]?(?:[0-9.]+(?:[eE][-+]?[0-9]+)?|0x[0-9a-fA-F]+|[Ii]nf|NaN)"
_REPEAT = re.compile(rf"(?P<start>{_NUMBER})(?:(?P<sign>[-+])(?P<delta>{_NUMBER}))?x(?P<count>[0-9]+)")
_LABEL = re.compile(
    r'\s*(?:(?P<name>[\w.]+)|"(?P<quoted>(?:[^"\\]|\\.)*)")\s*(?:=\s*(?P<value>"(?:[^"\\]|\\.)*"|\'[^\']*\'))?\s*,?'
)


@dataclass(frozen=True)
class Case:
    """One `eval`: what is asked of which series, and what is expected. `fails` asks for an error instead."""

    script: str
    line: int
    query: str
    time_range: TimeRange
    series: tuple[Series, ...]
    #: Names of metrics that hold native histograms.
    histograms: tuple[Labels, ...]
    fails: bool = False
    ordered: bool = False
    #: Label set → one value per step, None where absent; a scalar has the key None.
    expected: dict[Labels | None, list[float | None]] = field(default_factory=dict)
    #: What the reader of the scripts cannot compare (strings, native histograms, range vectors).
    beyond: str = ""


def cases(folder: Path) -> Iterator[Case]:
    """Yield every `eval` of every script, in order."""
    for script in sorted(folder.glob("*.test")):
        yield from _Script(script).cases()


class _Script:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = path.read_text().splitlines()
        self.series: dict[Labels, dict[int, float]] = {}
        self.histograms: set[Labels] = set()

    def cases(self) -> Iterator[Case]:
        at = 0
        while at < len(self.lines):
            line = self.lines[at].strip()
            block, after = self._block(at + 1)
            if line == "clear":
                self.series, self.histograms = {}, set()
            elif line.startswith("load"):
                self._load(parse_duration_ms(line.split()[1]), block, converts="nhcb" in line)
            elif line.startswith("eval"):
                yield self._case(at + 1, line, block)
            else:
                after = at + 1
            at = after

    def _block(self, at: int) -> tuple[list[str], int]:
        block = []
        while at < len(self.lines) and self.lines[at].strip() and not re.match(r"(eval|load|clear)", self.lines[at]):
            text = self.lines[at].strip()
            if not text.startswith("#"):
                block.append(text)
            at += 1
        return block, at

    def _load(self, step_ms: int, block: list[str], converts: bool) -> None:
        for text in block:
            labels, points = _series(text)
            values, has_histograms = _points(points)
            if has_histograms:
                self.histograms.add(labels)
            if converts:
                # The server adds a native histogram of the same buckets, under the name without its suffix.
                base = re.sub(r"_(bucket|count|sum)$", "", labels.get("__name__"))
                self.histograms.add(labels.without(("le",)).with_label("__name__", base))
            row = self.series.setdefault(labels, {})
            row.update({i * step_ms: v for i, v in enumerate(values) if v is not None})

    def _case(self, number: int, line: str, block: list[str]) -> Case:
        instant, ranged = _EVAL_INSTANT.match(line), _EVAL_RANGE.match(line)
        found = instant or ranged
        assert found is not None, f"{self.path.name}:{number}"
        if instant:
            at_ms = parse_duration_ms(instant["at"])
            time_range = TimeRange(at_ms, at_ms)
        else:
            assert ranged is not None
            time_range = TimeRange(*(parse_duration_ms(ranged[part]) for part in ("start", "end", "step")))
        expected: dict[Labels | None, list[float | None]] = {}
        beyond, fails, ordered = "", found["how"] == "fail", found["how"] == "ordered"
        for text in block:
            if text.startswith("expect"):
                fails |= text.startswith("expect fail")
                ordered |= text.startswith("expect ordered")
                beyond = "string or range vector" if text.startswith(("expect string", "expect range")) else beyond
            elif re.fullmatch(_NUMBER, text):
                expected[None] = [_number(text)] * time_range.steps
            else:
                labels, points = _series(text)
                values, has_histograms = _points(points)
                beyond = "native histogram" if has_histograms else beyond
                expected[labels] = values
        rows = tuple((labels, list(row), list(row.values())) for labels, row in self.series.items())
        return Case(
            self.path.stem,
            number,
            found["query"].strip(),
            time_range,
            rows,
            tuple(self.histograms),
            fails,
            ordered,
            expected,
            beyond,
        )


def _series(text: str) -> tuple[Labels, str]:
    """Split `name{a="1"} points` into labels and points."""
    head = re.match(r"[a-zA-Z_:][\w:]*", text)
    pairs = [("__name__", head.group())] if head else []
    rest = text[head.end() :] if head else text
    if rest.startswith("{") and not rest.startswith("{{"):
        at = 1
        while not rest[at:].lstrip().startswith("}"):
            label = _LABEL.match(rest, at)
            assert label is not None, text
            if label["value"] is None:
                pairs.append(("__name__", label["quoted"]))
            else:
                value = label["value"][1:-1].encode("latin-1", "backslashreplace").decode("unicode_escape")
                pairs.append((label["name"] or label["quoted"], value))
            at = label.end()
        rest = rest[rest.index("}", at) + 1 :]
    return Labels.of(pairs), rest.strip()


def _points(text: str) -> tuple[list[float | None], bool]:
    """Expand the points' shorthand; None is a gap. Tells whether there were native histograms."""
    plain = re.sub(r"\{\{.*?\}\}(?:[-+]\{\{.*?\}\})?(?:x[0-9]+)?", "", text)
    values: list[float | None] = []
    for word in plain.split():
        repeat = _REPEAT.fullmatch(word)
        if word == "_":
            values.append(None)
        elif re.fullmatch(r"_x[0-9]+", word):
            values += [None] * int(word[2:])
        elif word == "stale":
            values.append(float(STALE))
        elif repeat:
            start = _number(repeat["start"])
            delta = _number(repeat["delta"]) if repeat["delta"] else 0.0
            delta = -delta if repeat["sign"] == "-" else delta
            values += [start + i * delta for i in range(int(repeat["count"]) + 1)]
        else:
            values.append(_number(word))
    return values, plain != text


def _number(text: str) -> float:
    return float(int(text, 16)) if text.lower().startswith("0x") else float(text)


def close(left: float, right: float, tolerance: float = 1e-6) -> bool:
    """Compare as the scripts' own runner does: NaN equals NaN, otherwise relative to the sizes."""
    if np.isnan(left) or np.isnan(right):
        return bool(np.isnan(left) and np.isnan(right))
    if left == right:
        return True
    if np.isinf(left) or np.isinf(right):
        return False
    return abs(left - right) < tolerance * min(abs(left) + abs(right), 1.7e308)

"""The notation of series in Prometheus' test scripts: `name{a="1"} 1+2x5 _ stale {{…}}`.

Rule: every word of a line is understood or raises; a native histogram is not read, only where it stands.
Source: Prometheus documentation, "Unit testing for rules / series"; promql/promqltest/README.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, chain, repeat

from federation_core.labels import NAME, Labels
from tests.support.sample_store import STALE

_NUMBER = r"[-+]?(?:0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[iI]nf|[nN]a[nN])"
_RUN = re.compile(rf"(?P<start>{_NUMBER})(?:(?P<sign>[-+])(?P<delta>{_NUMBER}))?x(?P<count>[0-9]+)")
_GAPS = re.compile(r"_(?:x(?P<count>[0-9]+))?")
_HISTOGRAMS = re.compile(r"\{\{[^}]*\}\}(?:[-+]\{\{[^}]*\}\})?(?:x(?P<count>[0-9]+))?")
_WORD = re.compile(r"\{\{[^}]*\}\}\S*?\{\{[^}]*\}\}\S*|\{\{[^}]*\}\}\S*|\S+")
_STRING = r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`'
_LABEL = re.compile(rf"\s*(?:(?P<name>[\w.:]+)|(?P<quoted>{_STRING}))\s*(?:=\s*(?P<value>{_STRING}))?\s*,?\s*")


@dataclass(frozen=True, slots=True)
class Points:
    """The points of one series, a step apart: None is a gap, and also a native histogram, whose places are told."""

    values: tuple[float | None, ...]
    histograms: tuple[int, ...] = ()


def read_series(text: str) -> tuple[Labels, Points]:
    """Read a line of a `load`, or of what an `eval` expects."""
    head = re.match(r"[a-zA-Z_:][\w:]*", text)
    pairs = [(NAME, head.group())] if head else []
    at = head.end() if head else 0
    if text.startswith("{", at) and not text.startswith("{{", at):
        at += 1
        while not text.startswith("}", at):
            label = _LABEL.match(text, at)
            if label is None:
                raise ValueError(f"no label at {at} of {text!r}")
            name = label["name"] or read_string(label["quoted"])
            pairs.append((NAME, name) if label["value"] is None else (name, read_string(label["value"])))
            at = label.end()
        at += 1
    return Labels.of(pairs), read_points(text[at:])


def read_points(text: str) -> Points:
    """Expand the shorthand for runs of points."""
    points = list(chain.from_iterable(map(_expanded, _WORD.findall(text))))
    values = tuple(point if isinstance(point, float) else None for point in points)
    return Points(values, tuple(place for place, point in enumerate(points) if point == "histogram"))


def _expanded(word: str) -> Iterator[float | str | None]:
    if word == "stale":
        return iter([float(STALE)])
    if gaps := _GAPS.fullmatch(word):
        return repeat(None, int(gaps["count"] or 1))
    if histograms := _HISTOGRAMS.fullmatch(word):
        return repeat("histogram", int(histograms["count"] or 0) + 1)
    if run := _RUN.fullmatch(word):
        delta = _number((run["sign"] or "") + (run["delta"] or "0"))
        # Each point is the former one and the increment, roundings included, as the scripts' own reader has it.
        return accumulate(repeat(delta, int(run["count"])), initial=_number(run["start"]))
    return iter([_number(word)])


def _number(text: str) -> float:
    number = read_number(text)
    if number is None:
        raise ValueError(f"{text!r} is no point")
    return number


def read_number(text: str) -> float | None:
    """Read a number as PromQL spells it; None where it is none."""
    if re.fullmatch(rf"[-+]?{_NUMBER}", text) is None:
        return None
    unsigned = text.lstrip("+-")
    value = float(int(unsigned, 16)) if unsigned[:2].lower() == "0x" else float(unsigned)
    signs = text[: len(text) - len(unsigned)]
    return -value if signs.count("-") % 2 else value


def read_string(text: str) -> str:
    """Read a quoted string."""
    if text.startswith("`"):
        return text[1:-1]
    return text[1:-1].encode("latin-1", "backslashreplace").decode("unicode_escape")

"""Answers of Prometheus and of our engine in one form, and the comparison of two of them.

Rule: label sets and presence agree exactly, numbers to 1e-9 of their size (1e-12 near zero), an execution error is an
execution error on both sides. Only of a query whose rows depend on ties are the values compared without their labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from federation_core.connectors import Fetched
from federation_core.errors import FederationError, QueryExecutionError
from federation_core.labels import CLUSTER, NAME, MatchOp, Selector
from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Grid, SampleColumns
from federation_core.signals.metrics.moments import resolve
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.prometheus_json import to_json
from federation_core.signals.metrics.run import SampleStore, spans_of
from federation_core.tenancy import Limits
from tests.support.sample_store import Series

RELATIVE, ABSOLUTE = 1e-9, 1e-12
Key: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Answer:
    """Label set → time in ms → value, the label sets in the order of the answer."""

    kind: str
    rows: Mapping[Key, Mapping[int, float]]

    @property
    def is_empty(self) -> bool:
        """Whether there is no value."""
        return not self.rows


@dataclass(frozen=True)
class Refusal:
    """The query was refused: `kind` is "execution", or what else it was."""

    kind: str
    message: str


Outcome: TypeAlias = Answer | Refusal


def read(reply: Mapping[str, Any]) -> Outcome:
    """Return what Prometheus has answered."""
    if reply["status"] == "error":
        return Refusal(str(reply["errorType"]), str(reply["error"]))
    return read_data(reply["data"])


def read_data(data: Mapping[str, Any]) -> Answer:
    """Return what the `data` of an answer holds."""
    kind, result = str(data["resultType"]), data["result"]
    if kind in ("scalar", "string"):
        return Answer(kind, {(): {_ms(result[0]): float(result[1])}})
    rows = {
        tuple(sorted(row["metric"].items())): {
            _ms(at): float(value) for at, value in (row["values"] if "values" in row else [row["value"]])
        }
        for row in result
    }
    if len(rows) != len(result):
        raise AssertionError("one label set twice in an answer")
    return Answer(kind, rows)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


@dataclass
class Engine:
    """Our engine over the series of all clusters, each with its label `cluster`."""

    rows: Sequence[Series]
    _by_name: dict[str, list[Series]] = field(default_factory=dict)
    _columns: dict[Selector, SampleColumns] = field(default_factory=dict)

    @classmethod
    def over(cls, stores: Mapping[str, Sequence[Series]]) -> Engine:
        """Return the engine over what one Prometheus would hold."""
        rows = sorted((ls.with_label(CLUSTER, name), t, v) for name, kept in stores.items() for ls, t, v in kept)
        engine = cls(rows)
        for row in rows:
            engine._by_name.setdefault(row[0].get(NAME), []).append(row)
        return engine

    def answer(self, text: str, asked: TimeRange) -> Outcome:
        """Evaluate a query; any error that is not the engine's own is raised."""
        try:
            expr, grid = resolve(parse(text), asked), Grid.of(asked)
            store = SampleStore("all", Limits())
            for span in spans_of(expr, grid):
                store.keep(span, Fetched(self._samples(span.selector)))
            payload, _ = store.answer(expr, grid)
        except QueryExecutionError as exc:
            return Refusal("execution", exc.message)
        except FederationError as exc:
            return Refusal(type(exc).__name__, exc.message)
        return read_data(to_json(payload))

    def _samples(self, selector: Selector) -> SampleColumns:
        if selector not in self._columns:
            names = [m.value for m in selector.matchers if m.label == NAME and m.op is MatchOp.EQ]
            candidates = self._by_name.get(names[0], []) if names else self.rows
            self._columns[selector] = SampleColumns.of(row for row in candidates if selector.matches(row[0]))
        return self._columns[selector]


def difference(mine: Outcome, theirs: Outcome, *, chosen: bool = False, ordered: bool = False) -> str:
    """Say where two outcomes differ, ours first; empty where they do not.

    `chosen`: which rows there are may depend on ties. `ordered`: the rows' order by value is part of the answer.
    """
    if isinstance(mine, Refusal) or isinstance(theirs, Refusal):
        same = isinstance(mine, Refusal) and isinstance(theirs, Refusal) and mine.kind == theirs.kind
        return "" if same else f"got {_shown(mine)}, wanted {_shown(theirs)}"
    if mine.kind != theirs.kind:
        return f"got a {mine.kind}, wanted a {theirs.kind}"
    if ordered:
        got, want = ([value for row in answer.rows.values() for value in row.values()] for answer in (mine, theirs))
        if len(got) != len(want) or not all(map(close, got, want)):
            return f"the order is another: got {got[:20]}, wanted {want[:20]}"
    found = _row_difference(mine.rows, theirs.rows)
    return _value_difference(mine.rows, theirs.rows) if found and chosen else found


def _row_difference(mine: Mapping[Key, Mapping[int, float]], theirs: Mapping[Key, Mapping[int, float]]) -> str:
    for key in mine.keys() ^ theirs.keys():
        row = dict((theirs if key in theirs else mine)[key])
        return f"{dict(key)} is {'missing' if key in theirs else 'too much'}: {dict(list(row.items())[:3])}"
    for key, wanted in theirs.items():
        got = mine[key]
        for at in sorted(got.keys() ^ wanted.keys()):
            what = f"wanted {wanted[at]}, got nothing" if at in wanted else f"got {got[at]}, wanted nothing"
            return f"{dict(key)} at {at}: {what}"
        for at, value in wanted.items():
            if not close(got[at], value):
                return f"{dict(key)} at {at}: got {got[at]!r}, wanted {value!r}"
    return ""


def _value_difference(mine: Mapping[Key, Mapping[int, float]], theirs: Mapping[Key, Mapping[int, float]]) -> str:
    got, want = _by_time(mine), _by_time(theirs)
    for at in got.keys() | want.keys():
        left, right = got.get(at, []), want.get(at, [])
        if len(left) != len(right) or not all(map(close, left, right)):
            return f"at {at}: got the values {left[:20]}, wanted {right[:20]}"
    return ""


def _by_time(rows: Mapping[Key, Mapping[int, float]]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for row in rows.values():
        for at, value in row.items():
            found.setdefault(at, []).append(value)
    return {at: sorted(values, key=lambda v: (math.isnan(v), v)) for at, values in found.items()}


def close(left: float, right: float) -> bool:
    """Compare two numbers; NaN equals NaN."""
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return math.isclose(left, right, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def _shown(outcome: Outcome) -> str:
    if isinstance(outcome, Refusal):
        return f"a refusal ({outcome.kind}: {outcome.message})"
    return f"an answer of {len(outcome.rows)} rows"

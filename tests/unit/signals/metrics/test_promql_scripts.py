"""Prometheus' own PromQL scripts on our engine: every eval that needs no native histogram gives the wanted answer.

Each eval is asked as it is written and, as the scripts' own runner does, in the other ways that must answer the same:
an instant inside a range, and with every selector pinned by `@` and asked from other times. The scripts run with
delayed name removal. Our data cannot hold native histograms: where some lie in what a query looks at, the floats alone
are evaluated, and an eval whose answer needs the others is counted and told by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from federation_core.errors import FederationError, QuerySyntaxError, UnsupportedQuery
from federation_core.query import TimeRange
from federation_core.signals.metrics.expr import (
    Call,
    Expr,
    MatrixSelector,
    Subquery,
    VectorSelector,
    children,
    map_children,
)
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.printer import to_text
from tests.support.promql_cases import Case, cases
from tests.support.promql_verdicts import Answer, complaint, table
from tests.support.sample_store import answer_one

#: What does not pass, by name, and why: each is refused by name or differs as documented. One that passes is an error.
LISTED = {
    "aggregators:481": "a string that is no UTF-8 is refused with its place in the text, before it is known for a name",
}

#: What comes out as wanted with delayed name removal alone: names are seen after they were to be dropped.
DELAYED = {f"name_label_dropping:{line}" for line in (59, 64, 69, 74, 89, 115, 119, 123)}

#: Functions of the time of the query itself: an `@` below them does not fix their value.
_OF_NOW = frozenset(
    {"days_in_month", "day_of_month", "day_of_week", "day_of_year", "hour", "minute", "month", "year"}
    | {"end", "predict_linear", "range", "start", "step", "time", "timestamp"}
)
_MINUTE_MS = 60_000


def verdict(case: Case, *, delayed_names: bool = True) -> tuple[str, str]:
    """Return (verdict, detail): passed, failed, refused, or that the answer needs native histograms."""
    try:
        expr = parse(case.query)
    except UnsupportedQuery as exc:
        return "refused", exc.message
    except QuerySyntaxError as exc:
        found = complaint(case, exc)
        return ("failed", found) if found else ("passed", "")
    found = wrong(case, expr, delayed_names)
    if not found and not case.expected.has_histograms:
        return "passed", ""
    return ("native" if case.needs_histograms(expr) else "failed"), found


def wrong(case: Case, expr: Expr, delayed_names: bool) -> str:
    """Return the first way to ask that does not give what the case expects, and what it gives."""
    for text, time_range in ways_to_ask(case, expr):
        found = complaint(case, answer(case, text, time_range, delayed_names))
        if found:
            return f"{text} over {time_range}: {found}"
    return ""


def answer(case: Case, text: str, time_range: TimeRange, delayed_names: bool) -> Answer:
    """Evaluate; an instant asked from another time, or inside a range, is returned as if at the time of the case."""
    try:
        payload, annotations = answer_one(text, case.series, time_range, delayed_names=delayed_names)
    except FederationError as exc:
        return exc
    if not isinstance(payload, Frame) or case.time_range.step_ms:
        return payload, annotations
    middle = payload.grid.steps // 2
    grid = Grid(case.time_range.end_ms, 0, 1)
    values, present = payload.values[:, middle : middle + 1], payload.present[:, middle : middle + 1]
    # The runner of the scripts looks at no annotations of a range either: its other steps may have some.
    return Frame(payload.labels, grid, values, present, payload.kind).pruned(), (
        None if time_range.step_ms else annotations
    )


def ways_to_ask(case: Case, expr: Expr) -> Iterator[tuple[str, TimeRange]]:
    """Yield the texts and time ranges that must all give what the case expects."""
    yield case.query, case.time_range
    if case.time_range.step_ms:
        return
    at_ms = case.time_range.end_ms
    in_a_range = case.expected.kind in ("vector", "scalar") and not case.expected.fails and not case.expected.ordered
    if in_a_range and re.search(r"\b(start|end|step|range)\(\)", case.query) is None:
        yield case.query, around(at_ms)
    if is_of_now(expr):
        return
    for moment_ms in (-10 * at_ms, 0, at_ms // 5, at_ms, 10 * at_ms) if at_ms else (-1000, 0, 1000):
        yield to_text(pinned(expr, at_ms)), TimeRange(moment_ms, moment_ms)
        if in_a_range:
            yield to_text(pinned(expr, at_ms)), around(moment_ms)


def around(at_ms: int) -> TimeRange:
    """Return the range of three steps with a moment in the middle."""
    return TimeRange(at_ms - _MINUTE_MS, at_ms + _MINUTE_MS, _MINUTE_MS)


def pinned(expr: Expr, at_ms: int) -> Expr:
    """Return the expression with every selector fixed to a moment, those inside a subquery by the subquery."""
    if not isinstance(expr, VectorSelector | MatrixSelector | Subquery):
        return map_children(expr, lambda child: pinned(child, at_ms))
    return expr if isinstance(expr.at, int) else replace(expr, at=at_ms)


def is_of_now(expr: Expr) -> bool:
    """Tell whether a function outside of every subquery looks at the time of the query."""
    if isinstance(expr, Subquery):
        return False
    return (isinstance(expr, Call) and expr.function in _OF_NOW) or any(map(is_of_now, children(expr)))


def test_every_eval_without_native_histograms_gives_the_wanted_answer(
    test_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = {case.name: (case, *verdict(case)) for case in cases(test_data / "data" / "promqltest")}
    native = [name for name, (_, found, _) in results.items() if found == "native"]
    with capsys.disabled():
        print(f"\n{table([(case.script, found) for case, found, _ in results.values()])}")
        print(f"need native histograms: {', '.join(native)}")
    unlisted = [
        f"{name} {case.query}: {found}: {detail}"
        for name, (case, found, detail) in results.items()
        if found in ("failed", "refused") and name not in LISTED
    ]
    assert unlisted == []
    assert [name for name in LISTED if results[name][1] not in ("failed", "refused")] == []
    assert len(LISTED) <= 0.01 * (len(results) - len(native))


def test_with_names_dropped_at_once_only_what_is_about_that_comes_out_otherwise(test_data: Path) -> None:
    results = {case.name: verdict(case, delayed_names=False)[0] for case in cases(test_data / "data" / "promqltest")}
    failed = {name for name, found in results.items() if found in ("failed", "refused")}
    assert failed - LISTED.keys() == DELAYED

"""How often clusters have samples, and what of a query does not fit that.

Rule: it is said and nothing is changed. The asked grid is that of the answer and one for all clusters, and a window is
part of the question: with another one a value would be another's. A window in which there can be no value is worth a
warning, because its answer looks like that of series which are not there; a step that is finer than the samples is
worth a note, because every value it repeats is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from federation_core.labels import CLUSTER
from federation_core.query import Query
from federation_core.signals import Advice
from federation_core.signals.metrics.expr import Call, Expr, MatrixSelector, children
from federation_core.times import format_duration

#: Functions whose value needs two samples in a window; all others of a range need one.
_OF_TWO = frozenset(
    {"rate", "irate", "increase", "delta", "idelta", "deriv", "predict_linear", "double_exponential_smoothing"}
)


def advise(expr: Expr, query: Query, intervals_ms: Mapping[str, int]) -> Advice:
    """Say which windows and which step do not fit how often clusters (name → ms) are scraped at most."""
    if not intervals_ms:
        return Advice()
    windows = tuple(dict.fromkeys(_windows(expr)))
    warnings: dict[str, None] = {}
    notes: dict[str, None] = {}
    for interval_ms in sorted(set(intervals_ms.values())):
        names = [name for name, ms in intervals_ms.items() if ms == interval_ms]
        for function, node in windows:
            if asked := [name for name in names if _accepts(node, name)]:
                told = _unfit(function, node.window_ms, interval_ms)
                warnings |= {f"{_scraped(asked, interval_ms)}: {told}": None} if told else {}
        step_ms = query.time_range.step_ms
        if 0 < step_ms < interval_ms:
            step = format_duration(step_ms)
            notes[f"{_scraped(names, interval_ms)}: at a step of {step} their values are repeated"] = None
    return Advice((*warnings, *notes), tuple(warnings))


def _windows(expr: Expr) -> Iterator[tuple[str, MatrixSelector]]:
    """Yield the functions of ranges in an expression, with their ranges."""
    if isinstance(expr, Call):
        yield from ((expr.function, node) for node in expr.arguments if isinstance(node, MatrixSelector))
    for child in children(expr):
        yield from _windows(child)


def _accepts(node: MatrixSelector, cluster: str) -> bool:
    conditions, _ = node.selector.split_label(CLUSTER)
    return all(matcher.matches(cluster) for matcher in conditions)


def _scraped(names: list[str], interval_ms: int) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} scraped every {format_duration(interval_ms)}"


def _unfit(function: str, window_ms: int, interval_ms: int) -> str:
    """Say what a window lacks; nothing of one that has enough samples, wherever it lies."""
    enough_ms = 2 * interval_ms if function in _OF_TWO else interval_ms
    if window_ms >= enough_ms:
        return ""
    lacks = "has no two samples" if function in _OF_TWO else "has no sample"
    often = "" if function in _OF_TWO and window_ms < interval_ms else " at times"
    return f"{function} over [{format_duration(window_ms)}]{often} {lacks}, over [{format_duration(enough_ms)}] it has"

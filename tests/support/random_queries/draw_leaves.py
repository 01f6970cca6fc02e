"""Draws the leaves of queries: numbers, selectors, matrix selectors, the clauses of subqueries.

Rule: most conditions hold for some series, so that most answers are not empty.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from tests.support.random_queries.facts import Facts, Inadmissible
from tests.support.random_queries.lab_metrics import METRICS, NO_METRIC, PATTERNS, TWO_NAMES, VALUES, Metric, moment_s
from tests.support.random_queries.leaves import Number, Selector, Shift, Subquery
from tests.support.random_queries.tree import Tree, make

WINDOWS_S = (60, 90, 120, 180, 300, 300, 600, 900, 1800, 3600)
SPELLINGS = (
    *("0", "1", "2", "3", "7", "10", "0.5", "0.25", "-1", "-0.5", "100", "1000", "1e3", "1E-2", ".5", "5.", "2.50"),
    *("0x1F", "0XfF", "010", "007", "08", "1e+2", "+4", "Inf", "-Inf", "+inf", "NaN", "nan", "0.1", "86400", "1e9"),
)


def spelled(spelling: str) -> Tree:
    """Return the number that Prometheus reads from a spelling: digits behind a leading 0 are octal if they can be."""
    sign, digits = (-1 if spelling[0] == "-" else 1), spelling.lstrip("+-")
    if digits[:2] in ("0x", "0X"):
        value = float(int(digits, 16))
    elif digits[0] == "0" and digits.isdecimal() and not set(digits) & {"8", "9"}:
        value = float(int(digits, 8))
    else:
        value = float(digits)
    return make(Number(spelling, sign * value))


def number(rng: random.Random, fit: Callable[[Facts], bool]) -> Tree:
    """Draw a number that fits; raises Inadmissible."""
    for _ in range(20):
        tree = spelled(rng.choice(SPELLINGS))
        if fit(tree.facts):
            return tree
    raise Inadmissible("no number fits")


def level(rng: random.Random, vector: Tree) -> Tree:
    """Draw a number that some values of the vector are above and some below."""
    names = {getattr(leaf.rule, "name", None) for leaf in vector.leaves()}
    known = [metric.level for metric in METRICS if metric.name in names]
    usual = ["0", "1", "0.5", "5", "1e5"]
    return spelled(rng.choice([*usual, *(f"{value:g}" for value in known for _ in range(3))]))


def selector(rng: random.Random, fit: Callable[[Facts], bool]) -> Tree:
    """Draw a vector selector that fits; raises Inadmissible."""
    return _selector(rng, fit, lambda: 0)


def matrix(rng: random.Random, fit: Callable[[Facts], bool]) -> Tree:
    """Draw a matrix selector that fits; raises Inadmissible."""
    return _selector(rng, fit, lambda: rng.choice(WINDOWS_S))


def empty_selector(rng: random.Random) -> Tree:
    """Draw a selector that no series meets, for `absent`."""
    return make(_without_series(rng))


def empty_matrix(rng: random.Random) -> Tree:
    """Draw a matrix selector that no series meets, for `absent_over_time`."""
    return make(replace(_without_series(rng), window_s=rng.choice(WINDOWS_S)))


def _without_series(rng: random.Random) -> Selector:
    labels = rng.sample(sorted(VALUES), rng.randrange(3))
    matchers = [f'{label}{rng.choice(("=", "=", "!="))}"{rng.choice(VALUES[label])}"' for label in labels]
    return Selector(NO_METRIC.name, tuple(matchers), NO_METRIC.facts, shift(rng))


def _selector(rng: random.Random, fit: Callable[[Facts], bool], window_s: Callable[[], int]) -> Tree:
    for _ in range(30):
        metric = _metric(rng)
        if fit(metric.facts):
            name = metric.name
            first: tuple[str, ...] = ()
            if metric is TWO_NAMES:
                first = ('__name__=~"up|queue_depth"',)
            elif rng.random() < 0.05:
                name, first = "", (f'__name__="{metric.name}"',)
            matchers = first + _matchers(rng, metric)
            return make(Selector(name, matchers, metric.facts, shift(rng), window_s()))
    raise Inadmissible("no metric fits")


def _metric(rng: random.Random) -> Metric:
    draw = rng.random()
    if draw < 0.01:
        return TWO_NAMES
    if draw < 0.02:
        return NO_METRIC
    return rng.choices(METRICS, [metric.weight for metric in METRICS])[0]


def _matchers(rng: random.Random, metric: Metric) -> tuple[str, ...]:
    labels = sorted(metric.facts.labels)
    # The large metrics are cut down more often, for the time it takes.
    count = rng.choice((1, 1, 2) if len(labels) > 4 else (0, 0, 0, 1, 1, 2))
    return tuple(_matcher(rng, label) for label in rng.sample(labels, min(count, len(labels))))


def _matcher(rng: random.Random, label: str) -> str:
    draw = rng.random()
    if draw < 0.04:
        return rng.choice(('nosuch=""', 'nosuch!="x"', f'{label}!=""', f'{label}=~".+"'))
    if draw < 0.4:
        return f'{label}=~"{rng.choice(PATTERNS[label])}"'
    if draw < 0.55:
        return f'{label}!~"{rng.choice(VALUES[label]).lstrip("+")}"'
    if draw < 0.75:
        return f'{label}!="{rng.choice(VALUES[label])}"'
    quote = rng.choice('"""\'`')
    return f"{label}={quote}{rng.choice(VALUES[label])}{quote}"


def shift(rng: random.Random) -> Shift:
    """Draw the modifiers of a selector or subquery: mostly none."""
    offset_s = rng.choice((60, 300, 37, 600, -60, -37, 1200)) if rng.random() < 0.15 else 0
    at = ""
    if rng.random() < 0.08:
        at = rng.choice((moment_s(rng), moment_s(rng), "start()", "end()"))
    return Shift(offset_s, at, rng.random() < 0.5)


def subquery(rng: random.Random) -> Subquery:
    """Draw the clauses of a subquery: some windows are odd, for those inside another."""
    step_s = rng.choice((15, 20, 30, 45, 60, 60, 120, 0))
    count = rng.choice((2, 4, 5, 8, 12, 20))
    window_s = min(3600, count * (step_s or 60)) + rng.choice((0, 0, 7, 13))
    return Subquery(window_s, step_s, shift(rng))

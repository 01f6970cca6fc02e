"""Draws calls of functions; the generator draws their operands.

Rule: what a rule would find inadmissible is avoided by asking for an operand that fits, so that few draws are lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.random_queries import draw_leaves
from tests.support.random_queries.aggregations import Aggregation
from tests.support.random_queries.facts import SHARP, Facts, Inadmissible, admitted_by
from tests.support.random_queries.lab_metrics import BUCKETS
from tests.support.random_queries.leaves import Vector
from tests.support.random_queries.mathematics import DATES, Clamp, Mathematics
from tests.support.random_queries.operators import Binary, Sign
from tests.support.random_queries.range_functions import FUNCTIONS, SCALARS, RangeFunction
from tests.support.random_queries.tree import Tree, make
from tests.support.random_queries.vector_functions import (
    ODD_QUANTILES,
    Absent,
    HistogramQuantile,
    Relabelling,
    Timestamp,
)

if TYPE_CHECKING:
    from tests.support.random_queries.generator import Generator

RELABELLINGS = (
    ("label_replace", "zone", ('"zone"', '"$1"', '"pod"', '"(.*)-.*"')),
    ("label_replace", "zone", ('"zone"', '"z-${first}"', '"cluster"', '"(?P<first>.)(?:.*)"')),
    ("label_replace", "zone", ('"zone"', '"all"', '"nosuch"', '""')),
    ("label_replace", "service", ('"service"', '"$2$1"', '"service"', '"(.)(.*)"')),
    ("label_replace", "service", ('"service"', '"one"', '"service"', '"gate.*"')),
    ("label_replace", "code", ('"code"', '""', '"code"', '"5.."')),
    ("label_replace", "zone", ('"zone"', '"$1"', '"service"', '"(ate|e)"')),
    ("label_replace", "zone", ('"zone"', '"part"', '"cluster"', '"prod|e"')),
    ("label_replace", "__name__", ('"__name__"', '"renamed_$1"', '"service"', '"(.*)"')),
    ("label_join", "zone", ('"zone"', '"/"', '"cluster"', '"service"')),
    ("label_join", "pod", ('"pod"', '"-"', '"pod"', '"nosuch"', '"cluster"')),
    ("label_join", "zone", ('"zone"', '""', '"nosuch"')),
    ("label_join", "__name__", ('"__name__"', '":"', '"namespace"', '"__name__"')),
    ("label_join", "pod", ('"pod"', '"-"')),
)


def range_function(g: Generator, name: str, depth: int) -> Tree:
    """Draw a function of a range vector."""
    before, behind = SCALARS.get(name, (0, 0))
    usual = {
        "quantile_over_time": ("0.5", "0.9", "0", "1", "0.25", "0.99", "-1", "2", "NaN"),
        "double_exponential_smoothing": ("0.5", "0.1", "0.9", "0.3", "0.01", "0.99"),
        "predict_linear": ("3600", "60", "0", "-600", "1.5"),
    }.get(name, ())
    parameters = [g.parameter(usual, depth) for _ in range(before + behind)]
    if name == "double_exponential_smoothing" and g.rng.random() < 0.05:
        parameters[0] = draw_leaves.spelled("1")
    matrix = g.matrix(depth, admitted_by(FUNCTIONS[name]))
    if name == "predict_linear" and matrix.facts.fixed:
        raise Inadmissible("no @ below predict_linear")
    if name == "absent_over_time" and g.rng.random() < 0.8:
        matrix = draw_leaves.empty_matrix(g.rng)
    return make(RangeFunction(name), *parameters[:before], matrix, *parameters[before:])


def mathematics(g: Generator, name: str, depth: int) -> Tree:
    """Draw a function of every value, or of the date that it is."""
    if name in DATES and g.rng.random() < 0.5:
        operand = make(Timestamp(), g.vector(1))
        return make(Mathematics(name), operand)
    operand = g.vector(depth, admitted_by(lambda facts: Mathematics(name).facts([facts])))
    if name == "round" and g.rng.random() < 0.3:
        # Halves, which there are two ways to round.
        return make(Mathematics(name), make(Binary("/"), operand, draw_leaves.spelled("2")))
    if name == "round" and g.rng.random() < 0.5:
        return make(Mathematics(name), operand, g.parameter(("0.1", "10", "0.5", "2", "0", "-1", "1e3"), depth))
    return make(Mathematics(name), operand)


def clamp(g: Generator, name: str, depth: int) -> Tree:
    """Draw bounds for every value."""
    count = 2 if name == "clamp" else 1
    limits = [g.parameter(("0", "0.5", "5", "7", "1e6", "-2", "Inf", "NaN"), depth) for _ in range(count)]
    if count == 2 and g.rng.random() < 0.8:
        limits.sort(key=lambda limit: getattr(limit.rule, "value", 0.0))
    return make(Clamp(name), g.vector(depth), *limits)


def timestamp(g: Generator, name: str, depth: int) -> Tree:
    """Draw the timestamps of a selector, or of something else."""
    return make(Timestamp(), g.vector(1 if g.rng.random() < 0.7 else depth))


def relabelled(g: Generator, name: str, depth: int) -> Tree:
    """Draw label_replace or label_join."""
    function, target, strings = g.rng.choice([row for row in RELABELLINGS if row[0] == name])
    return make(Relabelling(function, target, strings), g.vector(depth))


def histogram_quantile(g: Generator, name: str, depth: int) -> Tree:
    """Draw a quantile of buckets: raw or of a range function, of each histogram or of their sum."""
    rng = g.rng

    def buckets(facts: Facts) -> bool:
        return "le" in facts.labels and facts.finite and facts.sign > 0

    operand = draw_leaves.selector(rng, buckets)
    if depth > 1 and rng.random() < 0.6:
        function = rng.choice(("rate", "increase", "rate", "max_over_time", "resets"))
        operand = make(RangeFunction(function), draw_leaves.matrix(rng, lambda f: f == BUCKETS.facts))
    if rng.random() < 0.6:
        kept = rng.choice((("le",), ("le", "cluster"), ("le", "service", "cluster"), ("le", "namespace")))
        operand = make(Aggregation("sum", "by", kept), operand)
    odd = operand.facts.noise != SHARP or rng.random() < 0.5
    usual = ODD_QUANTILES if odd else ("0", "0.5", "0.9", "0.95", "1", "-1", "1.01", "NaN", "0.25")
    return make(HistogramQuantile(odd), draw_leaves.spelled(rng.choice(usual)), operand)


def absent(g: Generator, name: str, depth: int) -> Tree:
    """Draw the absence of a selector without series mostly, of any vector sometimes."""
    if g.rng.random() < 0.8:
        return make(Absent(), draw_leaves.empty_selector(g.rng))
    return make(Absent(), g.vector(depth))


def vector(g: Generator, name: str, depth: int) -> Tree:
    """Draw a vector out of a scalar."""
    return make(Vector(), g.scalar(depth))


def signed(g: Generator, name: str, depth: int) -> Tree:
    """Draw a sign before a vector."""
    return make(Sign(name[-1]), g.vector(depth))

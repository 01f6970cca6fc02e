"""Draws aggregations and binary operators; the generator draws their operands.

Rule: labels are taken from those that the operands have, so that groups have rows and rows have partners. Now and then
they are not, and the answer is empty or an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.support.random_queries import draw_leaves
from tests.support.random_queries.aggregations import AGGREGATIONS, Aggregation
from tests.support.random_queries.facts import admitted_by
from tests.support.random_queries.lab_metrics import VALUES
from tests.support.random_queries.operators import COMPARISONS, Binary
from tests.support.random_queries.tree import Tree, make
from tests.support.random_queries.vector_functions import Relabelling

if TYPE_CHECKING:
    from tests.support.random_queries.generator import Generator

#: What `group_left` may take over from the other side.
INCLUDED = (("zone",), ("zone", "pod"), ("zone", "nosuch"), ("method",), ("zone",))


def aggregation(g: Generator, name: str, depth: int) -> Tree:
    """Draw an aggregation by labels that the operand has, mostly."""
    rng = g.rng
    operand = g.vector(depth, admitted_by(AGGREGATIONS[name]))
    clause = ""
    labels: tuple[str, ...] = ()
    if rng.random() < 0.8 and not operand.facts.chosen:
        clause = rng.choice(("by", "by", "without"))
        names = sorted(operand.facts.labels) or ["cluster"]
        labels = tuple(rng.sample(names, rng.randrange(min(3, len(names)) + 1)))
        if rng.random() < 0.1:
            labels += (rng.choice(("nosuch", "__name__", "le")),)
    usual = {"quantile": ("0.5", "0.9", "0", "1", "0.3", "-1", "2", "NaN")}.get(
        name, ("1", "2", "3", "5", "1.9", "100", "0", "-1")
    )
    parameters = [g.parameter(usual, depth)] if name in ("quantile", "topk", "bottomk") else []
    rule = Aggregation(
        name,
        clause,
        labels,
        clause_last=rng.random() < 0.2,
        value_label=rng.choice(("value", "value", "pod", "zz")) if name == "count_values" else "",
        spelling=name.upper() if rng.random() < 0.05 else "",
    )
    return make(rule, *parameters, operand)


def between(g: Generator, name: str, depth: int) -> Tree:
    """Draw an arithmetic or comparison operator that finds partners, mostly."""
    rng = g.rng
    draw = rng.random()
    if draw < 0.4:
        return _with_scalar(g, name, depth)
    if draw < 0.7:
        return _one_to_one(g, name, depth)
    if draw < 0.95:
        return _many_to_one(g, name, depth)
    rule = Binary(name, matching=rng.choice(("on", "ignoring", "")), labels=_some(g, sorted(VALUES), 2))
    return make(rule if rule.matching else Binary(name), g.vector(depth), g.vector(depth))


def _with_scalar(g: Generator, name: str, depth: int) -> Tree:
    rng = g.rng
    vector, returns_bool = g.vector(depth), name in COMPARISONS and rng.random() < 0.4
    scalar = g.scalar(min(depth, 3))
    if name in COMPARISONS and rng.random() < 0.7:
        scalar = draw_leaves.level(rng, vector)
    elif name in ("^", "/", "%") and rng.random() < 0.6:
        scalar = draw_leaves.spelled(rng.choice(("2", "0.5", "3", "7", "1e3", "-2")))
    sides = [vector, scalar] if rng.random() < 0.7 else [scalar, vector]
    return make(Binary(name, returns_bool, upper_case=rng.random() < 0.1), *sides)


def _one_to_one(g: Generator, name: str, depth: int) -> Tree:
    rng = g.rng
    left = g.vector(depth)
    labels = left.facts.labels
    right = g.vector(depth, labels=labels)
    matching = ""
    listed: tuple[str, ...] = ()
    if rng.random() < 0.4:
        matching, listed = ("on", tuple(sorted(labels))) if rng.random() < 0.5 else ("ignoring", ("nosuch",))
    returns_bool = name in COMPARISONS and rng.random() < 0.5
    return make(Binary(name, returns_bool, matching, listed), left, right)


def _many_to_one(g: Generator, name: str, depth: int) -> Tree:
    rng = g.rng
    many = g.vector(depth)
    shared = frozenset(_some(g, sorted(many.facts.labels), 3))
    one = g.vector(depth, labels=shared)
    include: tuple[str, ...] = ()
    if rng.random() < (0.9 if "group_left with labels" in g.favoured else 0.4):
        # A label of the other side that is not matched by: given with the group, or taken away.
        one = make(Relabelling("label_replace", "zone", ('"zone"', '"z$1"', '"service"', '"(.).*"')), one)
        include = rng.choice([names for names in INCLUDED if not shared & set(names)] or [()])
    listed = tuple(sorted(shared))
    group = rng.choice(("group_left", "group_right"))
    rule = Binary(name, name in COMPARISONS and rng.random() < 0.4, "on", listed, group, include)
    return make(rule, many, one) if group == "group_left" else make(rule, one, many)


def set_operation(g: Generator, name: str, depth: int) -> Tree:
    """Draw a set operator."""
    rng = g.rng
    left = g.vector(depth)
    right = g.vector(depth)
    matching = ""
    listed: tuple[str, ...] = ()
    if rng.random() < 0.6:
        both = sorted(left.facts.labels & right.facts.labels)
        matching, listed = "on", _some(g, both, 2)
    rule = Binary(name, matching=matching, labels=listed, upper_case=rng.random() < 0.1)
    return make(rule, left, right)


def _some(g: Generator, names: Sequence[str], most: int) -> tuple[str, ...]:
    return tuple(g.rng.sample(names, g.rng.randrange(min(most, len(names)) + 1)))

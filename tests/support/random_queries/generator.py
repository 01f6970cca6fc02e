"""Draws random admissible queries over the lab's metrics.

Rule: everything is drawn with one `random.Random`, so a seed repeats a run. A draw that a rule finds inadmissible is
thrown away and drawn again; `favoured` constructs are drawn far more often than others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from functools import partial

from tests.support.random_queries import draw_functions, draw_leaves, draw_operators
from tests.support.random_queries.aggregations import AGGREGATIONS, Aggregation
from tests.support.random_queries.arithmetic import ARITHMETIC
from tests.support.random_queries.facts import SHARP, Facts, Inadmissible
from tests.support.random_queries.leaves import Constant, Scalar
from tests.support.random_queries.mathematics import DATES, MATHEMATICS
from tests.support.random_queries.operators import COMPARISONS, SET_OPERATORS, Binary, Parentheses
from tests.support.random_queries.range_functions import FUNCTIONS
from tests.support.random_queries.tree import Tree, make
from tests.support.random_queries.vector_functions import Ordered

Fit = Callable[[Facts], bool]
#: How much more often a favoured construct is drawn.
FAVOUR = 30
ATTEMPTS = 12
DEEPEST = 5


def anything(facts: Facts) -> bool:
    """Accept every vector."""
    return True


class Generator:
    """Draws queries; see the module."""

    def __init__(self, rng: random.Random, favoured: Collection[str] = ()) -> None:
        self.rng = rng
        self.favoured = frozenset(favoured)

    def query(self, instant: bool) -> Tree:
        """Draw a query; a scalar or, for an instant, a range vector now and then."""
        rng = self.rng
        while True:
            draw = rng.random()
            try:
                if draw < 0.02:
                    tree = self.scalar(3)
                elif instant and draw < 0.05:
                    tree = self.matrix(2, anything)
                elif instant and draw < (0.5 if {"sort", "sort_desc"} & self.favoured else 0.09):
                    operator = self._pick(("sort", "sort_desc"))
                    tree = make(Ordered(operator), self.vector(rng.randrange(1, DEEPEST)))
                else:
                    tree = self.vector(rng.choice((1, 2, 3, 3, 4, 4, 5, 5)))
            except Inadmissible:
                continue
            if tree.depth <= DEEPEST + 1:
                return tree

    def vector(self, depth: int, fit: Fit = anything, labels: frozenset[str] | None = None) -> Tree:
        """Draw a vector of at most this depth that fits, whose rows differ in exactly the labels where they are given.

        Raises Inadmissible: none was found.
        """
        for _ in range(ATTEMPTS):
            try:
                tree = self._production(depth)
                if labels is not None and tree.facts.labels != labels:
                    tree = self._grouped(tree, labels)
                if fit(tree.facts):
                    return tree
            except Inadmissible:
                continue
        tree = draw_leaves.selector(self.rng, fit)
        return tree if labels in (None, tree.facts.labels) else self._grouped(tree, labels or frozenset())

    def _grouped(self, tree: Tree, labels: frozenset[str]) -> Tree:
        if not labels < tree.facts.labels:
            raise Inadmissible("not those labels")
        operator = self.rng.choice(("sum", "min", "max", "count", "avg", "group"))
        return make(Aggregation(operator, "by", tuple(sorted(labels))), tree)

    def _production(self, depth: int) -> Tree:
        if depth <= 1:
            return self._pick_drawn(self._leaves())
        tree = self._pick_drawn(self._leaves() + self._inner(depth))
        draw = self.rng.random()
        return make(Parentheses(comment=draw < 0.01), tree) if draw < 0.04 else tree

    def _leaves(self) -> list[tuple[float, str, Callable[[], Tree]]]:
        drawn: list[tuple[float, str, Callable[[], Tree]]] = [
            (3.0, "vector selector", lambda: draw_leaves.selector(self.rng, anything))
        ]
        drawn += [(0.02, f"{name}, no argument", partial(make, Constant(name))) for name in DATES]
        return drawn

    def _inner(self, depth: int) -> list[tuple[float, str, Callable[[], Tree]]]:
        below = depth - 1
        drawn: list[tuple[float, str, Callable[[], Tree]]] = []
        for names, weight, method in (
            (tuple(FUNCTIONS), 0.4, draw_functions.range_function),
            ((*MATHEMATICS, *DATES), 0.2, draw_functions.mathematics),
            (("clamp", "clamp_min", "clamp_max"), 0.25, draw_functions.clamp),
            (tuple(AGGREGATIONS), 0.7, draw_operators.aggregation),
            ((*ARITHMETIC, *COMPARISONS), 0.8, draw_operators.between),
            (SET_OPERATORS, 1.0, draw_operators.set_operation),
            (("label_replace", "label_join"), 0.5, draw_functions.relabelled),
            (("timestamp",), 0.6, draw_functions.timestamp),
            (("histogram_quantile",), 1.2, draw_functions.histogram_quantile),
            (("absent",), 0.15, draw_functions.absent),
            (("vector",), 0.25, draw_functions.vector),
            (("sign +", "sign -"), 0.4, draw_functions.signed),
        ):
            drawn += [(weight, name, partial(method, self, name, below)) for name in names]
        return drawn

    def _pick_drawn(self, productions: Sequence[tuple[float, str, Callable[[], Tree]]]) -> Tree:
        weights = [weight * (FAVOUR if name in self.favoured else 1) for weight, name, _ in productions]
        return self.rng.choices([draw for _, _, draw in productions], weights)[0]()

    def _pick(self, names: Sequence[str]) -> str:
        return self.rng.choices(names, [FAVOUR if name in self.favoured else 1 for name in names])[0]

    # --- scalars

    def scalar(self, depth: int, fit: Fit = anything) -> Tree:
        """Draw a scalar that fits; raises Inadmissible."""
        for _ in range(ATTEMPTS):
            try:
                tree = self._scalar(depth)
            except Inadmissible:
                continue
            if fit(tree.facts):
                return tree
        return draw_leaves.number(self.rng, fit)

    def _scalar(self, depth: int) -> Tree:
        draw = self.rng.random()
        if depth <= 1 or (draw < 0.6 and "scalar" not in self.favoured):
            if draw < 0.06:
                return make(Constant(self.rng.choice(("time", "pi"))))
            return draw_leaves.number(self.rng, anything)
        if draw < 0.8:
            # Of several rows there is no scalar, which is an answer too.
            labels: frozenset[str] | None = None if self.rng.random() < 0.15 else frozenset()
            return make(Scalar(), self.vector(depth - 1, labels=labels))
        operator = self._pick((*ARITHMETIC, *COMPARISONS))
        rule = Binary(operator, returns_bool=operator in COMPARISONS)
        return make(rule, self.scalar(depth - 1), self.scalar(depth - 1))

    def _sharp_scalar(self, depth: int) -> Tree:
        return self.scalar(min(depth, 2), lambda facts: facts.noise == SHARP)

    def parameter(self, names: Sequence[str], depth: int) -> Tree:
        """Draw a parameter: mostly one of the usual numbers, sometimes any scalar."""
        if self.rng.random() < 0.12 and depth > 1:
            return self._sharp_scalar(depth)
        return draw_leaves.spelled(self.rng.choice(names))

    # --- functions

    def matrix(self, depth: int, fit: Fit) -> Tree:
        """Draw a range vector that fits; raises Inadmissible."""
        share = 0.75 if "subquery" in self.favoured else 0.45
        if depth >= 1 and self.rng.random() < share:
            operand = self.vector(depth, fit)
            return make(draw_leaves.subquery(self.rng), operand)
        return draw_leaves.matrix(self.rng, fit)

"""Draws random admissible queries over the lab's metrics.

Rule: everything is drawn with one `random.Random`, so a seed repeats a run. A draw that a rule finds inadmissible is
thrown away and drawn again; `favoured` constructs are drawn far more often than others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from tests.support.random_queries import draw_leaves
from tests.support.random_queries.facts import SHARP, Facts, Inadmissible
from tests.support.random_queries.lab_metrics import BUCKETS, VALUES
from tests.support.random_queries.leaves import Constant, Scalar, Vector
from tests.support.random_queries.operators import (
    AGGREGATIONS,
    COMPARISONS,
    SET_OPERATORS,
    Aggregation,
    Binary,
    Parentheses,
    Sign,
)
from tests.support.random_queries.range_functions import FUNCTIONS, SCALARS, RangeFunction
from tests.support.random_queries.tree import Tree, make
from tests.support.random_queries.vector_functions import (
    DATES,
    MATHEMATICS,
    ODD_QUANTILES,
    Absent,
    Clamp,
    HistogramQuantile,
    Mathematics,
    Ordered,
    Relabelling,
    Timestamp,
)

T = TypeVar("T")
Fit = Callable[[Facts], bool]
#: How much more often a favoured construct is drawn.
FAVOUR = 30
ATTEMPTS = 12
DEEPEST = 5
ARITHMETIC = ("+", "-", "*", "/", "%", "^", "atan2")
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
#: What `group_left` may take over from the other side.
INCLUDED = (("zone",), ("zone", "pod"), ("zone", "nosuch"), ("method",), ("zone",))


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
        drawn += [(0.02, f"{name}, no argument", lambda name=name: make(Constant(name))) for name in DATES]
        return drawn

    def _inner(self, depth: int) -> list[tuple[float, str, Callable[[], Tree]]]:
        below = depth - 1
        drawn: list[tuple[float, str, Callable[[], Tree]]] = []
        for names, weight, method in (
            (tuple(FUNCTIONS), 0.4, self._range_function),
            ((*MATHEMATICS, *DATES), 0.2, self._mathematics),
            (("clamp", "clamp_min", "clamp_max"), 0.25, self._clamp),
            (tuple(AGGREGATIONS), 0.7, self._aggregation),
            ((*ARITHMETIC, *COMPARISONS), 0.8, self._between),
            (SET_OPERATORS, 1.0, self._set_operation),
            (("label_replace", "label_join"), 0.5, self._relabelled),
            (("timestamp",), 0.6, self._timestamp),
            (("histogram_quantile",), 1.2, self._histogram_quantile),
            (("absent",), 0.15, self._absent),
            (("vector",), 0.25, self._vector),
            (("sign +", "sign -"), 0.4, self._signed),
        ):
            drawn += [(weight, name, lambda m=method, n=name: m(n, below)) for name in names]
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
            labels = None if self.rng.random() < 0.15 else frozenset()
            return make(Scalar(), self.vector(depth - 1, labels=labels))
        operator = self._pick((*ARITHMETIC, *COMPARISONS))
        rule = Binary(operator, returns_bool=operator in COMPARISONS)
        return make(rule, self.scalar(depth - 1), self.scalar(depth - 1))

    def _sharp_scalar(self, depth: int) -> Tree:
        return self.scalar(min(depth, 2), lambda facts: facts.noise == SHARP)

    def _parameter(self, names: Sequence[str], depth: int) -> Tree:
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

    def _range_function(self, name: str, depth: int) -> Tree:
        def fit(facts: Facts) -> bool:
            try:
                FUNCTIONS[name](facts)
            except Inadmissible:
                return False
            return True

        before, behind = SCALARS.get(name, (0, 0))
        usual = {
            "quantile_over_time": ("0.5", "0.9", "0", "1", "0.25", "0.99", "-1", "2", "NaN"),
            "double_exponential_smoothing": ("0.5", "0.1", "0.9", "0.3", "0.01", "0.99"),
            "predict_linear": ("3600", "60", "0", "-600", "1.5"),
        }.get(name, ())
        parameters = [self._parameter(usual, depth) for _ in range(before + behind)]
        if name == "double_exponential_smoothing" and self.rng.random() < 0.05:
            parameters[0] = draw_leaves.spelled("1")
        matrix = self.matrix(depth, fit)
        if name == "predict_linear" and matrix.facts.fixed:
            raise Inadmissible("no @ below predict_linear")
        if name == "absent_over_time" and self.rng.random() < 0.8:
            matrix = draw_leaves.empty_matrix(self.rng)
        return make(RangeFunction(name), *parameters[:before], matrix, *parameters[before:])

    def _mathematics(self, name: str, depth: int) -> Tree:
        if name in DATES and self.rng.random() < 0.5:
            operand = make(Timestamp(), self.vector(1))
            return make(Mathematics(name), operand)

        def fit(facts: Facts) -> bool:
            try:
                make_known = Mathematics(name).facts([facts])
            except Inadmissible:
                return False
            return make_known is not None

        operand = self.vector(depth, fit)
        if name == "round" and self.rng.random() < 0.3:
            # Halves, which there are two ways to round.
            return make(Mathematics(name), make(Binary("/"), operand, draw_leaves.spelled("2")))
        if name == "round" and self.rng.random() < 0.5:
            return make(Mathematics(name), operand, self._parameter(("0.1", "10", "0.5", "2", "0", "-1", "1e3"), depth))
        return make(Mathematics(name), operand)

    def _clamp(self, name: str, depth: int) -> Tree:
        count = 2 if name == "clamp" else 1
        limits = [self._parameter(("0", "0.5", "5", "7", "1e6", "-2", "Inf", "NaN"), depth) for _ in range(count)]
        if count == 2 and self.rng.random() < 0.8:
            limits.sort(key=lambda limit: getattr(limit.rule, "value", 0.0))
        return make(Clamp(name), self.vector(depth), *limits)

    def _timestamp(self, name: str, depth: int) -> Tree:
        return make(Timestamp(), self.vector(1 if self.rng.random() < 0.7 else depth))

    def _relabelled(self, name: str, depth: int) -> Tree:
        function, target, strings = self.rng.choice([row for row in RELABELLINGS if row[0] == name])
        return make(Relabelling(function, target, strings), self.vector(depth))

    def _histogram_quantile(self, name: str, depth: int) -> Tree:
        rng = self.rng

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

    def _absent(self, name: str, depth: int) -> Tree:
        if self.rng.random() < 0.8:
            return make(Absent(), draw_leaves.empty_selector(self.rng))
        return make(Absent(), self.vector(depth))

    def _vector(self, name: str, depth: int) -> Tree:
        return make(Vector(), self.scalar(depth))

    def _signed(self, name: str, depth: int) -> Tree:
        return make(Sign(name[-1]), self.vector(depth))

    # --- operators

    def _aggregation(self, name: str, depth: int) -> Tree:
        rng = self.rng

        def fit(facts: Facts) -> bool:
            try:
                AGGREGATIONS[name](facts)
            except Inadmissible:
                return False
            return True

        operand = self.vector(depth, fit)
        clause, labels = "", ()
        if rng.random() < 0.8 and not operand.facts.chosen:
            clause = rng.choice(("by", "by", "without"))
            names = sorted(operand.facts.labels) or ["cluster"]
            labels = tuple(rng.sample(names, rng.randrange(min(3, len(names)) + 1)))
            if rng.random() < 0.1:
                labels += (rng.choice(("nosuch", "__name__", "le")),)
        usual = {"quantile": ("0.5", "0.9", "0", "1", "0.3", "-1", "2", "NaN")}.get(
            name, ("1", "2", "3", "5", "1.9", "100", "0", "-1")
        )
        parameters = [self._parameter(usual, depth)] if name in ("quantile", "topk", "bottomk") else []
        rule = Aggregation(
            name,
            clause,
            labels,
            clause_last=rng.random() < 0.2,
            value_label=rng.choice(("value", "value", "pod", "zz")) if name == "count_values" else "",
            spelling=name.upper() if rng.random() < 0.05 else "",
        )
        return make(rule, *parameters, operand)

    def _between(self, name: str, depth: int) -> Tree:
        rng = self.rng
        draw = rng.random()
        if draw < 0.4:
            return self._with_scalar(name, depth)
        if draw < 0.7:
            return self._one_to_one(name, depth)
        if draw < 0.95:
            return self._many_to_one(name, depth)
        rule = Binary(name, matching=rng.choice(("on", "ignoring", "")), labels=self._some(sorted(VALUES), 2))
        return make(rule if rule.matching else Binary(name), self.vector(depth), self.vector(depth))

    def _with_scalar(self, name: str, depth: int) -> Tree:
        rng = self.rng
        vector, returns_bool = self.vector(depth), name in COMPARISONS and rng.random() < 0.4
        scalar = self.scalar(min(depth, 3))
        if name in COMPARISONS and rng.random() < 0.7:
            scalar = draw_leaves.level(rng, vector)
        elif name in ("^", "/", "%") and rng.random() < 0.6:
            scalar = draw_leaves.spelled(rng.choice(("2", "0.5", "3", "7", "1e3", "-2")))
        sides = [vector, scalar] if rng.random() < 0.7 else [scalar, vector]
        return make(Binary(name, returns_bool, upper_case=rng.random() < 0.1), *sides)

    def _one_to_one(self, name: str, depth: int) -> Tree:
        rng = self.rng
        left = self.vector(depth)
        labels = left.facts.labels
        right = self.vector(depth, labels=labels)
        matching, listed = "", ()
        if rng.random() < 0.4:
            matching, listed = ("on", tuple(sorted(labels))) if rng.random() < 0.5 else ("ignoring", ("nosuch",))
        returns_bool = name in COMPARISONS and rng.random() < 0.5
        return make(Binary(name, returns_bool, matching, listed), left, right)

    def _many_to_one(self, name: str, depth: int) -> Tree:
        rng = self.rng
        many = self.vector(depth)
        shared = frozenset(self._some(sorted(many.facts.labels), 3))
        one = self.vector(depth, labels=shared)
        include = ()
        if rng.random() < (0.9 if "group_left with labels" in self.favoured else 0.4):
            # A label of the other side that is not matched by: given with the group, or taken away.
            one = make(
                Relabelling("label_replace", "zone", ('"zone"', '"z$1"', '"service"', '"(.).*"')),
                one,
            )
            spare = [names for names in INCLUDED if not shared & set(names)]
            include = rng.choice(spare)
        listed = tuple(sorted(shared))
        group = rng.choice(("group_left", "group_right"))
        rule = Binary(name, name in COMPARISONS and rng.random() < 0.4, "on", listed, group, include)
        return make(rule, many, one) if group == "group_left" else make(rule, one, many)

    def _set_operation(self, name: str, depth: int) -> Tree:
        rng = self.rng
        left = self.vector(depth)
        right = self.vector(depth)
        matching, listed = "", ()
        if rng.random() < 0.6:
            both = sorted(left.facts.labels & right.facts.labels)
            matching, listed = "on", self._some(both, 2)
        rule = Binary(name, matching=matching, labels=listed, upper_case=rng.random() < 0.1)
        return make(rule, left, right)

    def _some(self, names: Sequence[str], most: int) -> tuple[str, ...]:
        return tuple(self.rng.sample(names, self.rng.randrange(min(most, len(names)) + 1)))

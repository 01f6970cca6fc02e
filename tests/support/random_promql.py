"""Draws PromQL expressions of the supported subset, for data whose labels are those named here.

Sums of parts may differ from a sum of everything in their last digit. So it is known of every expression whether its
values are *whole* (integers that add up exactly) or *rough* (a sum of values that are not), and nothing is put over
rough ones that makes a last digit matter: filters, choices, divisors.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

CLUSTERS = ("app-prod", "dev", "prod", "shared-services", "stage", "test")
LABEL_NAMES = ("cluster", "service", "pod", "exported_cluster", "le", "nosuch")
PATTERNS = ("prod|dev", ".*prod", "p.*", ".+", ".*", "", "(?i)PROD", "s.*|test")
LITERALS = ("0", "1", "2", "-3", "0.5", "7", "NaN", "Inf", "-Inf")


@dataclass(frozen=True)
class Drawn:
    """A vector or scalar expression, and what is known of its values; NaN and ±Inf are whole."""

    text: str
    whole: bool = False
    rough: bool = False


class Queries:
    """Draws expressions of the supported subset."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def query(self, depth: int) -> str:
        return self.scalar(2).text if self.rng.random() < 0.03 else self.vector(depth).text

    def scalar(self, depth: int) -> Drawn:
        rng = self.rng
        if depth == 0 or rng.random() < 0.7:
            literal = rng.choice(LITERALS)
            return Drawn(literal, whole=literal != "0.5")
        left, right = self.scalar(depth - 1), self.scalar(depth - 1)
        operator = rng.choice(("+", "-", "*", "/", "%", "^", "> bool", "== bool"))
        return Drawn(f"({left.text} {operator} {right.text})")

    def vector(self, depth: int) -> Drawn:
        draw: list[Callable[[int], Drawn]] = [self.selector, self.over_time, self.counter_function]
        if depth > 0:
            draw += 3 * [self.aggregation, self.between_vectors] + 2 * [self.with_scalar, self.choice]
            draw += [self.negation, self.histogram_quantile, self.aggregation, self.join, self.join]
        return self.rng.choice(draw)(depth - 1)

    def selector(self, depth: int = 0) -> Drawn:
        return Drawn(f"{self.series()}{self.offset()}", whole=True)

    def series(self) -> str:
        rng = self.rng
        conditions = [self.condition() for _ in range(rng.choice((0, 0, 1, 1, 2)))]
        name = rng.choice(("requests", "requests", "depth", "depth", "latency_bucket", "nosuch", ""))
        if not name:
            conditions.insert(0, rng.choice(('__name__=~"depth|requests"', '__name__="depth"', '__name__!="depth"')))
            # A selector needs one condition that the empty label does not meet.
            conditions.append('service=~".+"')
        return f"{name}{{{','.join(conditions)}}}" if conditions else name

    def condition(self) -> str:
        rng = self.rng
        if rng.random() < 0.6:
            operator = rng.choice(("=", "!=", "!=", "=~", "=~", "!~"))
            return f'cluster{operator}"{rng.choice(PATTERNS if "~" in operator else (*CLUSTERS, "nosuch", ""))}"'
        label = rng.choice(("service", "pod", "exported_cluster", "nosuch"))
        return f'{label}{rng.choice(("=", "!=", "=~", "!~"))}"{rng.choice(("a", "b", "a|b", "0", "old", ""))}"'

    def offset(self) -> str:
        return self.rng.choice(("", "", "", "", " offset 1m", " offset -37s", " offset 20m"))

    def matrix(self) -> str:
        return f"{self.series()}[{self.rng.choice(('15s', '37s', '1m', '2m', '5m', '1h'))}]{self.offset()}"

    def over_time(self, depth: int) -> Drawn:
        whole, broken = ("sum", "count", "min", "max", "last", "present"), ("avg", "stddev", "stdvar", "quantile")
        function = self.rng.choice(whole + broken)
        parameter = f"{self.scalar(1).text}, " if function == "quantile" else ""
        return Drawn(f"{function}_over_time({parameter}{self.matrix()})", function in whole)

    def counter_function(self, depth: int) -> Drawn:
        return Drawn(f"{self.rng.choice(('rate', 'increase', 'delta', 'irate'))}({self.matrix()})")

    def grouping(self, operator: str, operand: str) -> str:
        rng = self.rng
        if rng.random() < 0.2:
            return f"{operator}({operand})"
        names = rng.sample((*LABEL_NAMES, "__name__"), rng.randrange(4))
        clause = f"{rng.choice(('by', 'without'))} ({', '.join(names)})"
        return f"{operator} {clause} ({operand})"

    def aggregation(self, depth: int) -> Drawn:
        inner = self.vector(depth)
        operator = self.rng.choice(("sum", "avg", "min", "max", "count"))
        rough = inner.rough or (operator in ("sum", "avg") and not inner.whole)
        whole = operator == "count" or (operator != "avg" and inner.whole)
        return Drawn(self.grouping(operator, inner.text), whole, rough and operator != "count")

    def choice(self, depth: int) -> Drawn:
        inner = self.smooth(depth)
        size = self.rng.choice(("-1", "0", "1", "1", "2", "2", "3.7", "1 + 1", "100"))
        return Drawn(self.grouping(self.rng.choice(("topk", "bottomk")), f"{size}, {inner.text}"), inner.whole)

    def smooth(self, depth: int) -> Drawn:
        """Draw a vector whose last digits are certain."""
        while (drawn := self.vector(depth)).rough:
            pass
        return drawn

    def negation(self, depth: int) -> Drawn:
        inner = self.vector(depth)
        return Drawn(f"-({inner.text})", inner.whole, inner.rough)

    def histogram_quantile(self, depth: int) -> Drawn:
        buckets = f"latency_bucket{self.offset()}"
        if self.rng.random() < 0.7:
            buckets = self.grouping("sum", buckets)
        return Drawn(f"histogram_quantile({self.scalar(1).text}, {buckets})")

    def with_scalar(self, depth: int) -> Drawn:
        operator = self.rng.choice(("+", "-", "*", "/", "%", "^", ">", "<=", "==", "!=", "> bool", "== bool"))
        vector = self.vector(depth) if operator in "+-*" else self.smooth(depth)
        scalar = self.scalar(1)
        whole = (vector.whole and scalar.whole and operator in "+-") or operator.endswith("bool")
        if operator in (">", "<=", "==", "!="):
            whole = vector.whole
        left, right = self.rng.sample((vector.text, scalar.text), 2)
        return Drawn(f"(({left}) {operator} ({right}))", whole, vector.rough)

    def join(self, depth: int) -> Drawn:
        """Draw a matching of groups by labels that the sides have in common, so that most of them find a partner."""
        rng = self.rng
        names = rng.sample(("cluster", "service", "pod"), rng.randrange(1, 3))
        sides = [self.vector(depth) for _ in range(2)]
        texts = [f"{rng.choice(('min', 'max', 'count'))} by ({', '.join(names)}) ({side.text})" for side in sides]
        matching = rng.choice((f"on ({rng.choice((names[0], ', '.join(names)))})", "ignoring (cluster)", ""))
        operator = rng.choice(("+", "-", "*"))
        return Drawn(f"(({texts[0]}) {operator} {matching} ({texts[1]}))", rough=any(side.rough for side in sides))

    def between_vectors(self, depth: int) -> Drawn:
        rng = self.rng
        operator = rng.choice(("+", "-", "*", "/", "%", "^", ">", "==", "!=", "< bool", "== bool"))
        draw = self.vector if operator in "+-*" else self.smooth
        left, right = draw(depth), draw(depth)
        matching = ""
        if rng.random() < 0.6:
            names = rng.sample((*LABEL_NAMES, "__name__"), rng.randrange(4))
            matching = f" {rng.choice(('on', 'ignoring'))} ({', '.join(names)})"
        whole = operator.endswith("bool") or (left.whole and right.whole and operator in "+-")
        if operator in (">", "==", "!="):
            whole = left.whole
        return Drawn(f"(({left.text}) {operator}{matching} ({right.text}))", whole, left.rough or right.rough)

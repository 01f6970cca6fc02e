"""Which values make an expression's answer not empty: comparisons, followed down to the selectors they look at.

Rule: a wish is no promise. It goes through arithmetic with constants, aggregations and functions as far as they can be
turned round in one line; what cannot is left to chance, and whether there is an answer is seen by asking.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from federation_core.labels import Selector
from federation_core.signals.metrics.expr import (
    COMPARISONS,
    Aggregate,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    Subquery,
    Unary,
    VectorSelector,
    children,
)

#: What something is compared with, or divided by, that is not constant itself.
BASE = 16.0
_RATES = frozenset({"rate", "irate", "increase", "delta", "idelta", "deriv"})
#: What hides every value from what is above.
_BLIND = frozenset({"count", "group", "stdvar", "stddev", "timestamp", "histogram_quantile", "quantile"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What a selector's series should be: a value, or its growth per second; `hidden` if they should rather not be."""

    value: float | None = None
    per_second: bool = False
    changing: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """One selector of an expression, and what is wished of its series.

    Several of its series may be alike in the labels `seen`; None: each is the only one that a partner may meet.
    """

    selector: Selector
    wish: Wish
    seen: frozenset[str] | None


def uses_of(expr: Expr, now_s: float) -> tuple[Use, ...]:
    """Return the selectors of an expression with what would make its answer hold something at this time."""
    return tuple(_uses(expr, Wish(), frozenset(), now_s))


def _uses(expr: Expr, wish: Wish, seen: frozenset[str] | None, now_s: float) -> Iterator[Use]:
    match expr:
        case VectorSelector(selector=selector) | MatrixSelector(selector=selector):
            yield Use(selector, wish, seen)
        case Binary(left=left, right=right, matching=matching):
            ours, theirs = _sides(expr, wish, now_s)
            one_sided = constant(left, now_s) is not None or constant(right, now_s) is not None
            kept = None if seen is None else seen | set(matching.labels)
            many = {"left": one_sided, "right": one_sided}
            if matching.on:
                many = {"left": matching.card == "many-to-one", "right": matching.card == "one-to-many"}
            yield from _uses(left, ours, kept if many["left"] else None, now_s)
            yield from _uses(right, theirs, kept if many["right"] else None, now_s)
        case _:
            below = _below(expr, wish)
            if isinstance(expr, Aggregate):
                seen = frozenset(() if expr.grouping.without else expr.grouping.labels)
            for child in children(expr):
                yield from _uses(child, below, seen, now_s)


def _below(expr: Expr, wish: Wish) -> Wish:
    match expr:
        case Unary():
            return replace(wish, value=None if wish.value is None else -wish.value)
        case Aggregate(operator=name) | Call(function=name) if name in _BLIND:
            return replace(wish, value=None)
        case Call(function="absent" | "absent_over_time"):
            return replace(wish, hidden=True)
        case Call(function="changes" | "resets"):
            return replace(wish, value=None, changing=True)
        case Call(function=name) if name in _RATES:
            operand = expr.arguments[0]
            window_s = operand.window_ms / 1000 if isinstance(operand, MatrixSelector | Subquery) else 1.0
            whole = name in ("increase", "delta", "idelta") and wish.value is not None
            return replace(wish, value=wish.value / window_s if whole else wish.value, per_second=True)  # type: ignore[operator]
    return wish


def _sides(expr: Binary, wish: Wish, now_s: float) -> tuple[Wish, Wish]:
    left, right = constant(expr.left, now_s), constant(expr.right, now_s)
    if expr.operator in COMPARISONS:
        if right is None and left is not None:
            return wish, replace(wish, value=_passing(_turned(expr.operator), left))
        bound = BASE if right is None else right
        fits = wish.value is not None and _holds(expr.operator, wish.value, bound)
        return replace(wish, value=wish.value if fits else _passing(expr.operator, bound)), replace(wish, value=bound)
    if expr.operator in ("and", "unless"):
        return wish, replace(wish, value=None, hidden=wish.hidden or expr.operator == "unless")
    if expr.operator == "or" or wish.value is None:
        return wish, wish
    return replace(wish, value=_undone(expr.operator, wish.value, right)), replace(
        wish, value=_undone_right(expr.operator, wish.value, left)
    )


def _undone(operator: str, value: float, right: float | None) -> float | None:
    """Return what the left operand has to be for this value; a right operand that is not constant will be chosen."""
    match operator:
        case "+":
            return value - right if right is not None else value / 2
        case "-":
            return value + (BASE if right is None else right)
        case "*":
            return value if right is None else value / right if right else None
        case "/":
            return value * (BASE if right is None else right)
    return None


def _undone_right(operator: str, value: float, left: float | None) -> float | None:
    match operator:
        case "+":
            return value - left if left is not None else value / 2
        case "-":
            return BASE if left is None else left - value
        case "*":
            return 1.0 if left is None else value / left if left else None
        case "/":
            return BASE if left is None else left / value if value else None
    return None


def _passing(operator: str, bound: float) -> float:
    size = abs(bound) or 1.0
    match operator:
        case "==":
            return bound
        case "!=":
            return bound + 1.0
        case ">" | ">=":
            return bound + size / 2
    return bound - size / 2


def _holds(operator: str, value: float, bound: float) -> bool:
    match operator:
        case "==":
            return value == bound
        case "!=":
            return value != bound
        case ">" | ">=":
            return value > bound
    return value < bound


def _turned(operator: str) -> str:
    return {">": "<", "<": ">", ">=": "<=", "<=": ">="}.get(operator, operator)


def constant(expr: Expr, now_s: float) -> float | None:
    """Return the value of an expression over numbers and the time; None of any other."""
    match expr:
        case NumberLiteral(value=value):
            return value
        case Call(function="time"):
            return now_s
        case Call(function="vector", arguments=(inner,)):
            return constant(inner, now_s)
        case Unary(operand=operand):
            found = constant(operand, now_s)
            return None if found is None else -found
        case Binary(operator=operator, left=left, right=right):
            ours, theirs = constant(left, now_s), constant(right, now_s)
            if ours is None or theirs is None:
                return None
            match operator:
                case "+":
                    return ours + theirs
                case "-":
                    return ours - theirs
                case "*":
                    return ours * theirs
                case "/" if theirs:
                    return ours / theirs
    return None

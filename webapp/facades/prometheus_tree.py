"""A query's syntax tree as Prometheus shows it to those who draw it (`/api/v1/parse_query`).

Rule: our tree has no parentheses; they stand here where the printed text needs them, so that what is drawn reads as
what will be evaluated. A plus before an operand is not there, because it does nothing.
Source: Prometheus' own answers to `/api/v1/parse_query`; documentation, "Functions", for the types of arguments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from federation_core.labels import NAME, Matcher, MatchOp, Selector
from federation_core.signals.metrics.expr import (
    PRECEDENCE,
    SET_OPERATORS,
    Aggregate,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
)

#: Argument types, how many more of the last may follow (-1: any number), result → functions.
_SIGNATURES: Final = (
    (
        "vector", 0, "vector",
        "abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_avg histogram_count"
        " histogram_stddev histogram_stdvar histogram_sum ln log10 log2 rad sgn sin sinh sort sort_desc sqrt tan tanh"
        " timestamp",
    ),
    (
        "matrix", 0, "vector",
        "absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta increase irate"
        " last_over_time mad_over_time max_over_time min_over_time present_over_time rate resets stddev_over_time"
        " stdvar_over_time sum_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time"
        " ts_of_min_over_time",
    ),
    ("", 0, "scalar", "end pi range start step time"),
    ("vector", 0, "scalar", "scalar"),
    ("scalar", 0, "vector", "vector"),
    ("vector", 1, "vector", "day_of_month day_of_week day_of_year days_in_month hour minute month year"),
    ("vector scalar scalar", 0, "vector", "clamp"),
    ("vector scalar", 0, "vector", "clamp_max clamp_min"),
    ("scalar scalar", 0, "scalar", "max_of min_of"),
    ("vector scalar", 1, "vector", "round"),
    ("scalar vector", 0, "vector", "histogram_quantile"),
    ("vector string scalar scalar", 9, "vector", "histogram_quantiles"),
    ("scalar scalar vector", 0, "vector", "histogram_fraction"),
    ("scalar matrix", 0, "vector", "quantile_over_time"),
    ("matrix scalar", 0, "vector", "predict_linear"),
    ("matrix scalar scalar", 0, "vector", "double_exponential_smoothing"),
    ("vector string string string", -1, "vector", "label_join"),
    ("vector string string string string", 0, "vector", "label_replace"),
    ("vector string", -1, "vector", "sort_by_label sort_by_label_desc"),
)  # fmt: skip
#: Function → its description.
FUNCTIONS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        name: {"name": name, "argTypes": arguments.split(), "variadic": variadic, "returnType": result}
        for arguments, variadic, result, names in _SIGNATURES
        for name in names.split()
    }
)


def tree_json(expr: Expr) -> dict[str, Any]:
    """Return an expression as JSON values, each node with its `type`.

    >>> tree_json(Binary("*", NumberLiteral(2.0), Unary(NumberLiteral(1.5))))["rhs"]["type"]
    'parenExpr'
    """
    match expr:
        case NumberLiteral(value=value):
            return {"type": "numberLiteral", "val": _number(value)}
        case StringLiteral(value=text):
            return {"type": "stringLiteral", "val": text}
        case VectorSelector(selector=selector):
            return {"type": "vectorSelector", **_selected(selector), **_when(expr)}
        case MatrixSelector(selector=selector, window_ms=window_ms):
            return {"type": "matrixSelector", "range": window_ms, **_selected(selector), **_when(expr)}
        case Subquery(operand=operand, window_ms=window_ms, step_ms=step_ms):
            shifted = isinstance(operand, VectorSelector) and operand != VectorSelector(operand.selector)
            plain = isinstance(operand, Call | Aggregate | VectorSelector) and not shifted
            inner = _operand(operand, not plain)
            return {"type": "subquery", "expr": inner, "range": window_ms, "step": step_ms or 0, **_when(expr)}
        case Call(function=function, arguments=arguments):
            return {"type": "call", "func": dict(FUNCTIONS[function]), "args": [tree_json(a) for a in arguments]}
        case Unary(operand=operand):
            inner = _operand(operand, isinstance(operand, Unary | Binary | NumberLiteral))
            return {"type": "unaryExpr", "op": "-", "expr": inner}
        case Aggregate(operator=operator, operand=operand, grouping=grouping, parameter=parameter):
            return {
                "type": "aggregation",
                "op": operator,
                "expr": tree_json(operand),
                "param": None if parameter is None else tree_json(parameter),
                "grouping": list(grouping.labels),
                "without": grouping.without,
            }
        case Binary():
            return _binary(expr)
    raise TypeError(f"not a PromQL node: {type(expr).__name__}")


def _binary(expr: Binary) -> dict[str, Any]:
    rank, right_assoc = PRECEDENCE[expr.operator], expr.operator == "^"
    return {
        "type": "binaryExpr",
        "op": expr.operator,
        "lhs": _operand(expr.left, _binds_looser(expr.left, rank + right_assoc)),
        "rhs": _operand(expr.right, _binds_looser(expr.right, rank + (not right_assoc))),
        "matching": None if _is_scalar(expr.left) or _is_scalar(expr.right) else _matching(expr),
        "bool": expr.returns_bool,
    }


def _matching(expr: Binary) -> dict[str, Any]:
    matching = expr.matching
    return {
        "card": "many-to-many" if expr.operator in SET_OPERATORS else matching.card,
        "labels": list(matching.labels),
        "on": matching.on,
        "include": list(matching.include),
        "fillValues": {"lhs": _fill(matching.fill_left), "rhs": _fill(matching.fill_right)},
    }


def _fill(value: float | None) -> float | str | None:
    # JSON has no NaN and no infinities.
    return value if value is None or math.isfinite(value) else _number(value)


def _operand(expr: Expr, parenthesised: bool) -> dict[str, Any]:
    shown = tree_json(expr)
    return {"type": "parenExpr", "expr": shown} if parenthesised else shown


def _binds_looser(operand: Expr, rank: int) -> bool:
    if isinstance(operand, NumberLiteral):
        return math.copysign(1.0, operand.value) < 0
    return isinstance(operand, Unary) or (isinstance(operand, Binary) and PRECEDENCE[operand.operator] < rank)


def _is_scalar(expr: Expr) -> bool:
    match expr:
        case NumberLiteral():
            return True
        case Unary(operand=operand):
            return _is_scalar(operand)
        case Call(function=function):
            return bool(FUNCTIONS[function]["returnType"] == "scalar")
        case Binary(left=left, right=right):
            return _is_scalar(left) and _is_scalar(right)
    return False


def _selected(selector: Selector) -> dict[str, Any]:
    names = [m for m in selector.matchers if m.label == NAME and m.op is MatchOp.EQ]
    # Prometheus lists the condition that a name before the braces is after those inside.
    first = names[:1] if selector.matchers[:1] == tuple(names[:1]) else []
    listed = [*selector.matchers[len(first) :], *first]
    return {"name": first[0].value if first else "", "matchers": [_matcher(matcher) for matcher in listed]}


def _matcher(matcher: Matcher) -> dict[str, str]:
    return {"name": matcher.label, "type": matcher.op.value, "value": matcher.value}


def _when(node: VectorSelector | MatrixSelector | Subquery) -> dict[str, Any]:
    return {
        "offset": node.offset_ms,
        "timestamp": node.at if isinstance(node.at, int) else None,
        "startOrEnd": node.at if isinstance(node.at, str) else None,
    }


def _number(value: float) -> str:
    """Write a number without an exponent, with the digits that tell it from its neighbours."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return f"{Decimal(repr(value)):f}".removesuffix(".0")

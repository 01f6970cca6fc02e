"""Predicates of the planner: may this node be answered inside one cluster?

Ground rule: correctness outranks speed. A node is local only if every series of its result depends on series of one
cluster alone and keeps telling which; what is not proven here is not pushed.
"""

from __future__ import annotations

from federation_core.labels import CLUSTER, NAME
from federation_core.signals.metrics.expr import (
    Aggregate,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    Unary,
    VectorSelector,
    children,
    selectors,
)
from federation_core.signals.metrics.functions import FUNCTIONS

#: Aggregations whose partial results combine exactly at the root.
SPLITTABLE = frozenset({"sum", "min", "max", "count", "avg", "topk", "bottomk"})


def is_constant(expr: Expr) -> bool:
    """Tell whether the expression reads no series: it has one value, and never one per cluster."""
    return next(selectors(expr), None) is None


def is_local(expr: Expr) -> bool:
    """Tell whether each cluster can answer the expression alone, the answers united being the whole answer."""
    return not is_constant(expr) and why_not_local(expr) == ""


def why_not_local(expr: Expr) -> str:
    """Say why an expression cannot be answered cluster by cluster; empty if it can.

    Constant operands are no obstacle: they are the same everywhere.
    """
    own = _obstacle(expr)
    if own:
        return own
    below = (why_not_local(child) for child in children(expr) if not is_constant(child))
    return "an operand spans clusters" if any(below) else ""


def _obstacle(expr: Expr) -> str:
    match expr:
        case NumberLiteral() | VectorSelector() | MatrixSelector() | Unary():
            return ""
        case Call(function=name):
            return "" if FUNCTIONS[name].per_series else f"{name} looks at all clusters at once"
        case Aggregate(grouping=grouping, parameter=parameter):
            if parameter is not None and not is_constant(parameter):
                return "its parameter is computed from series"
            return "" if grouping.keeps(CLUSTER) else "its groups span clusters"
        case Binary(left=left, right=right, matching=matching):
            if is_constant(left) or is_constant(right):
                return ""
            return "" if matching.keeps(CLUSTER) else "its matching spans clusters"
    raise TypeError(f"not a PromQL node: {type(expr).__name__}")


def is_splittable(expr: Expr) -> bool:
    """Tell whether the expression is an aggregation over clusters that each of them can do a part of."""
    if not isinstance(expr, Aggregate) or expr.operator not in SPLITTABLE or not is_local(expr.operand):
        return False
    if expr.parameter is not None and not is_constant(expr.parameter):
        return False
    # An average is a quotient at the root, and a quotient has no metric name to group by.
    return not (expr.operator == "avg" and not expr.grouping.without and NAME in expr.grouping.labels)

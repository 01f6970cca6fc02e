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
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
    children,
)
from federation_core.signals.metrics.functions import FUNCTIONS

#: Aggregations whose partial results combine exactly at the root.
SPLITTABLE = frozenset({"sum", "min", "max", "count", "avg", "group", "topk", "bottomk", "count_values"})
#: Aggregations that choose among all series by what is no value of them.
_CHOOSING = frozenset({"limitk", "limit_ratio"})
#: Functions whose result is a scalar: one value, with no labels.
_SCALARS = frozenset({"time", "pi", "scalar", "min_of", "max_of"})
_SELECTORS = (VectorSelector, MatrixSelector)


def is_constant(expr: Expr) -> bool:
    """Tell whether the expression reads no series: it has one value, and never one per cluster."""
    if isinstance(expr, _SELECTORS):
        return False
    # Long expressions are chains that grow to the left: the last operand is near, the first one is far below.
    return all(map(is_constant, reversed(children(expr))))


def is_scalar(expr: Expr) -> bool:
    """Tell whether the expression is a scalar (or a string), which every vector may be combined with."""
    match expr:
        case NumberLiteral() | StringLiteral():
            return True
        case Call(function=name):
            return name in _SCALARS
        case Unary(operand=operand):
            return is_scalar(operand)
        case Binary(left=left, right=right):
            return is_scalar(left) and is_scalar(right)
    return False


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
    below = (why_not_local(child) for child in reversed(children(expr)) if not is_constant(child))
    return "an operand spans clusters" if any(below) else ""


def _obstacle(expr: Expr) -> str:
    match expr:
        case NumberLiteral() | StringLiteral() | VectorSelector() | MatrixSelector() | Subquery() | Unary():
            return ""
        case Call(function=name):
            if not FUNCTIONS[name].per_series:
                return f"{name} looks at all clusters at once"
            if name == "timestamp" and not isinstance(expr.arguments[0], VectorSelector):
                # Folding could leave a bare selector, of whose samples `timestamp` tells the times instead.
                return "it is the time of the step, not of samples"
            return "it reads or writes the label cluster" if _touches_cluster(expr) else ""
        case Aggregate():
            return _obstacle_of_aggregation(expr)
        case Binary():
            return _obstacle_of_matching(expr)
    raise TypeError(f"not a PromQL node: {type(expr).__name__}")


def _touches_cluster(call: Call) -> bool:
    # Labels are named by strings alone; a replacement or separator of that spelling costs a push-down, no more.
    return StringLiteral(CLUSTER) in call.arguments


def _obstacle_of_aggregation(node: Aggregate) -> str:
    if node.operator in _CHOOSING:
        return f"{node.operator} looks at all clusters at once"
    if node.parameter is not None and not is_constant(node.parameter):
        return "its parameter is computed from series"
    if node.parameter == StringLiteral(CLUSTER):
        return "it reads or writes the label cluster"
    return "" if node.grouping.keeps(CLUSTER) else "its groups span clusters"


def _obstacle_of_matching(node: Binary) -> str:
    matching = node.matching
    if is_scalar(node.left) or is_scalar(node.right):
        return ""
    if is_constant(node.left) or is_constant(node.right):
        return "an operand belongs to no cluster"
    if matching.fill_left is not None or matching.fill_right is not None:
        return "it makes series out of missing ones"
    if CLUSTER in matching.include:
        return "it reads or writes the label cluster"
    return "" if matching.keeps(CLUSTER) else "its matching spans clusters"


def is_splittable(expr: Expr) -> bool:
    """Tell whether the expression is an aggregation over clusters that each of them can do a part of."""
    if not isinstance(expr, Aggregate) or expr.operator not in SPLITTABLE or not is_local(expr.operand):
        return False
    if expr.parameter is not None and not is_constant(expr.parameter):
        return False
    match expr.operator:
        case "avg":
            # An average is a quotient at the root, and a quotient has no metric name to group by.
            return expr.grouping.without or NAME not in expr.grouping.labels
        case "count_values":
            # The root must be able to keep the label that the value became.
            assert isinstance(expr.parameter, StringLiteral)
            label = expr.parameter.value
            return label not in (CLUSTER, NAME) and not (expr.grouping.without and label in expr.grouping.labels)
    return True

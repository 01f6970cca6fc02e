"""Prints the syntax tree of PromQL.

Rule: `parse(to_text(x)) == x`. Every text sent anywhere comes from here, so what is enforced in the tree is in the
text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from federation_core.labels import NAME, Matcher, MatchOp, Selector, quote
from federation_core.signals.metrics.expr import (
    PRECEDENCE,
    Aggregate,
    Binary,
    Call,
    Expr,
    Grouping,
    Matching,
    MatrixSelector,
    NumberLiteral,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
)
from federation_core.times import format_duration

_PLAIN_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_PLAIN_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Words that the grammar reads as numbers, operators or modifiers: as names they are printed in quotes.
RESERVED = frozenset(
    {"inf", "nan", "and", "or", "unless", "atan2", "on", "ignoring", "group_left", "group_right", "bool", "without"}
    | {"anchored", "smoothed"}
)


def to_text(expr: Expr) -> str:
    """Print an expression as PromQL.

    >>> to_text(Binary("*", Binary("+", NumberLiteral(1.0), NumberLiteral(2.5)), NumberLiteral(-3.0)))
    '(1 + 2.5) * (-3)'
    """
    match expr:
        case NumberLiteral(value=value):
            return _number(value)
        case StringLiteral(value=value):
            return quote(value)
        case VectorSelector(selector=selector):
            return selector_text(selector) + _when(expr)
        case MatrixSelector(selector=selector, window_ms=window_ms):
            return f"{selector_text(selector)}[{format_duration(window_ms)}]{_when(expr)}"
        case Subquery(operand=operand, window_ms=window_ms, step_ms=step_ms):
            plain = isinstance(operand, Call | Aggregate | VectorSelector) and not _is_shifted(operand)
            inner = _operand(operand, not plain)
            step = "" if step_ms is None else format_duration(step_ms)
            return f"{inner}[{format_duration(window_ms)}:{step}]{_when(expr)}"
        case Call(function=function, arguments=arguments):
            return f"{function}({', '.join(map(to_text, arguments))})"
        case Unary(operand=operand):
            return "-" + _operand(operand, isinstance(operand, Unary | Binary | NumberLiteral))
        case Aggregate(operator=operator, operand=operand, grouping=grouping, parameter=parameter):
            inner = to_text(operand) if parameter is None else f"{to_text(parameter)}, {to_text(operand)}"
            return f"{operator}{_grouping(grouping)}({inner})"
        case Binary():
            return _binary(expr)
    raise TypeError(f"not a PromQL node: {type(expr).__name__}")


def selector_text(selector: Selector) -> str:
    """Print a selector; one without any condition becomes the one that every series meets, as PromQL has no `{}`."""
    if not selector.matchers:
        return '{__name__=~".+"}'
    name, rest = "", selector.matchers
    first = rest[0]
    if first.label == NAME and first.op is MatchOp.EQ and _is_plain_name(first.value) and not _names_again(rest[1:]):
        name, rest = first.value, rest[1:]
    conditions = ",".join(f"{label_text(m.label)}{m.op.value}{quote(m.value)}" for m in rest)
    return f"{name}{{{conditions}}}" if conditions or not name else name


def label_text(label: str) -> str:
    """Print a label name, quoted where it is not a plain one."""
    return label if _PLAIN_LABEL.fullmatch(label) else quote(label)


def _is_plain_name(name: str) -> bool:
    return _PLAIN_NAME.fullmatch(name) is not None and name.lower() not in RESERVED


def _names_again(matchers: tuple[Matcher, ...]) -> bool:
    # PromQL refuses a name before the braces together with any condition on the name inside them.
    return any(matcher.label == NAME for matcher in matchers)


def _binary(expr: Binary) -> str:
    return binary_text(expr, to_text(expr.left), to_text(expr.right))


def binary_text(expr: Binary, left: str, right: str) -> str:
    """Print an operator between its operands, which are printed already."""
    rank = PRECEDENCE[expr.operator]
    # Operators of one rank are left-associative, except the power.
    right_assoc = expr.operator == "^"
    left = f"({left})" if _binds_looser(expr.left, rank + right_assoc) else left
    right = f"({right})" if _binds_looser(expr.right, rank + (not right_assoc)) else right
    words = [left, expr.operator]
    if expr.returns_bool:
        words.append("bool")
    return " ".join((*words, *_matching(expr.matching), right))


def _matching(matching: Matching) -> Iterator[str]:
    grouped = matching.card != "one-to-one"
    if matching.on or matching.labels or grouped:
        yield f"{'on' if matching.on else 'ignoring'} ({_listed(matching.labels)})"
    if grouped:
        yield f"{'group_left' if matching.card == 'many-to-one' else 'group_right'} ({_listed(matching.include)})"
    left, right = matching.fill_left, matching.fill_right
    if left is not None:
        yield f"fill_left ({_number(left)})"
    if right is not None:
        yield f"fill_right ({_number(right)})"


def _binds_looser(operand: Expr, rank: int) -> bool:
    match operand:
        case Binary(operator=operator):
            return PRECEDENCE[operator] < rank
        case NumberLiteral(value=value):
            return math.copysign(1.0, value) < 0
        case Unary():
            return True
    return False


def _operand(expr: Expr, parenthesised: bool) -> str:
    return f"({to_text(expr)})" if parenthesised else to_text(expr)


def _grouping(grouping: Grouping) -> str:
    if not grouping.labels and not grouping.without:
        return ""
    return f" {'without' if grouping.without else 'by'} ({_listed(grouping.labels)}) "


def _listed(labels: tuple[str, ...]) -> str:
    return ", ".join(quote(label) if label.lower() in RESERVED else label_text(label) for label in labels)


def _is_shifted(expr: Expr) -> bool:
    return isinstance(expr, VectorSelector) and (expr.at is not None or expr.offset_ms != 0)


def _when(expr: VectorSelector | MatrixSelector | Subquery) -> str:
    at = ""
    if isinstance(expr.at, str):
        at = f" @ {expr.at}()"
    elif expr.at is not None:
        at = f" @ {expr.at / 1000:.3f}"
    return at + (f" offset {format_duration(expr.offset_ms)}" if expr.offset_ms else "")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    return repr(value).removesuffix(".0")

"""The syntax tree of PromQL: frozen nodes, one traversal, and the printer.

Rule: `parse(print(x)) == x`. Every rewrite makes new nodes and every text sent anywhere comes from `to_text`, so
what is enforced in the tree is in the text. A node that a traversal does not know raises, it is never skipped.
Parentheses are not nodes: the printer sets them where precedence needs them.
Source: Prometheus documentation, "Querying basics" and "Operators / Binary operator precedence".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from federation_core.labels import NAME, Matcher, MatchOp, Selector, quote
from federation_core.times import format_duration


@dataclass(frozen=True, slots=True)
class NumberLiteral:
    """A scalar constant."""

    value: float


@dataclass(frozen=True, slots=True)
class VectorSelector:
    """The latest sample of every matching series; `offset_ms` looks back from the evaluation time."""

    selector: Selector
    offset_ms: int = 0


@dataclass(frozen=True, slots=True)
class MatrixSelector:
    """The samples of every matching series in the `window_ms` before the evaluation time."""

    selector: Selector
    window_ms: int
    offset_ms: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """A function applied to its arguments."""

    function: str
    arguments: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Unary:
    """The arithmetic negation of a scalar or vector."""

    operand: Expr


@dataclass(frozen=True, slots=True)
class Grouping:
    """The labels of `by (…)`, or of `without (…)`; a bare aggregation is `by ()`."""

    labels: tuple[str, ...] = ()
    without: bool = False

    def keeps(self, label: str) -> bool:
        """Tell whether the label survives the aggregation."""
        return (label in self.labels) != self.without


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregation; `parameter` is the k of topk and bottomk."""

    operator: str
    operand: Expr
    grouping: Grouping = Grouping()
    parameter: Expr | None = None


@dataclass(frozen=True, slots=True)
class Matching:
    """Which labels two vectors are matched by: only those (`on`), or all but those (`ignoring`)."""

    labels: tuple[str, ...] = ()
    on: bool = False

    def keeps(self, label: str) -> bool:
        """Tell whether the label takes part in the matching, and so in the result."""
        return (label in self.labels) == self.on


@dataclass(frozen=True, slots=True)
class Binary:
    """An arithmetic or comparison operator. `returns_bool` makes a comparison answer 0 or 1 instead of filtering."""

    operator: str
    left: Expr
    right: Expr
    matching: Matching = Matching()
    returns_bool: bool = False


Expr: TypeAlias = NumberLiteral | VectorSelector | MatrixSelector | Call | Unary | Aggregate | Binary

COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
PRECEDENCE = {**dict.fromkeys(COMPARISONS, 1), "+": 2, "-": 2, "*": 3, "/": 3, "%": 3, "^": 4}
_PLAIN_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_PLAIN_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Words that the grammar reads as numbers, operators or modifiers: as names they are printed in quotes.
_RESERVED = frozenset(
    {"inf", "nan", "and", "or", "unless", "atan2", "on", "ignoring", "group_left", "group_right", "bool", "without"}
    | {"anchored", "smoothed"}
)


def children(expr: Expr) -> tuple[Expr, ...]:
    """Return the direct operands of a node, in order of the text."""
    match expr:
        case NumberLiteral() | VectorSelector() | MatrixSelector():
            return ()
        case Call(arguments=arguments):
            return arguments
        case Unary(operand=operand):
            return (operand,)
        case Aggregate(operand=operand, parameter=parameter):
            return (operand,) if parameter is None else (parameter, operand)
        case Binary(left=left, right=right):
            return (left, right)
    raise TypeError(f"not a PromQL node: {type(expr).__name__}")


def depth_of(expr: Expr) -> int:
    """Return the number of nodes from here to the deepest leaf of the tree, this one included."""
    return 1 + max(map(depth_of, children(expr)), default=0)


def map_children(expr: Expr, fn: Callable[[Expr], Expr]) -> Expr:
    """Return the node with `fn` applied to its direct operands."""
    match expr:
        case NumberLiteral() | VectorSelector() | MatrixSelector():
            return expr
        case Call(arguments=arguments):
            return replace(expr, arguments=tuple(fn(argument) for argument in arguments))
        case Unary(operand=operand):
            return replace(expr, operand=fn(operand))
        case Aggregate(operand=operand, parameter=parameter):
            return replace(expr, operand=fn(operand), parameter=None if parameter is None else fn(parameter))
        case Binary(left=left, right=right):
            return replace(expr, left=fn(left), right=fn(right))
    raise TypeError(f"not a PromQL node: {type(expr).__name__}")


def map_selectors(expr: Expr, fn: Callable[[Selector], Selector]) -> Expr:
    """Return the expression with `fn` applied to every selector, the only way conditions are added to one.

    Raises TypeError: a node that is not ours.
    """
    if isinstance(expr, VectorSelector | MatrixSelector):
        return replace(expr, selector=fn(expr.selector))
    return map_children(expr, lambda child: map_selectors(child, fn))


def selectors(expr: Expr) -> Iterator[VectorSelector | MatrixSelector]:
    """Yield every selector node, in order of the text."""
    if isinstance(expr, VectorSelector | MatrixSelector):
        yield expr
    for child in children(expr):
        yield from selectors(child)


def to_text(expr: Expr) -> str:
    """Print an expression as PromQL.

    >>> to_text(Binary("*", Binary("+", NumberLiteral(1.0), NumberLiteral(2.5)), NumberLiteral(-3.0)))
    '(1 + 2.5) * (-3)'
    """
    match expr:
        case NumberLiteral(value=value):
            return _number(value)
        case VectorSelector(selector=selector, offset_ms=offset_ms):
            return selector_text(selector) + _offset(offset_ms)
        case MatrixSelector(selector=selector, window_ms=window_ms, offset_ms=offset_ms):
            return f"{selector_text(selector)}[{format_duration(window_ms)}]{_offset(offset_ms)}"
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
    return _PLAIN_NAME.fullmatch(name) is not None and name.lower() not in _RESERVED


def _names_again(matchers: tuple[Matcher, ...]) -> bool:
    # PromQL refuses a name before the braces together with any condition on the name inside them.
    return any(matcher.label == NAME for matcher in matchers)


def _binary(expr: Binary) -> str:
    rank = PRECEDENCE[expr.operator]
    # Operators of one rank are left-associative, except the power.
    right_assoc = expr.operator == "^"
    left = _operand(expr.left, _binds_looser(expr.left, rank + right_assoc))
    right = _operand(expr.right, _binds_looser(expr.right, rank + (not right_assoc)))
    words = [left, expr.operator]
    if expr.returns_bool:
        words.append("bool")
    if expr.matching != Matching():
        words.append(f"{'on' if expr.matching.on else 'ignoring'} ({_listed(expr.matching.labels)})")
    return " ".join((*words, right))


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
    return ", ".join(quote(label) if label.lower() in _RESERVED else label_text(label) for label in labels)


def _offset(offset_ms: int) -> str:
    return f" offset {format_duration(offset_ms)}" if offset_ms else ""


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    return repr(value).removesuffix(".0")

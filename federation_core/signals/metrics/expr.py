"""The syntax tree of PromQL: frozen nodes and one traversal.

Rule: every rewrite makes new nodes. A node that a traversal does not know raises, it is never skipped. Parentheses are
not nodes: the printer sets them where precedence needs them.
Source: Prometheus documentation, "Querying basics" and "Operators / Binary operator precedence".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from federation_core.labels import Selector

#: What `@` fixes a selector to: a moment in ms, or an end of the asked range; None is the evaluation time.
At: TypeAlias = int | Literal["start", "end"] | None
#: How many series of each side may meet: `group_left` is many-to-one, `group_right` one-to-many.
Cardinality: TypeAlias = Literal["one-to-one", "many-to-one", "one-to-many"]


@dataclass(frozen=True, slots=True)
class NumberLiteral:
    """A scalar constant."""

    value: float


@dataclass(frozen=True, slots=True)
class StringLiteral:
    """A string: an argument, or the label that count_values writes."""

    value: str


@dataclass(frozen=True, slots=True)
class VectorSelector:
    """The latest sample of every matching series; `offset_ms` looks back from the evaluation time, or from `at`."""

    selector: Selector
    offset_ms: int = 0
    at: At = None


@dataclass(frozen=True, slots=True)
class MatrixSelector:
    """The samples of every matching series in the `window_ms` before the evaluation time, or before `at`."""

    selector: Selector
    window_ms: int
    offset_ms: int = 0
    at: At = None


@dataclass(frozen=True, slots=True)
class Subquery:
    """The values of an expression at every multiple of `step_ms` in the window; no step is the server's default."""

    operand: Expr
    window_ms: int
    step_ms: int | None = None
    offset_ms: int = 0
    at: At = None


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
    """An aggregation; `parameter` is the k, φ or ratio of it, or the label that count_values writes."""

    operator: str
    operand: Expr
    grouping: Grouping = Grouping()
    parameter: Expr | None = None


@dataclass(frozen=True, slots=True)
class Matching:
    """Which labels two vectors are matched by: only those (`on`), or all but those (`ignoring`).

    `include` are the labels of the "one" side that the result takes on; `fill_left` and `fill_right` stand for the
    partner that is missing on that side.
    """

    labels: tuple[str, ...] = ()
    on: bool = False
    card: Cardinality = "one-to-one"
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None

    def keeps(self, label: str) -> bool:
        """Tell whether the label takes part in the matching, and so in the result."""
        return (label in self.labels) == self.on


@dataclass(frozen=True, slots=True)
class Binary:
    """An arithmetic, comparison or set operator. `returns_bool` makes a comparison answer 0 or 1, not filter."""

    operator: str
    left: Expr
    right: Expr
    matching: Matching = Matching()
    returns_bool: bool = False


Expr: TypeAlias = (
    NumberLiteral | StringLiteral | VectorSelector | MatrixSelector | Subquery | Call | Unary | Aggregate | Binary
)

COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
SET_OPERATORS = frozenset({"and", "or", "unless"})
PRECEDENCE = {
    "or": 0,
    "and": 1,
    "unless": 1,
    **dict.fromkeys(COMPARISONS, 2),
    **dict.fromkeys(("+", "-"), 3),
    **dict.fromkeys(("*", "/", "%", "atan2"), 4),
    "^": 5,
}


def children(expr: Expr) -> tuple[Expr, ...]:
    """Return the direct operands of a node, in order of the text."""
    match expr:
        case NumberLiteral() | StringLiteral() | VectorSelector() | MatrixSelector():
            return ()
        case Subquery(operand=operand):
            return (operand,)
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
        case NumberLiteral() | StringLiteral() | VectorSelector() | MatrixSelector():
            return expr
        case Subquery(operand=operand):
            return replace(expr, operand=fn(operand))
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

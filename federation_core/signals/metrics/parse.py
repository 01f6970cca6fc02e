"""PromQL text to our syntax tree.

Rule: the text is bounded first (`guards`), parsed once by promql-parser and converted at once; the parser's own
nodes are never changed, printed or kept. What parses and is not in our subset raises `UnsupportedQuery` naming
the construct; nothing is dropped on the way.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Any

import promql_parser as promql

from federation_core.errors import InvalidRequest, QuerySyntaxError, UnsupportedQuery
from federation_core.labels import NAME, Matcher, MatchOp, Selector
from federation_core.signals.metrics.aggregate import AGGREGATIONS, SELECTIONS
from federation_core.signals.metrics.expr import (
    COMPARISONS,
    PRECEDENCE,
    Aggregate,
    Binary,
    Call,
    Expr,
    Grouping,
    Matching,
    MatrixSelector,
    NumberLiteral,
    Unary,
    VectorSelector,
    depth_of,
)
from federation_core.signals.metrics.functions import FUNCTIONS
from federation_core.signals.metrics.guards import QUERY, ROOT, Bounds, guard, too_large

SUPPORTED_AGGREGATIONS = frozenset(AGGREGATIONS) | SELECTIONS
#: The parser's operators are not hashable; their names are.
_MATCH_OPS = {
    "MatchOp.Equal": MatchOp.EQ,
    "MatchOp.NotEqual": MatchOp.NE,
    "MatchOp.Re": MatchOp.RE,
    "MatchOp.NotRe": MatchOp.NRE,
}


@lru_cache(maxsize=128)
def parse(text: str) -> Expr:
    """Read a PromQL expression.

    Raises QuerySyntaxError (with line and column where they can be known), UnsupportedQuery, QueryTooLarge.
    """
    return _read(text, QUERY)


@lru_cache(maxsize=128)
def parse_root(text: str) -> Expr:
    """Read the root of a plan, which may be somewhat larger than the query it came from.

    Raises QuerySyntaxError, UnsupportedQuery, QueryTooLarge.
    """
    return _read(text, ROOT)


def _read(text: str, bounds: Bounds) -> Expr:
    spelled = guard(text, bounds)
    if not spelled.strip():
        raise QuerySyntaxError("the query is empty", line=1, column=1)
    try:
        tree = promql.parse(spelled)
    except ValueError as exc:
        # The parser tells no places; those that can be known without it, `guard` has told.
        raise QuerySyntaxError(str(exc)) from None
    except BaseException as exc:
        # The parser panics on a duration it cannot hold, and a panic is no `Exception`: it would end the thread.
        if type(exc).__name__ != "PanicException":
            raise
        raise QuerySyntaxError(f"the parser cannot read a number or duration of the query: {exc}") from None
    expr = _convert(tree)
    # A chain of operators is as deep as it is long, whatever brackets it has.
    depth = depth_of(expr)
    if depth > bounds.depth:
        raise too_large("depth", depth, bounds.depth)
    return expr


def _convert(node: Any) -> Expr:
    match node:
        case promql.ParenExpr():
            return _convert(node.expr)
        case promql.NumberLiteral():
            return NumberLiteral(float(node.val))
        case promql.VectorSelector():
            return VectorSelector(_selector(node), _offset_ms(node))
        case promql.MatrixSelector():
            inner = node.vector_selector
            return MatrixSelector(_selector(inner), _window_ms(node.range), _offset_ms(inner))
        case promql.UnaryExpr():
            return Unary(_convert(node.expr))
        case promql.Call():
            return _call(node)
        case promql.AggregateExpr():
            return _aggregate(node)
        case promql.BinaryExpr():
            return _binary(node)
        case promql.SubqueryExpr():
            raise _unsupported("subquery")
        case promql.StringLiteral():
            raise _unsupported("string literal")
    raise _unsupported(type(node).__name__)


def _call(node: Any) -> Call:
    name = str(node.func.name)
    if name not in FUNCTIONS:
        raise _unsupported(f"function {name}")
    return Call(name, tuple(_convert(argument) for argument in node.args))


def _aggregate(node: Any) -> Aggregate:
    operator = str(node.op)
    if operator not in SUPPORTED_AGGREGATIONS:
        raise _unsupported(f"aggregation {operator}")
    grouping = Grouping()
    if node.modifier is not None:
        labels = tuple(dict.fromkeys(node.modifier.labels))
        grouping = Grouping(labels, node.modifier.type == promql.AggModifierType.Without)
    parameter = None if node.param is None else _convert(node.param)
    return Aggregate(operator, _convert(node.expr), grouping, parameter)


def _binary(node: Any) -> Binary:
    operator = str(node.op)
    if operator not in PRECEDENCE:
        raise _unsupported(f"operator {operator}")
    matching, returns_bool = Matching(), False
    if node.modifier is not None:
        returns_bool = bool(node.modifier.return_bool) and operator in COMPARISONS
        matching = _matching(node.modifier)
    return Binary(operator, _convert(node.lhs), _convert(node.rhs), matching, returns_bool)


def _matching(modifier: Any) -> Matching:
    if modifier.card == promql.VectorMatchCardinality.ManyToOne:
        raise _unsupported("group_left")
    if modifier.card == promql.VectorMatchCardinality.OneToMany:
        raise _unsupported("group_right")
    fill = modifier.fill_values
    if fill is not None and (fill.lhs is not None or fill.rhs is not None):
        raise _unsupported("fill")
    if modifier.matching is None:
        return Matching()
    on = modifier.matching.type == promql.LabelModifierType.Include
    return Matching(tuple(dict.fromkeys(modifier.matching.labels)), on)


def _selector(node: Any) -> Selector:
    if node.at is not None:
        raise _unsupported("@ modifier")
    if node.matchers.or_matchers:
        raise QuerySyntaxError(
            "a selector joins its conditions with ',' only; write two selectors joined by the operator or"
        )
    named = (Matcher(NAME, MatchOp.EQ, node.name),) if node.name else ()
    matchers = named + tuple(Matcher(m.name, _MATCH_OPS[str(m.op)], m.value) for m in node.matchers.matchers)
    for matcher in matchers:
        try:
            # The parser's regular expressions are not RE2: what only it accepts is refused here, not at a cluster.
            matcher.matches("")
        except InvalidRequest as exc:
            raise QuerySyntaxError(exc.message) from None
    return Selector(matchers)


def _offset_ms(node: Any) -> int:
    return 0 if node.offset is None else _ms(node.offset)


def _window_ms(duration: timedelta) -> int:
    window_ms = _ms(duration)
    if window_ms <= 0:
        # The parser refuses [0s] and lets [0] through.
        raise QuerySyntaxError("the range of a selector is at least one millisecond")
    return window_ms


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _unsupported(construct: str) -> UnsupportedQuery:
    return UnsupportedQuery(f"{construct} is not supported yet", construct=construct)

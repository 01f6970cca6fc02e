"""PromQL text to our syntax tree.

Rule: the text is bounded first (`guards`), parsed once by promql-parser and converted at once; the parser's own
nodes are never changed, printed or kept. What parses and is not in our subset raises `UnsupportedQuery` naming
the construct; nothing is dropped on the way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import promql_parser as promql

from federation_core.errors import InvalidRequest, QuerySyntaxError, UnsupportedQuery
from federation_core.labels import NAME, Matcher, MatchOp, Selector
from federation_core.signals.metrics.aggregate import AGGREGATIONS, SELECTIONS
from federation_core.signals.metrics.expr import (
    COMPARISONS,
    PRECEDENCE,
    SET_OPERATORS,
    Aggregate,
    At,
    Binary,
    Call,
    Cardinality,
    Expr,
    Grouping,
    Matching,
    MatrixSelector,
    NumberLiteral,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
    depth_of,
    map_children,
)
from federation_core.signals.metrics.functions import FUNCTIONS
from federation_core.signals.metrics.guards import QUERY, ROOT, Bounds, guard, syntax_error, too_large
from federation_core.signals.metrics.literals import LONGEST_MS
from federation_core.signals.metrics.moments import ASKED

SUPPORTED_AGGREGATIONS = frozenset(AGGREGATIONS) | SELECTIONS
_ABOUT_FUNCTION = re.compile(r"(?:function with name|call to function) '(\w+)'")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The parser's operators are not hashable; their names are.
_MATCH_OPS = {
    "MatchOp.Equal": MatchOp.EQ,
    "MatchOp.NotEqual": MatchOp.NE,
    "MatchOp.Re": MatchOp.RE,
    "MatchOp.NotRe": MatchOp.NRE,
}
_CARDINALITIES: Mapping[str, Cardinality] = {
    "VectorMatchCardinality.ManyToOne": "many-to-one",
    "VectorMatchCardinality.OneToMany": "one-to-many",
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
    if not spelled.text.strip():
        raise QuerySyntaxError("the query is empty", line=1, column=1)
    try:
        tree = promql.parse(spelled.text)
    except ValueError as exc:
        if spelled.beyond:
            raise _unsupported(spelled.beyond) from None
        # The parser tells no places; those that can be known without it, `guard` has told.
        raise _located(str(exc), text) from None
    except BaseException as exc:
        # The parser panics on a duration it cannot hold, and a panic is no `Exception`: it would end the thread.
        if type(exc).__name__ != "PanicException":
            raise
        raise QuerySyntaxError(f"the parser cannot read a number or duration of the query: {exc}") from None
    expr = _placed(_convert(tree), spelled.moments_ms)
    # A chain of operators is as deep as it is long, whatever brackets it has.
    depth = depth_of(expr)
    if depth > bounds.depth:
        raise too_large("depth", depth, bounds.depth)
    return expr


def _located(message: str, text: str) -> QuerySyntaxError:
    """Return the error with its place where it is about a function that occurs once."""
    about = _ABOUT_FUNCTION.search(message)
    found = list(re.finditer(rf"\b{re.escape(about[1])}\b", text)) if about else []
    return syntax_error(message, text, found[0].start()) if len(found) == 1 else QuerySyntaxError(message)


def _placed(expr: Expr, moments_ms: Sequence[int]) -> Expr:
    """Put the moments in for their numbers, which stand in the text for them."""
    placed = map_children(expr, lambda child: _placed(child, moments_ms))
    if isinstance(placed, VectorSelector | MatrixSelector | Subquery) and isinstance(placed.at, int):
        return replace(placed, at=moments_ms[placed.at])
    return placed


def _convert(node: Any) -> Expr:
    match node:
        case promql.ParenExpr():
            return _convert(node.expr)
        case promql.NumberLiteral():
            return NumberLiteral(float(node.val))
        case promql.StringLiteral():
            return StringLiteral(node.val)
        case promql.VectorSelector():
            return VectorSelector(_selector(node), _offset_ms(node), _at(node))
        case promql.MatrixSelector():
            inner = node.vector_selector
            return MatrixSelector(_selector(inner), _window_ms(node.range), _offset_ms(inner), _at(inner))
        case promql.SubqueryExpr():
            step_ms = None if node.step is None else _ms(node.step)
            return Subquery(_convert(node.expr), _window_ms(node.range), step_ms, _offset_ms(node), _at(node))
        case promql.UnaryExpr():
            return Unary(_convert(node.expr))
        case promql.Call():
            return _call(node)
        case promql.AggregateExpr():
            return _aggregate(node)
        case promql.BinaryExpr():
            return _binary(node)
    raise _unsupported(type(node).__name__)


def _call(node: Any) -> Call:
    name = str(node.func.name)
    if name not in FUNCTIONS and name not in ASKED:
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
        if operator in SET_OPERATORS and (matching.fill_left, matching.fill_right) != (None, None):
            raise QuerySyntaxError(f"filling in missing series is not allowed for the set operator {operator!r}")
    return Binary(operator, _convert(node.lhs), _convert(node.rhs), matching, returns_bool)


def _matching(modifier: Any) -> Matching:
    labels: tuple[str, ...] = ()
    on = False
    if modifier.matching is not None:
        labels = tuple(dict.fromkeys(modifier.matching.labels))
        on = modifier.matching.type == promql.LabelModifierType.Include
    fill = modifier.fill_values
    fill_left, fill_right = (None, None) if fill is None else (fill.lhs, fill.rhs)
    card = _CARDINALITIES.get(str(modifier.card), "one-to-one")
    include = tuple(dict.fromkeys(modifier.group_labels or ()))
    return Matching(labels, on, card, include, fill_left, fill_right)


def _selector(node: Any) -> Selector:
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


def _at(node: Any) -> At:
    if node.at is None:
        return None
    if node.at.type == promql.AtModifierType.At:
        number: datetime = node.at.at
        return (number - _EPOCH) // timedelta(seconds=1)
    return "start" if node.at.type == promql.AtModifierType.Start else "end"


def _window_ms(duration: timedelta | None) -> int:
    window_ms = 0 if duration is None else _ms(duration)
    if window_ms <= 0:
        # The parser refuses [0s] and lets [0] through.
        raise QuerySyntaxError("the range of a selector is at least one millisecond")
    return window_ms


def _ms(duration: timedelta) -> int:
    duration_ms = duration // timedelta(milliseconds=1)
    if abs(duration_ms) > LONGEST_MS:
        raise QuerySyntaxError("duration out of range: it is above 292 years")
    return duration_ms


def _unsupported(construct: str) -> UnsupportedQuery:
    return UnsupportedQuery(f"{construct} is not supported", construct=construct)

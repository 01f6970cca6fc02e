"""PromQL text to our syntax tree.

Rule: the text is bounded first (`guards`), rid of what the parser reads otherwise (`placeholders`), parsed once by
promql-parser and converted at once; the parser's own nodes are never changed, printed or kept. What parses and is not
in our subset raises `UnsupportedQuery` naming the construct; nothing is dropped on the way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeVar

import promql_parser as promql

from federation_core.errors import QuerySyntaxError, UnsupportedQuery
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
)
from federation_core.signals.metrics.functions import FUNCTIONS
from federation_core.signals.metrics.guards import QUERY, ROOT, Bounds, guard, syntax_error, too_large
from federation_core.signals.metrics.moments import ASKED
from federation_core.signals.metrics.patterns import require_patterns
from federation_core.signals.metrics.placeholders import FIRST_DURATION, FIRST_MOMENT, FIRST_NUMBER, Spelled, spell

SUPPORTED_AGGREGATIONS = frozenset(AGGREGATIONS) | SELECTIONS
_ABOUT_WORD = re.compile(r"(?:function with name|call to function|set operator) '(\w+)'|no (@|offset) modifiers")
_Value = TypeVar("_Value")
#: How much of the parser's message is shown.
_SHOWN_CHARS = 300
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The parser's operators are not hashable; their names are.
_MATCH_OPS = {
    "MatchOp.Equal": MatchOp.EQ,
    "MatchOp.NotEqual": MatchOp.NE,
}
#: Functions that look at their argument as it is written, if it is a selector; they drop its name and value.
_OF_SELECTORS = frozenset({"timestamp", "absent"})
#: Names of Prometheus 2.
_RENAMED = {"holt_winters": "double_exponential_smoothing"}
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
    tokens = guard(text, bounds)
    spelled = spell(text, tokens)
    if not spelled.text:
        raise QuerySyntaxError("the query is empty", line=1, column=1)
    require_patterns([(pattern.text, pattern.at) for pattern in spelled.patterns], text)
    try:
        tree = promql.parse(spelled.text)
    except ValueError as exc:
        raise _refused(str(exc), text, spelled) from None
    except BaseException as exc:
        # Should the parser panic, that is no `Exception`: it would end the thread.
        if type(exc).__name__ != "PanicException":
            raise
        raise QuerySyntaxError(f"the parser cannot read the query: {exc}") from None
    expr = _Conversion(spelled).whole(tree)
    # A chain of operators is as deep as it is long, whatever brackets it has.
    depth = depth_of(expr)
    if depth > bounds.depth:
        raise too_large("depth", depth, bounds.depth)
    return expr


def _refused(message: str, text: str, spelled: Spelled) -> QuerySyntaxError | UnsupportedQuery:
    """Return the error for what the parser refuses. It tells no places; a word that occurs once has one."""
    if spelled.beyond:
        return _unsupported(spelled.beyond)
    about = _ABOUT_WORD.search(message)
    name = (about[1] or about[2]) if about else ""
    if name in _RENAMED:
        return UnsupportedQuery(
            f"function {name} is not supported: Prometheus 3 calls it {_RENAMED[name]}", construct=f"function {name}"
        )
    # The message repeats names as long as the text.
    message = message[:_SHOWN_CHARS]
    found = list(re.finditer(r"@" if name == "@" else rf"\b{re.escape(name)}\b", text)) if name else []
    return syntax_error(message, text, found[0].start()) if len(found) == 1 else QuerySyntaxError(message)


@dataclass(slots=True)
class _Conversion:
    """One walk over the parser's tree, in the order of the text, which puts back what placeholders stand for."""

    spelled: Spelled
    #: How many of the signs before operands have been met.
    signs: int = 0

    def whole(self, tree: Any) -> Expr:
        """Convert a tree, every placeholder and sign of it."""
        expr = self.expression(tree)
        if self.signs != len(self.spelled.signs):
            raise _unread()
        return expr

    def expression(self, node: Any) -> Expr:
        """Convert a node and all below it."""
        match node:
            case promql.ParenExpr():
                return self.expression(node.expr)
            case promql.NumberLiteral():
                return self._number(node)
            case promql.StringLiteral():
                return StringLiteral(node.val)
            case promql.VectorSelector():
                return VectorSelector(self._selector(node), self._offset_ms(node), self._at(node))
            case promql.MatrixSelector():
                inner = node.vector_selector
                return MatrixSelector(
                    self._selector(inner), self._duration_ms(node.range), self._offset_ms(inner), self._at(inner)
                )
            case promql.SubqueryExpr():
                operand = self.expression(node.expr)
                step_ms = None if node.step is None else self._duration_ms(node.step)
                return Subquery(operand, self._duration_ms(node.range), step_ms, self._offset_ms(node), self._at(node))
            case promql.UnaryExpr():
                sign = _standing_for(self.spelled.signs, self.signs)
                self.signs += 1
                operand = self.expression(node.expr)
                return Unary(operand) if sign == "-" else operand
            case promql.Call():
                return self._call(node)
            case promql.AggregateExpr():
                return self._aggregate(node)
            case promql.BinaryExpr():
                return self._binary(node)
        raise _unsupported(type(node).__name__)

    def _number(self, node: Any) -> NumberLiteral:
        index = int(abs(node.val)) - FIRST_NUMBER
        number = _standing_for(self.spelled.numbers, index)
        before = self.spelled.signs_before[index]
        # The signs right before it have become part of the literal, unless an operator takes it first.
        minuses = self.spelled.signs[self.signs : before].count("-")
        self.signs = before
        return NumberLiteral(-number if minuses % 2 else number)

    def _call(self, node: Any) -> Call:
        name = str(node.func.name)
        if name not in FUNCTIONS and name not in ASKED:
            raise _unsupported(f"function {name}")
        before = self.signs
        arguments = tuple(self.expression(argument) for argument in node.args)
        if name in _OF_SELECTORS and self.signs > before and isinstance(arguments[0], VectorSelector):
            # A sign makes an expression of the selector. The tree has no plus, but what gives the same here.
            selector = arguments[0]
            arguments = (Aggregate("group", selector) if name == "absent" else Unary(Unary(selector)),)
        return Call(name, arguments)

    def _aggregate(self, node: Any) -> Aggregate:
        operator = str(node.op)
        if operator not in SUPPORTED_AGGREGATIONS:
            raise _unsupported(f"aggregation {operator}")
        grouping = Grouping()
        if node.modifier is not None:
            labels = tuple(dict.fromkeys(node.modifier.labels))
            grouping = Grouping(labels, node.modifier.type == promql.AggModifierType.Without)
        parameter = None if node.param is None else self.expression(node.param)
        return Aggregate(operator, self.expression(node.expr), grouping, parameter)

    def _binary(self, node: Any) -> Binary:
        operator = str(node.op)
        if operator not in PRECEDENCE:
            raise _unsupported(f"operator {operator}")
        matching, returns_bool = Matching(), False
        if node.modifier is not None:
            returns_bool = bool(node.modifier.return_bool) and operator in COMPARISONS
            matching = _matching(node.modifier)
            if (matching.fill_left, matching.fill_right) != (None, None):
                if operator in SET_OPERATORS:
                    raise QuerySyntaxError(
                        f"filling in missing series is not allowed for the set operator {operator!r}"
                    )
                if _is_scalar(node.lhs) or _is_scalar(node.rhs):
                    raise QuerySyntaxError("filling in missing series is only allowed between instant vectors")
        left = self.expression(node.lhs)
        return Binary(operator, left, self.expression(node.rhs), matching, returns_bool)

    def _selector(self, node: Any) -> Selector:
        if node.matchers.or_matchers:
            raise QuerySyntaxError(
                "a selector joins its conditions with ',' only; write two selectors joined by the operator or"
            )
        named = (Matcher(NAME, MatchOp.EQ, node.name),) if node.name else ()
        matchers = named + tuple(map(self._matcher, node.matchers.matchers))
        if all(matcher.matches("") for matcher in matchers):
            raise QuerySyntaxError("vector selector must contain at least one non-empty matcher")
        return Selector(matchers)

    def _matcher(self, node: Any) -> Matcher:
        op = str(node.op)
        if op == "MatchOp.Re":
            pattern = _standing_for(self.spelled.patterns, int(node.value))
            return Matcher(node.name, pattern.op, pattern.text)
        return Matcher(node.name, _MATCH_OPS[op], node.value)

    def _duration_ms(self, placeholder: timedelta | None) -> int:
        if placeholder is None:
            return 0
        return _standing_for(self.spelled.durations_ms, placeholder // timedelta(seconds=1) - FIRST_DURATION)

    def _offset_ms(self, node: Any) -> int:
        return self._duration_ms(node.offset)

    def _at(self, node: Any) -> At:
        if node.at is None:
            return None
        if node.at.type == promql.AtModifierType.At:
            placeholder: datetime = node.at.at
            return _standing_for(self.spelled.moments_ms, (placeholder - _EPOCH) // timedelta(seconds=1) - FIRST_MOMENT)
        return "start" if node.at.type == promql.AtModifierType.Start else "end"


def _standing_for(values: Sequence[_Value], index: int) -> _Value:
    if not 0 <= index < len(values):
        raise _unread()
    return values[index]


def _unread() -> QuerySyntaxError:
    # A number or sign that was taken for another thing than the parser took it for is not guessed at.
    return QuerySyntaxError("the query cannot be read: a number, a duration or a sign is where none may be")


def _is_scalar(node: Any) -> bool:
    match node:
        case promql.NumberLiteral():
            return True
        case promql.ParenExpr() | promql.UnaryExpr():
            return _is_scalar(node.expr)
        case promql.Call():
            return bool(node.func.return_type == promql.ValueType.Scalar)
        case promql.BinaryExpr():
            return _is_scalar(node.lhs) and _is_scalar(node.rhs)
    return False


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


def _unsupported(construct: str) -> UnsupportedQuery:
    return UnsupportedQuery(f"{construct} is not supported", construct=construct)

"""What a trace query means for one span: pure functions that any store without an engine can use.

Rule: a field that a span does not have satisfies no condition, not even a negative one, as in TraceQL (Grafana
Tempo documentation, "TraceQL"). Texts and numbers are compared by value whatever type a store kept them in, because
stores disagree: one keeps a status code as 500, another as "500".
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from federation_core.labels import Selector
from federation_core.signals.traces.expr import SCOPES, CompareOp, Comparison, SpanSearch
from federation_core.signals.traces.payload import Span, SpanKind, SpanStatus

_COLUMNS: Mapping[str, Callable[[Span], str]] = {
    "service": operator.attrgetter("service"),
    "namespace": operator.attrgetter("namespace"),
    "pod": operator.attrgetter("pod"),
    "cluster": operator.attrgetter("cluster"),
    "name": operator.attrgetter("operation"),
    "statusMessage": operator.attrgetter("status_message"),
}
_COMPARE: Mapping[CompareOp, Callable[[Any, Any], bool]] = {
    CompareOp.EQ: operator.eq,
    CompareOp.NE: operator.ne,
    CompareOp.GE: operator.ge,
    CompareOp.LE: operator.le,
    CompareOp.GT: operator.gt,
    CompareOp.LT: operator.lt,
}


#: A text that is a number: as our language writes one. Python would read more, underscores and other scripts' digits.
_NUMERAL = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


def span_matches(search: SpanSearch, span: Span) -> bool:
    """Tell whether a span satisfies every condition of a search, its time aside."""
    return selector_matches(search.selector, span) and all(_compares(c, span) for c in search.comparisons)


def selector_matches(selector: Selector, span: Span) -> bool:
    """Tell whether a span satisfies every matcher of a selector."""
    for matcher in selector.matchers:
        value = _text(_value_of(span, matcher.label))
        if value is None or not matcher.matches(value):
            return False
    return True


def reads_attributes(search: SpanSearch) -> bool:
    """Tell whether the query looks at attributes, so that a store need not load them otherwise."""
    labels = [m.label for m in search.selector.matchers] + [c.field for c in search.comparisons]
    return any(label not in _COLUMNS and label not in ("duration", "status", "kind") for label in labels)


def _value_of(span: Span, label: str) -> Any:
    """Return the value a label names, None where the span has none.

    An unscoped attribute is looked for on the process first: what a process says of itself decides who owns it,
    what a request brought along must not.
    """
    column = _COLUMNS.get(label)
    if column is not None:
        return column(span) or None
    for scope, attributes in zip(SCOPES, (span.attributes, span.resource), strict=True):
        if label.startswith(scope):
            return attributes.get(label.removeprefix(scope))
    attribute = label.removeprefix(".")
    return span.resource[attribute] if attribute in span.resource else span.attributes.get(attribute)


def _compares(comparison: Comparison, span: Span) -> bool:
    compare = _COMPARE[comparison.op]
    match comparison.field, comparison.value:
        case "duration", int(value):
            return compare(span.duration_ns, value)
        case "status", SpanStatus() as status:
            return compare(span.status, status)
        case "kind", SpanKind() as kind:
            return compare(span.kind, kind)
        case field, bool(value):
            held = _text(_value_of(span, field))
            return held in ("true", "false") and compare(held == "true", value)
        case field, value:
            number = _number(_value_of(span, field))
            return number is not None and compare(number, value)


def _text(value: Any) -> str | None:
    """Return a scalar attribute as text; None for absent ones, lists, maps and bytes."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() | float():
            return repr(value)
        case _:
            return None


def _number(value: Any) -> int | float | None:
    """Return an attribute as a number; None where it is none."""
    match value:
        case bool():
            return None
        case int() | float():
            return value
        case str() if _NUMERAL.fullmatch(value):
            try:
                return int(value)
            except ValueError:
                return float(value)
        case _:
            return None

"""The syntax tree of our trace queries and its printing: a trace id, or conditions on one span.

Rule: conditions on texts are matchers of one `Selector`, so a tenant's conditions are added beside them;
conditions on durations, numbers and enumerations stand apart. Labels of the selector:

    service namespace pod cluster name statusMessage    columns of every span (`name` is the operation)
    span.x  resource.x                                  an attribute of the span, of its process
    x                                                   the attribute `.x` of either
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from federation_core.labels import Selector, quote
from federation_core.signals.traces.durations import print_duration
from federation_core.signals.traces.payload import SpanKind, SpanStatus

#: Columns of every span → how TraceQL spells them. `cluster` is ours: the place a span was found in.
COLUMNS = {
    "service": "resource.service.name",
    "namespace": "resource.k8s.namespace.name",
    "pod": "resource.k8s.pod.name",
    "cluster": "cluster",
    "name": "name",
    "statusMessage": "statusMessage",
}
#: Intrinsics whose values are not texts.
TYPED = frozenset({"duration", "status", "kind"})
SCOPES = ("span.", "resource.")
#: Attribute names that need no quotes; everything else is quoted, as TraceQL allows.
PLAIN_ATTRIBUTE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-/:@]*")


class CompareOp(StrEnum):
    """Comparisons of durations and numbers; enumerations have the first two."""

    EQ = "="
    NE = "!="
    GE = ">="
    LE = "<="
    GT = ">"
    LT = "<"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A condition on a duration (in ns), a status, a kind, or an attribute that holds a number or a boolean."""

    field: str
    op: CompareOp
    value: int | float | bool | SpanKind | SpanStatus

    def __str__(self) -> str:
        return f"{print_field(self.field)} {self.op.value} {self._value()}"

    def _value(self) -> str:
        match self.value:
            case bool():
                return "true" if self.value else "false"
            case SpanKind() | SpanStatus():
                return self.value.value
            case int() if self.field == "duration":
                return print_duration(self.value)
            case _:
                return repr(self.value)


@dataclass(frozen=True, slots=True)
class TraceById:
    """The whole trace of one id, 32 lower-case hexadecimal digits."""

    trace_id: str


@dataclass(frozen=True, slots=True)
class SpanSearch:
    """The traces in which one span satisfies every condition; without conditions every trace."""

    selector: Selector = field(default_factory=Selector)
    comparisons: tuple[Comparison, ...] = ()


Expr = TraceById | SpanSearch


def print_expr(expr: Expr) -> str:
    """Print a query so that it reads back to the same tree."""
    match expr:
        case TraceById():
            return expr.trace_id
        case SpanSearch():
            texts = [f"{print_field(m.label)} {m.op.value} {quote(m.value)}" for m in expr.selector.matchers]
            conditions = texts + [str(comparison) for comparison in expr.comparisons]
            return "{ " + " && ".join(conditions) + " }" if conditions else "{ }"


def map_selectors(expr: Any, fn: Callable[[Selector], Selector]) -> Expr:
    """Return the query with `fn` applied to its selector; a lookup by id has none and relies on `redact`.

    Raises TypeError: not a node of this language.
    """
    match expr:
        case TraceById():
            return expr
        case SpanSearch():
            return replace(expr, selector=fn(expr.selector))
        case _:
            raise TypeError(f"not a trace query: {type(expr).__name__}")


def unscoped_label(attribute: str) -> str:
    """Return the label of the attribute `.x`: `x`, or `.x` where `x` alone would mean something else."""
    reserved = attribute in COLUMNS or attribute in TYPED or attribute.startswith((*SCOPES, "."))
    return f".{attribute}" if reserved else attribute


def print_field(label: str) -> str:
    """Print the field that a label names, in TraceQL's spelling."""
    if label in COLUMNS:
        return COLUMNS[label]
    if label in TYPED:
        return label
    scope = next((s for s in SCOPES if label.startswith(s)), ".")
    attribute = label.removeprefix(scope)
    return scope + (attribute if PLAIN_ATTRIBUTE.fullmatch(attribute) else quote(attribute))

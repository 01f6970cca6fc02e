"""Our search as TraceQL, asked so wide that every span which satisfies ours satisfies it too.

Rule: what is printed may find more and never less; what it finds is judged again. Three things make it wider: Tempo
compares a text with texts and an integer with integers alone, where we compare by value; an unscoped attribute is the
process's first here and the span's first there; and what we derive (a namespace, a service without a name) it has not.
A search goes into a URL, so that conditions beyond the length of one are left to the judge.
Source: Grafana Tempo documentation, "TraceQL".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import ceil, floor
from typing import Final
from urllib.parse import quote_plus

from federation_core.connectors.otlp.resources import UNKNOWN_SERVICE
from federation_core.labels import Matcher, MatchOp, quote
from federation_core.signals.traces.expr import (
    COLUMNS,
    PLAIN_ATTRIBUTE,
    SCOPES,
    TYPED,
    CompareOp,
    Comparison,
    SpanSearch,
)

#: Where a process says which namespace it is in, the first one first.
_NAMESPACES: Final = ("resource.k8s.namespace.name", "resource.service.namespace")
#: TraceQL has no type test. Comparisons that hold for every number or boolean take its place; `!=` of booleans is
#: avoided, since a release of Tempo had it reversed.
_ANY_INTEGER: Final = ("{0} >= 0", "{0} < 0")
_ANY_FLOAT: Final = ("{0} = 0.5", "{0} != 0.5")
#: Texts that are read as numbers, and as one certain integer; exponents are left to the judge.
_NUMBERS: Final = r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?"
_ONE_INTEGER: Final = r"[+]?0*{0}(\.0*)?|[-+0-9.]+[eE][-+0-9]+"
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,18}")
#: Patterns that are nothing but alternatives, and such as begin with what no number and no boolean begins with.
_ALTERNATIVES: Final = re.compile(r"[A-Za-z0-9_/ :,=-]+(\|[A-Za-z0-9_/ :,=-]+)*")
_WORDLY: Final = re.compile(r"[/_A-HJ-MO-Za-eg-hj-mo-su-z](?![*?{])[^|]*")
_UNREAL: Final = frozenset({"NaN", "Infinity", "-Infinity", "nan", "inf", "-inf"})
#: What a pattern may not hold: a quotation, since one without an end would swallow what is put behind it, and a byte.
_UNFIT: Final = re.compile(r"\\[QC]")
_MAX_INTEGER: Final = 2**63 - 1
#: What the conditions take of a URL at most, percent-encoded: servers and proxies take 8,000 bytes in all.
_URL_BYTES: Final = 6_000


def to_traceql(search: SpanSearch) -> str:
    """Print a search so that Tempo finds every trace that has a matching span.

    >>> from federation_core.signals.traces.language import parse
    >>> to_traceql(parse('{ service = "web" && span.http.method = "GET" && span.code = 500 && status = error }'))[:63]
    '{ resource.service.name = "web" && span.http.method = "GET" && '
    """
    conditions = [_any_of(_matching(matcher)) for matcher in search.selector.matchers]
    conditions += [_any_of(_comparing(comparison)) for comparison in search.comparisons]
    said, left = list[str](), _URL_BYTES
    for condition in conditions:
        size = len(quote_plus(condition))
        if condition and size <= left:
            said.append(condition)
            left -= size
    return "{ " + " && ".join(said) + " }" if said else "{}"


def _any_of(alternatives: Iterator[str]) -> str:
    """Join alternatives; none at all is no condition."""
    found = list(dict.fromkeys(alternatives))
    return found[0] if len(found) == 1 else f"({' || '.join(found)})" if found else ""


def _matching(matcher: Matcher) -> Iterator[str]:
    if matcher.op in (MatchOp.RE, MatchOp.NRE) and _UNFIT.search(matcher.value):
        return
    match matcher.label:
        case "cluster":
            # Ours alone; it is judged with everything else.
            return
        case "name" | "statusMessage":
            yield _text_condition(matcher.label, matcher)
        case "service" if matcher.matches(UNKNOWN_SERVICE):
            # A span whose process does not say its service has that name here, and none that Tempo could look for.
            return
        case label:
            for field in _fields(label):
                yield _text_condition(field, matcher)
                # What is a column here is a text by OpenTelemetry's conventions.
                if label not in COLUMNS:
                    yield from _other_types(field, matcher)


def _fields(label: str) -> tuple[str, ...]:
    """Return all the places where Tempo may hold what a label names."""
    if label == "namespace":
        return _NAMESPACES
    if label in COLUMNS:
        return (COLUMNS[label],)
    scope = next((s for s in SCOPES if label.startswith(s)), "")
    attribute = label.removeprefix(scope or ".")
    name = attribute if PLAIN_ATTRIBUTE.fullmatch(attribute) else quote(attribute)
    return (scope + name,) if scope else tuple(s + name for s in reversed(SCOPES))


def _text_condition(field: str, matcher: Matcher) -> str:
    value = matcher.value
    if matcher.op in (MatchOp.RE, MatchOp.NRE):
        # Before 2.7 Tempo did not anchor patterns, and its dot does not take a newline everywhere.
        value = f"^(?s:{value})$"
    return f"{field} {matcher.op.value} {quote(value)}"


def _other_types(field: str, matcher: Matcher) -> Iterator[str]:
    """Yield the conditions on values that are no texts and read as one that satisfies the matcher."""
    value = matcher.value
    if matcher.op is MatchOp.RE and _ALTERNATIVES.fullmatch(value):
        for alternative in value.split("|"):
            yield from _other_types(field, Matcher(matcher.label, MatchOp.EQ, alternative))
        return
    if matcher.op is MatchOp.RE and _WORDLY.fullmatch(value):
        return
    for boolean in ("true", "false"):
        if matcher.matches(boolean):
            yield f"{field} = {boolean}"
    if matcher.op is MatchOp.EQ:
        if _INTEGER.fullmatch(value) and abs(int(value)) <= _MAX_INTEGER:
            yield f"{field} = {value}"
        elif value in _UNREAL:
            yield from _any(field, _ANY_FLOAT)
        elif re.fullmatch(_NUMBERS, value) and (number := _finite(value)) is not None:
            yield f"{field} = {number!r}"
    else:
        yield from _any(field, _ANY_INTEGER)
        yield from _any(field, _ANY_FLOAT)


def _comparing(comparison: Comparison) -> Iterator[str]:
    op, value = comparison.op, comparison.value
    if comparison.field in TYPED:
        yield str(comparison)
        return
    for field in _fields(comparison.field):
        match value:
            case bool():
                wanted = "true" if value is (op is CompareOp.EQ) else "false"
                yield f"{field} = {wanted}"
                yield f"{field} = {quote(wanted)}"
            case int() | float():
                yield from _integers(field, op, value)
                yield f"{field} {op.value} {float(value)!r}"
                whole = op is CompareOp.EQ and isinstance(value, int) and value > 0
                pattern = _ONE_INTEGER.format(value) if whole else _NUMBERS
                yield f"{field} =~ {quote(f'^({pattern})$')}"


def _integers(field: str, op: CompareOp, value: float) -> Iterator[str]:
    """Yield a condition that holds for every integer which satisfies the comparison."""
    low, high = (min(max(bound(value), -_MAX_INTEGER), _MAX_INTEGER) for bound in (floor, ceil))
    if op in (CompareOp.GT, CompareOp.GE):
        yield f"{field} >= {low}"
    elif op in (CompareOp.LT, CompareOp.LE):
        yield f"{field} <= {high}"
    elif low == high == value:
        yield f"{field} {op.value} {low}"
    elif op is CompareOp.NE or abs(value) >= _MAX_INTEGER:
        yield from _any(field, _ANY_INTEGER)


def _any(field: str, conditions: tuple[str, ...]) -> Iterator[str]:
    return (condition.format(field) for condition in conditions)


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number - number == 0 else None

"""Reading trace queries: a trace id, our subset of TraceQL, and the structured search that is printed into it.

Rule: what TraceQL has and we do not is refused by name, never skipped. The subset is one pair of braces with
conditions joined by `&&`; grammar as in the Grafana Tempo documentation, "TraceQL". Ours are the short fields
`service`, `namespace`, `pod` and `cluster`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import isfinite

from federation_core.errors import InvalidRequest, UnsupportedQuery
from federation_core.labels import Matcher, MatchOp, Selector
from federation_core.scanner import Scanner
from federation_core.signals.traces.durations import DURATION, parse_duration_ns
from federation_core.signals.traces.expr import (
    COLUMNS,
    SCOPES,
    TYPED,
    CompareOp,
    Comparison,
    Expr,
    SpanSearch,
    TraceById,
    map_selectors,
    print_expr,
    unscoped_label,
)
from federation_core.signals.traces.match import reads_attributes, selector_matches, span_matches
from federation_core.signals.traces.payload import SpanKind, SpanStatus
from federation_core.signals.traces.structured import build

__all__ = [
    "build",
    "map_selectors",
    "parse",
    "parse_duration_ns",
    "print_expr",
    "reads_attributes",
    "selector_matches",
    "span_matches",
]

_HEX = re.compile(r"[0-9A-Fa-f]+")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_:]*")
_ATTRIBUTE = re.compile(r'[^\s{}()=~!<>&|^+*%,"`]+')
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?(?![A-Za-z0-9_µ.])")
_BOOLEAN = re.compile(r"(true|false)\b")
_NIL = re.compile(r"nil\b")
_OPS = ("=~", "!~", "!=", ">=", "<=", "=", ">", "<")
_TEXT_OPS = frozenset(op.value for op in MatchOp)
_NUMBER_OPS = frozenset(op.value for op in CompareOp)
_BY_SPELLING = {spelling: label for label, spelling in COLUMNS.items()}
#: Operators and forms of TraceQL that we refuse → their names.
_REFUSED = {
    "||": "||",
    "(": "parentheses",
    "!": "negation",
    "+": "arithmetic",
    "-": "arithmetic",
    "*": "arithmetic",
    "/": "arithmetic",
    "%": "arithmetic",
    "^": "arithmetic",
}
_REFUSED_AFTER = {
    "||": "spanset operator ||",
    "&&": "spanset operator &&",
    "|": "pipeline",
    "!": "structural operator",
    ">": "structural operator",
    "<": "structural operator",
    "~": "structural operator",
    "&": "structural operator",
    "with": "query hint",
}
_UNSUPPORTED_INTRINSICS = frozenset(
    {"traceDuration", "rootName", "rootServiceName", "childCount", "nestedSetLeft", "nestedSetRight", "nestedSetParent"}
)
_UNSUPPORTED_SCOPES = ("event", "link", "instrumentation", "parent", "trace", "span")


@lru_cache(maxsize=128)
def parse(text: str) -> Expr:
    """Read a query.

    Raises QuerySyntaxError (with line and column), UnsupportedQuery (naming the construct), QueryTooLarge.

    >>> parse("AB" * 8).trace_id
    '0000000000000000abababababababab'
    >>> print_expr(parse('{service = "web" && duration > 0.1s && status=error}'))
    '{ resource.service.name = "web" && duration > 100ms && status = error }'
    """
    scanner = Scanner(text)
    digits = scanner.match(_HEX)
    if digits and scanner.at_end:
        return TraceById(_trace_id(scanner, digits))
    scanner.position = 0
    if scanner.peek() == "(":
        raise UnsupportedQuery("parentheses around spansets are not supported", construct="parentheses")
    if not scanner.take("{"):
        raise scanner.error(
            f'expected a trace id or conditions such as {{ service = "orders" && duration > 1s }}, '
            f"found {scanner.here()}"
        )
    matchers: list[Matcher] = []
    comparisons: list[Comparison] = []
    while not scanner.take("}"):
        if (matchers or comparisons) and not scanner.take("&&"):
            _refuse(scanner, _REFUSED)
            raise scanner.error(f"expected && or }} after a condition, found {scanner.here()}")
        condition = _condition(scanner)
        if isinstance(condition, Matcher):
            matchers.append(condition)
        else:
            comparisons.append(condition)
    if not scanner.at_end:
        _refuse(scanner, _REFUSED_AFTER)
        raise scanner.error(f"nothing may follow the conditions, found {scanner.here()}")
    return SpanSearch(Selector(tuple(matchers)), tuple(comparisons))


def _trace_id(scanner: Scanner, digits: str) -> str:
    if len(digits) not in (16, 32):
        raise scanner.error(f"a trace id has 16 or 32 hexadecimal digits, this has {len(digits)}", 0)
    if not digits.strip("0"):
        raise scanner.error("a trace id is not all zeros", 0)
    return digits.lower().rjust(32, "0")


def _condition(scanner: Scanner) -> Matcher | Comparison:
    label = _field(scanner)
    op = scanner.take(*_OPS)
    if not op:
        _refuse(scanner, _REFUSED)
        raise scanner.error(f"expected a comparison after {label}, found {scanner.here()}")
    if scanner.match(_NIL):
        raise UnsupportedQuery("comparison with nil is not supported", construct="nil")
    if label in TYPED:
        return _typed(scanner, label, op)
    if scanner.peek() in ('"', "`"):
        return _text_condition(scanner, label, op)
    return _number_or_boolean(scanner, label, op)


def _field(scanner: Scanner) -> str:
    """Read a field and return its label."""
    for scope in SCOPES:
        if scanner.take(scope):
            attribute = scope + _attribute(scanner)
            return _BY_SPELLING.get(attribute, attribute)
    if scanner.take("."):
        return unscoped_label(_attribute(scanner))
    at = scanner.skip_space()
    word = scanner.match(_WORD)
    if word in COLUMNS or word in TYPED:
        return word
    if not word:
        _refuse(scanner, _REFUSED)
        raise scanner.error(
            f"expected a field such as service, name, duration or span.http.route, found {scanner.here()}", at
        )
    if word in ("true", "false") or word.partition(":")[0] in _UNSUPPORTED_SCOPES or word in _UNSUPPORTED_INTRINSICS:
        raise UnsupportedQuery(f"the field {word!r} is not supported", construct=word)
    raise scanner.error(
        f"there is no field {word!r}; attributes are written .{word}, span.{word} or resource.{word}", at
    )


def _attribute(scanner: Scanner) -> str:
    if scanner.text[scanner.position : scanner.position + 1] == '"':
        return scanner.string("an attribute's name")
    name = _ATTRIBUTE.match(scanner.text, scanner.position)
    if not name:
        raise scanner.error("expected an attribute's name right after the dot")
    scanner.position = name.end()
    return name.group()


def _text_condition(scanner: Scanner, label: str, op: str) -> Matcher:
    if op not in _TEXT_OPS:
        raise scanner.error(f"{label} is compared with a text, which has only = != =~ !~")
    return scanner.matcher(label, op)


def _typed(scanner: Scanner, label: str, op: str) -> Comparison:
    at = scanner.skip_space()
    if op not in _NUMBER_OPS:
        raise scanner.error(f"{label} has no comparison {op}", at)
    if label == "duration":
        written = scanner.match(DURATION)
        if not written:
            raise scanner.error(f"expected a duration such as 100ms, found {scanner.here()}")
        try:
            return Comparison(label, CompareOp(op), parse_duration_ns(written))
        except InvalidRequest as exc:
            raise scanner.error(f"{exc.message}; expected {exc.expected}", at) from None
    if op not in ("=", "!="):
        raise scanner.error(f"{label} has only = and !=", at)
    values = SpanStatus if label == "status" else SpanKind
    word = scanner.match(_WORD)
    if word not in list(values):
        raise scanner.error(f"{label} is one of {', '.join(values)}, found {word or scanner.here()!r}", at)
    return Comparison(label, CompareOp(op), values(word))


def _number_or_boolean(scanner: Scanner, label: str, op: str) -> Comparison:
    at = scanner.skip_space()
    boolean = scanner.match(_BOOLEAN)
    written = boolean or scanner.match(_NUMBER)
    if not written or label in COLUMNS:
        raise scanner.error(f"expected a value of {label} in quotes, found {scanner.here()}", at)
    if op not in _NUMBER_OPS or (boolean and op not in ("=", "!=")):
        raise scanner.error(f"{op} is no comparison for {written}", at)
    if boolean:
        return Comparison(label, CompareOp(op), boolean == "true")
    number = float(written)
    if not isfinite(number):
        raise scanner.error(f"{written[:20]} is too large a number", at)
    if not re.search(r"[.eE]", written):
        number = int(written)
    return Comparison(label, CompareOp(op), number)


def _refuse(scanner: Scanner, forms: dict[str, str]) -> None:
    """Raise UnsupportedQuery where one of the forms we know and refuse stands here."""
    found = scanner.take(*forms)
    if found:
        raise UnsupportedQuery(f"{forms[found]} is not supported in trace queries", construct=forms[found])

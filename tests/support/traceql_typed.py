"""A TraceQL of strict types, as Tempo's store compares: a text with texts, an integer with integers, nothing else.

Only what `tempo_query` prints: conditions joined by `&&`, alternatives in parentheses joined by `||`. It stands for
the least that any Tempo finds, so that what a search of ours matches must be found by it.
"""

from __future__ import annotations

import operator
import re
from typing import Any

import re2

from federation_core.scanner import Scanner
from federation_core.signals.traces.durations import DURATION, parse_duration_ns
from federation_core.signals.traces.payload import Span

_COMPARE = {
    "=": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=~": lambda held, pattern: re2.fullmatch(pattern, held) is not None,
    "!~": lambda held, pattern: re2.fullmatch(pattern, held) is None,
}
_NAME = re.compile(r'[^\s{}()=~!<>&|^+*%,"`]+')
_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]+([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)")
_INTEGER = re.compile(r"-?[0-9]+")
_WORD = re.compile(r"[a-z]+")


def finds(text: str, span: Span) -> bool:
    """Tell whether a span satisfies a query."""
    scanner = Scanner(text)
    assert scanner.take("{")
    found = True
    while not scanner.take("}"):
        scanner.take("&&")
        if scanner.take("("):
            alternatives = [_condition(scanner, span)]
            while scanner.take("||"):
                alternatives.append(_condition(scanner, span))
            assert scanner.take(")")
            found &= any(alternatives)
        else:
            found &= _condition(scanner, span)
    return found


def _condition(scanner: Scanner, span: Span) -> bool:
    held = _field(scanner, span)
    op = scanner.take("=~", "!~", "!=", ">=", "<=", "=", ">", "<")
    wanted = _value(scanner)
    if held is None or type(held) is not type(wanted):
        return False
    return bool(_COMPARE[op](held, wanted))


def _field(scanner: Scanner, span: Span) -> Any:
    for scope, attributes in (("resource.", span.resource), ("span.", span.attributes)):
        if scanner.take(scope):
            quoted = scanner.text[scanner.position : scanner.position + 1] == '"'
            if quoted:
                return attributes.get(scanner.string("a name"))
            return attributes.get(scanner.match(_NAME))
    word = scanner.match(re.compile(r"[A-Za-z]+"))
    return {
        "name": span.operation,
        "statusMessage": span.status_message,
        "duration": span.duration_ns,
        "status": span.status.value,
        "kind": span.kind.value,
    }[word]


def _value(scanner: Scanner) -> Any:
    if scanner.peek() == '"':
        return scanner.string("a text")
    if duration := scanner.match(DURATION):
        return parse_duration_ns(duration)
    if number := scanner.match(_FLOAT):
        return float(number)
    if number := scanner.match(_INTEGER):
        return int(number)
    word = scanner.match(_WORD)
    return {"true": True, "false": False}.get(word, word)

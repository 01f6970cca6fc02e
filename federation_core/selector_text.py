"""Selectors in braces as PromQL has them, printed and read, for the signals that ask by selectors alone.

Rule: what is printed reads back to the same selector; a label whose name is no plain one stands in quotes.
Source: Prometheus documentation, "Querying basics / Time series selectors".
"""

from __future__ import annotations

import re

from federation_core.labels import Matcher, Selector, quote
from federation_core.scanner import Scanner

_PLAIN_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MATCH_OPS = ("=~", "!~", "!=", "=")


def selector_text(selector: Selector) -> str:
    """Print a selector in braces.

    >>> from federation_core.labels import MatchOp
    >>> selector_text(Selector((Matcher("job", MatchOp.EQ, "api"), Matcher("k8s.pod", MatchOp.RE, "a.*"))))
    '{job="api","k8s.pod"=~"a.*"}'
    """
    conditions = (f"{_label_text(m.label)}{m.op.value}{quote(m.value)}" for m in selector.matchers)
    return "{" + ",".join(conditions) + "}"


def read_selector(scanner: Scanner) -> Selector:
    """Read a selector in braces.

    Raises QuerySyntaxError (with line and column).
    """
    if not scanner.take("{"):
        raise scanner.error(f'expected a selector such as {{job="api"}}, found {scanner.here()}')
    matchers: list[Matcher] = []
    while not scanner.take("}"):
        if matchers and not scanner.take(","):
            raise scanner.error(f"expected , or }} after a matcher, found {scanner.here()}")
        matchers.append(_matcher(scanner))
    return Selector(tuple(matchers))


def _matcher(scanner: Scanner) -> Matcher:
    label = scanner.match(_PLAIN_LABEL) or scanner.string("a label name, plain or")
    op = scanner.take(*_MATCH_OPS)
    if not op:
        raise scanner.error(f"expected one of = != =~ !~ after {label}, found {scanner.here()}")
    return scanner.matcher(label, op)


def _label_text(label: str) -> str:
    return label if _PLAIN_LABEL.fullmatch(label) else quote(label)

"""Reading log queries: our subset of LogQL, and the structured search that is printed into it.

Rule: what LogQL has and we do not is refused by name, never skipped. The subset is a stream selector, the line
filters `|= != |~ !~`, and label filters `| name="value"`; grammar as in the Grafana Loki documentation, "LogQL".
Unlike Loki we read `{}`, which is what remains of a selector that names only clusters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

import re2

from federation_core.errors import InvalidRequest, UnsupportedQuery
from federation_core.labels import Matcher, MatchOp, Selector
from federation_core.scanner import Scanner
from federation_core.signals.logs.expr import (
    LabelFilter,
    LineFilter,
    LineOp,
    LogQuery,
    Stage,
    compile_line_pattern,
    map_selectors,
    matches,
    passing,
    print_query,
)

__all__ = ["build", "map_selectors", "matches", "parse", "passing", "print_query"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MATCH_OPS = ("=~", "!~", "!=", "=")
_METRIC_QUERY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\s*(\(|by\b|without\b)|\(|[0-9]")
_TRACE_ID = re.compile(r"[0-9a-f]{1,32}")
_OR = re.compile(r"or\b")
_JOIN = re.compile(r"or\b|and\b|,")


@lru_cache(maxsize=128)
def parse(text: str) -> LogQuery:
    """Read a query.

    Raises QuerySyntaxError (with line and column), UnsupportedQuery (naming the construct), QueryTooLarge.

    >>> print_query(parse('{ns = `shop`,level=~"error|warn"}|="timeout" | trace_id="ab"'))
    '{ns="shop", level=~"error|warn"} |= "timeout" | trace_id="ab"'
    """
    scanner = Scanner(text)
    if scanner.match(_METRIC_QUERY):
        raise UnsupportedQuery("metric queries over logs are not supported", construct="metric query")
    selector = _selector(scanner)
    stages = []
    while not scanner.at_end:
        stages.append(_stage(scanner))
    return LogQuery(selector, tuple(stages))


def _selector(scanner: Scanner) -> Selector:
    if not scanner.take("{"):
        raise scanner.error(f'expected a stream selector such as {{service="orders"}}, found {scanner.here()}')
    matchers: list[Matcher] = []
    while not scanner.take("}"):
        if matchers and not scanner.take(","):
            raise scanner.error(f"expected , or }} after a matcher, found {scanner.here()}")
        # Loki refuses a comma that nothing follows, and so do we.
        matchers.append(_matcher(scanner, _label_name(scanner)))
    return Selector(tuple(matchers))


def _label_name(scanner: Scanner) -> str:
    name = scanner.match(_NAME)
    if not name:
        raise scanner.error(f"expected a label name, found {scanner.here()}")
    return name


def _matcher(scanner: Scanner, label: str) -> Matcher:
    op = scanner.take(*_MATCH_OPS)
    if not op:
        raise scanner.error(f"expected one of = != =~ !~ after {label}, found {scanner.here()}")
    scanner.skip_space()
    if scanner.peek(3) == "ip(":
        raise UnsupportedQuery('the comparison with ip("…") is not supported', construct="ip()")
    return scanner.matcher(label, op)


def _stage(scanner: Scanner) -> Stage:
    if scanner.peek(2) in ("|>", "!>"):
        raise UnsupportedQuery("pattern filters (|> and !>) are not supported", construct="pattern filter")
    op = scanner.take(*LineOp)
    if op:
        return _line_filter(scanner, LineOp(op))
    if scanner.take("["):
        raise UnsupportedQuery("ranges make a metric query, which is not supported", construct="metric query")
    if not scanner.take("|"):
        raise scanner.error(f"expected a filter (|= != |~ !~ or | label=…), found {scanner.here()}")
    return _label_filter(scanner)


def _line_filter(scanner: Scanner, op: LineOp) -> LineFilter:
    if scanner.peek(2) == "ip":
        raise UnsupportedQuery('the line filter ip("…") is not supported', construct="ip()")
    at = scanner.skip_space()
    line_filter = LineFilter(op, scanner.string("the text of a line filter"))
    if op in (LineOp.FINDS, LineOp.FINDS_NOT):
        _check(scanner, at, compile_line_pattern, line_filter.text)
    if scanner.match(_OR):
        raise UnsupportedQuery("or between line filters is not supported; use |~ with a|b", construct="or")
    return line_filter


def _label_filter(scanner: Scanner) -> LabelFilter:
    if scanner.peek() == "(":
        raise UnsupportedQuery("parentheses in label filters are not supported", construct="parentheses")
    label = _label_name(scanner)
    if scanner.take("==", ">=", "<=", ">", "<") or re.match(r"!?=\s*[-0-9]", scanner.text[scanner.skip_space() :]):
        raise UnsupportedQuery("numeric label filters are not supported", construct="numeric label filter")
    if scanner.peek(1) != "=" and scanner.peek(2) not in ("!=", "!~"):
        # What follows a bar and is no comparison is a parser or a formatter: json, line_format, unwrap, …
        raise UnsupportedQuery(f"the stage {label!r} is not supported", construct=label)
    found = LabelFilter(_matcher(scanner, label))
    joined = scanner.match(_JOIN)
    if joined:
        raise UnsupportedQuery(
            f"{joined!r} between label filters is not supported; begin each filter with |", construct=joined
        )
    return found


def _check(scanner: Scanner, at: int, compiled: Callable[[str], object], pattern: str) -> None:
    try:
        compiled(pattern)
    except InvalidRequest as exc:
        raise scanner.error(exc.message, at) from None


def build(
    labels: Mapping[str, str] | None = None,
    *,
    text: str = "",
    regex: str = "",
    level: str = "",
    trace_id: str = "",
) -> str:
    """Return the LogQL text of a structured search; every part that is given must hold.

    `labels` are equalities on the stream, `text` is contained in the line, `regex` (RE2) matches somewhere in it.
    `level` is compared without regard to case. `trace_id` finds the id with and without its leading zeros, as
    back ends store it either way.

    Raises InvalidRequest: naming the parameter that is wrong.

    >>> build({"service": "orders"}, text="timeout", trace_id="0AF7651916CD43DD")
    '{service="orders"} |= "timeout" | trace_id=~"0*af7651916cd43dd"'
    """
    matchers = tuple(Matcher(_checked_name(name), MatchOp.EQ, value) for name, value in sorted((labels or {}).items()))
    stages: list[Stage] = []
    if text:
        stages.append(LineFilter(LineOp.CONTAINS, text))
    if regex:
        _require_pattern(regex)
        stages.append(LineFilter(LineOp.FINDS, regex))
    if level:
        stages.append(LabelFilter(Matcher("level", MatchOp.RE, f"(?i:{re2.escape(level)})")))
    if trace_id:
        stages.append(LabelFilter(Matcher("trace_id", MatchOp.RE, "0*" + _checked_trace_id(trace_id))))
    return print_query(LogQuery(Selector(matchers), tuple(stages)))


def _require_pattern(regex: str) -> None:
    try:
        compile_line_pattern(regex)
    except InvalidRequest as exc:
        raise InvalidRequest(exc.message, **{**exc.details, "field": "regex"}) from None


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name!r} is not a label name", field="labels", got=name, expected="letters, digits and _, no digit first"
        )
    return name


def _checked_trace_id(trace_id: str) -> str:
    """Return the id in lower case without leading zeros."""
    found = trace_id.strip().lower()
    if not _TRACE_ID.fullmatch(found) or not found.strip("0"):
        raise InvalidRequest(
            f"{trace_id!r} is not a trace id", field="traceId", got=trace_id, expected="up to 32 hexadecimal digits"
        )
    return found.lstrip("0")

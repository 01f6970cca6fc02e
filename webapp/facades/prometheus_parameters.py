"""Parameters as Prometheus' HTTP API reads them, and the queries they make.

Rule: a form in the body and the URL's parameters are one set, of which the body's come first; a parameter that nobody
knows is ignored, as Prometheus does, but one that would change the answer and is not supported is refused.
Source: Prometheus documentation, "HTTP API"; Thanos documentation, "Query API overview", for `partial_response`.
"""

from __future__ import annotations

import re
from typing import NoReturn

from flask import request

from federation_core.config import Settings
from federation_core.errors import FederationError, InvalidRequest, QuerySyntaxError, UnsupportedQuery
from federation_core.labels import Selector
from federation_core.query import MAX_STEPS, Query, Requirement, TimeRange
from federation_core.signals.metrics.expr import VectorSelector
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.windows import LOOKBACK_MS
from federation_core.times import MAX_MS, MIN_MS, format_duration, parse_duration_ms, parse_time_ms

#: Below this prefix an answer that lacks a cluster is an error.
STRICT_PREFIX = "/strict/"
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
#: What Prometheus' own client sends for "from the beginning" and "to the end".
_ENDS = {"-292273086-05-16T16:47:06Z": MIN_MS, "292277025-08-18T07:12:54.999999999Z": MAX_MS}
#: Parameters of Thanos and VictoriaMetrics that would narrow or alter an answer.
_REFUSED = ("storeMatch[]", "replicaLabels[]", "extra_label", "extra_filters", "extra_filters[]")
_YES, _NO = frozenset({"1", "true", "t"}), frozenset({"0", "false", "f"})
_COUNT = re.compile(r"[+-]?[0-9]{1,15}")


def text(name: str) -> str:
    """Return a parameter, the body's before the URL's; "" where it is not given."""
    return request.form.get(name) or request.args.get(name, "")


def texts(name: str) -> list[str]:
    """Return every value of a parameter that may be repeated."""
    return [*request.form.getlist(name), *request.args.getlist(name)]


def instant_ms(name: str, default_ms: int | None = None) -> int:
    """Read a time: seconds since the epoch, with a fraction or not, or RFC 3339; in ms.

    Raises InvalidRequest: it is neither, or missing without a default.
    """
    got = text(name)
    if not got and default_ms is not None:
        return default_ms
    if got in _ENDS:
        return _ENDS[got]
    if not (_NUMBER.fullmatch(got) or _RFC_3339.fullmatch(got)):
        _refuse(name, got, f'cannot parse "{got}" to a valid timestamp')
    # RFC 3339 allows small letters and any number of digits; Python's reader takes capitals and six.
    return parse_time_ms(re.sub(r"(\.\d{6})\d+", r"\1", got.upper()) if "-" in got[1:5] else got, 0, name)


def range_of() -> TimeRange:
    """Read `start`, `end` and `step` of a range query.

    Raises InvalidRequest: in Prometheus' words.
    """
    start_ms, end_ms = instant_ms("start"), instant_ms("end")
    if end_ms < start_ms:
        _refuse("end", text("end"), "end timestamp must not be before start time")
    step_ms = _step_ms()
    if (end_ms - start_ms) // step_ms + 1 > MAX_STEPS:
        raise InvalidRequest(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution"
            " (?step=XX)"
        )
    return TimeRange(start_ms, end_ms, step_ms)


def span(default_start_ms: int, default_end_ms: int) -> TimeRange:
    """Read `start` and `end` of a question about series, both optional.

    Raises InvalidRequest.
    """
    start_ms, end_ms = instant_ms("start", default_start_ms), instant_ms("end", default_end_ms)
    if end_ms < start_ms:
        _refuse("end", text("end"), "end timestamp must not be before start time")
    return TimeRange(start_ms, end_ms)


def limit_of(name: str = "limit", unlimited: int = 0) -> int:
    """Read a number of rows; `unlimited` where it is not given.

    Raises InvalidRequest: it is no whole number, or negative where that is no way to say "all".
    """
    got = text(name)
    if not got:
        return unlimited
    if not _COUNT.fullmatch(got):
        _refuse(name, got, f'cannot parse "{got}" as a whole number')
    if int(got) < 0 and unlimited == 0:
        _refuse(name, got, f"{name} must be non-negative")
    return int(got)


def selectors() -> tuple[Selector, ...]:
    """Read every `match[]`.

    Raises InvalidRequest: one is no selector. UnsupportedQuery, QueryTooLarge.
    """
    found = []
    for got in texts("match[]"):
        try:
            expr = parse(got)
        except QuerySyntaxError as exc:
            _refuse("match[]", got, exc.message)
        if not isinstance(expr, VectorSelector) or expr != VectorSelector(expr.selector):
            _refuse("match[]", got, 'it is not a series selector such as up{job="api"}')
        found.append(expr.selector)
    return tuple(found)


def query_of(
    signal: str, asked: str, time_range: TimeRange, tenant_id: str, settings: Settings, limit: int = 0
) -> Query:
    """Return the query, with what the parameters say about its clusters, its coverage and its time.

    Raises InvalidRequest. UnsupportedQuery: another lookback than ours.
    """
    for name in _REFUSED:
        if any(texts(name)):
            raise InvalidRequest(f"{name} is not supported here", field=name, expected="the condition in the query")
    lookback = text("lookback_delta")
    if lookback and parse_duration_ms(lookback, "lookback_delta") != LOOKBACK_MS:
        said = f"lookback_delta is {format_duration(LOOKBACK_MS)} in every cluster, {lookback} is not supported"
        raise UnsupportedQuery(said, construct="lookback_delta")
    return Query(
        signal=signal,
        text=asked,
        time_range=time_range,
        tenant_id=tenant_id,
        clusters=_names("clusters"),
        environments=_names("environments"),
        limit=limit,
        requirement=_requirement(),
        timeout_ms=_timeout_ms(settings),
    )


def _requirement() -> Requirement:
    partial = text("partial_response").lower() not in _NO and text("deny_partial_response").lower() not in _YES
    if request.path.startswith(STRICT_PREFIX) or not partial:
        return Requirement("all")
    return Requirement.parse(text("require") or "best_effort")


def _timeout_ms(settings: Settings) -> int:
    got = text("timeout")
    if not got:
        return settings.default_timeout_ms
    timeout_ms = parse_duration_ms(got, "timeout")
    if timeout_ms <= 0:
        _refuse("timeout", got, "a query needs some time")
    # As in Prometheus, a longer wait than the server allows is cut to that.
    return min(timeout_ms, settings.max_timeout_ms)


def _step_ms() -> int:
    got = text("step")
    if not _NUMBER.fullmatch(got):
        try:
            step_ms = parse_duration_ms(got, "step")
        except FederationError:
            _refuse("step", got, f'cannot parse "{got}" to a valid duration')
    else:
        step_ms = parse_duration_ms(got.lstrip("+"), "step") if not got.startswith("-") else 0
    if step_ms <= 0:
        _refuse("step", got, "zero or negative query resolution step widths are not accepted. Try a positive integer")
    return step_ms


def _names(name: str) -> tuple[str, ...]:
    """Read a list in one or several parameters, as this data source's own parameters are written."""
    return tuple(dict.fromkeys(part.strip() for got in texts(name) for part in got.split(",") if part.strip()))


def _refuse(name: str, got: str, why: str) -> NoReturn:
    raise InvalidRequest(why, field=name, got=got)

"""Parameters as Prometheus' HTTP API reads them, and the queries they make.

Rule: a form in the body and the URL's parameters are one set, of which the body's come first; a parameter that nobody
knows is ignored, as Prometheus does, but one that would change the answer and is not supported is refused.
Source: Prometheus documentation, "HTTP API"; Thanos documentation, "Query API overview", for `partial_response`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn
from urllib.parse import parse_qsl

from flask import g, request

from federation_core.config import Settings
from federation_core.errors import InvalidRequest, QuerySyntaxError, UnsupportedQuery
from federation_core.labels import Selector
from federation_core.query import MAX_STEPS, Query, Requirement, TimeRange
from federation_core.signals.metrics.expr import VectorSelector
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.windows import LOOKBACK_MS
from federation_core.times import format_duration
from webapp.facades.prometheus_times import read_duration_ms, read_instant_ms

#: Below this prefix an answer that lacks a cluster is an error.
STRICT_PREFIX = "/strict/"
#: What stands in a decoded text where its bytes were none of UTF-8.
_UNREADABLE = "\N{REPLACEMENT CHARACTER}"
#: Parameters of Thanos and VictoriaMetrics that would narrow or alter an answer.
_REFUSED = ("storeMatch[]", "replicaLabels[]", "extra_label", "extra_filters", "extra_filters[]")
_YES, _NO = frozenset({"1", "true", "t"}), frozenset({"0", "false", "f"})
_COUNT = re.compile(r"[+-]?[0-9]{1,15}")


def text(name: str) -> str:
    """Return a parameter, the body's before the URL's; "" where it is not given."""
    return next(filter(None, texts(name)), "")


def texts(name: str) -> list[str]:
    """Return every value of a parameter that may be repeated."""
    return [value for given, value in _given() if given == name]


def _given() -> list[tuple[str, str]]:
    """Read the parameters once; the framework's own reader hides bytes that are no UTF-8 behind percent signs."""
    if "prometheus_parameters" not in g:
        if request.mimetype == "application/x-www-form-urlencoded":
            body = _pairs(request.get_data())
        else:
            body = list(request.form.items(multi=True))
        g.prometheus_parameters = [*body, *_pairs(request.query_string)]
    found: list[tuple[str, str]] = g.prometheus_parameters
    return found


def _pairs(encoded: bytes) -> list[tuple[str, str]]:
    return parse_qsl(encoded.decode(errors="replace"), keep_blank_values=True, errors="replace")


def readable(name: str, got: str) -> str:
    """Return a text that came in UTF-8; a query in other bytes would look for what nobody has asked for.

    Raises InvalidRequest: it came in other bytes. U+FFFD itself is refused too, as Prometheus does in a query.
    """
    if is_unreadable(got):
        _refuse(name, got, "invalid UTF-8 rune")
    return got


def is_unreadable(got: str) -> bool:
    """Tell whether a text came in other bytes than UTF-8."""
    return _UNREADABLE in got


def instant_ms(name: str, default_ms: int | None = None) -> int:
    """Read a time: seconds since the epoch, with a fraction or not, or RFC 3339; in ms.

    Raises InvalidRequest: it is neither, or missing without a default.
    """
    got = text(name)
    if not got and default_ms is not None:
        return default_ms
    return _read(read_instant_ms, name, got)


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
            expr = parse(readable("match[]", got))
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
    if lookback and _read(read_duration_ms, "lookback_delta", lookback) != LOOKBACK_MS:
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
    timeout_ms = _read(read_duration_ms, "timeout", got)
    if timeout_ms <= 0:
        _refuse("timeout", got, "a query needs some time")
    # As in Prometheus, a longer wait than the server allows is cut to that.
    return min(timeout_ms, settings.max_timeout_ms)


def _step_ms() -> int:
    got = text("step")
    step_ms = _read(read_duration_ms, "step", got)
    if step_ms <= 0:
        _refuse("step", got, "zero or negative query resolution step widths are not accepted. Try a positive integer")
    return step_ms


def _read(read: Callable[[str], int], name: str, got: str) -> int:
    try:
        return read(got)
    except ValueError as exc:
        _refuse(name, got, str(exc))


def _names(name: str) -> tuple[str, ...]:
    """Read a list in one or several parameters, as this data source's own parameters are written."""
    return tuple(dict.fromkeys(part.strip() for got in texts(name) for part in got.split(",") if part.strip()))


def _refuse(name: str, got: str, why: str) -> NoReturn:
    raise InvalidRequest(why, field=name, got=got)

"""Structured trace search: the fields of a form become the text of our query language, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from federation_core.errors import InvalidRequest
from federation_core.labels import Matcher, MatchOp, Selector
from federation_core.signals.traces.expr import (
    COLUMNS,
    SCOPES,
    CompareOp,
    Comparison,
    SpanSearch,
    print_expr,
    unscoped_label,
)
from federation_core.signals.traces.payload import SpanStatus


def build(
    *,
    service: str = "",
    operation: str = "",
    namespace: str = "",
    min_duration_ns: int | None = None,
    max_duration_ns: int | None = None,
    status: str = "",
    error: bool = False,
    tags: Mapping[str, str] | None = None,
) -> str:
    """Return the text of a search for traces with one span that satisfies every part given.

    `tags` are equalities on attributes, of the span or its process unless named `span.x` or `resource.x`; a name
    of one of our columns (`pod`, `cluster`, …) means the column. `error` is short for the status `error`.

    Raises InvalidRequest: naming the parameter that is wrong.

    >>> build(service="orders", min_duration_ns=10**8, error=True, tags={"http.route": "/cart"})
    '{ resource.service.name = "orders" && .http.route = "/cart" && duration >= 100ms && status = error }'
    """
    fixed = (("service", service), ("namespace", namespace), ("name", operation))
    matchers = [Matcher(label, MatchOp.EQ, value) for label, value in fixed if value]
    matchers += [Matcher(_tag_label(tag), MatchOp.EQ, value) for tag, value in sorted((tags or {}).items())]
    bounds = (("minDuration", CompareOp.GE, min_duration_ns), ("maxDuration", CompareOp.LE, max_duration_ns))
    comparisons = [
        Comparison("duration", op, _checked_bound(field, bound_ns))
        for field, op, bound_ns in bounds
        if bound_ns is not None
    ]
    if min_duration_ns is not None and max_duration_ns is not None and max_duration_ns < min_duration_ns:
        raise InvalidRequest(
            "maxDuration is below minDuration",
            field="maxDuration",
            got=f"{max_duration_ns} ns",
            expected=f"at least minDuration ({min_duration_ns} ns)",
        )
    if error and status not in ("", SpanStatus.ERROR.value):
        raise InvalidRequest(
            f"error and status {status!r} exclude each other",
            field="status",
            got=status,
            expected="error, or no status",
        )
    if status or error:
        comparisons.append(Comparison("status", CompareOp.EQ, _checked_status(status or "error")))
    return print_expr(SpanSearch(Selector(tuple(matchers)), tuple(comparisons)))


def _tag_label(tag: str) -> str:
    if not tag or tag in SCOPES:
        raise InvalidRequest("a tag has no name", field="tags", got=tag, expected="an attribute's name")
    return tag if tag in COLUMNS or tag.startswith(SCOPES) else unscoped_label(tag)


def _checked_bound(field: str, duration_ns: int) -> int:
    if duration_ns < 0:
        raise InvalidRequest(f"{field} is negative", field=field, got=f"{duration_ns} ns", expected="0 or more")
    return duration_ns


def _checked_status(status: str) -> SpanStatus:
    try:
        return SpanStatus(status)
    except ValueError:
        raise InvalidRequest(
            f"there is no status {status!r}", field="status", got=status, expected=" or ".join(SpanStatus)
        ) from None

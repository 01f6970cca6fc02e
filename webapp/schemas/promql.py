"""The structured form of a metrics query, written out as PromQL.

Rule: every value is quoted, every name is checked, so that no field can become syntax. The text is shown in the
answer; whoever outgrows the form copies it from there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from federation_core.errors import InvalidRequest
from federation_core.labels import NAME, Matcher, MatchOp, quote
from federation_core.times import format_duration, parse_duration_ms

_METRIC = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STRUCTURED = ("metric", "labels", "matchers", "function", "range", "aggregation", "groupBy")


def promql_from(fields: Mapping[str, Any]) -> str:
    """Return `query` as it is, or the structured fields as PromQL.

    Raises InvalidRequest: both forms, neither, a name that is none, or a window without a function.

    >>> promql_from({"metric": "up", "labels": {"job": "a"}, "aggregation": "sum", "groupBy": ("cluster",)})
    'sum by (cluster) (up{job="a"})'
    """
    given = [name for name in _STRUCTURED if name in fields]
    if "query" in fields:
        if given:
            raise _wrong(given[0], fields, "query and the structured form exclude each other", "one of the two forms")
        return str(fields["query"])
    if "metric" not in fields:
        raise InvalidRequest(
            "there is neither query nor metric",
            field="query",
            expected="query (PromQL), or the structured form that begins with metric",
        )
    return _aggregated(_windowed(_selector(fields), fields), fields)


def _selector(fields: Mapping[str, Any]) -> str:
    matchers = [Matcher(label, MatchOp.EQ, value) for label, value in fields.get("labels", {}).items()]
    matchers += [Matcher(m["label"], MatchOp(m["op"]), m["value"]) for m in fields.get("matchers", ())]
    for matcher in matchers:
        if not _LABEL.fullmatch(matcher.label) or matcher.label == NAME:
            raise InvalidRequest(
                f"{matcher.label!r} is not the name of a label",
                field="matchers",
                got=matcher.label,
                expected="letters, digits and _, not beginning with a digit; the metric's name goes to metric",
            )
    metric = fields["metric"]
    if _METRIC.fullmatch(metric):
        conditions = ",".join(str(matcher) for matcher in matchers)
        return f"{metric}{{{conditions}}}" if conditions else str(metric)
    # A name outside the classic alphabet is written as a condition.
    return "{" + ",".join([f"{NAME}={quote(metric)}", *(str(matcher) for matcher in matchers)]) + "}"


def _windowed(selector: str, fields: Mapping[str, Any]) -> str:
    if "function" not in fields:
        if "range" in fields:
            raise _wrong("range", fields, "range is the window of a function and there is none", "function, too")
        return selector
    window_ms = parse_duration_ms(fields.get("range", "5m"), "range")
    if window_ms == 0:
        raise _wrong("range", fields, "range: is zero", "a duration above zero")
    return f"{fields['function']}({selector}[{format_duration(window_ms)}])"


def _aggregated(expression: str, fields: Mapping[str, Any]) -> str:
    labels = fields.get("groupBy", ())
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise _wrong("groupBy", fields, f"{label!r} is not the name of a label", "names of labels")
    if "aggregation" not in fields:
        if labels:
            raise _wrong("groupBy", fields, "groupBy keeps labels of an aggregation and there is none", "aggregation")
        return expression
    by = f" by ({', '.join(labels)}) " if labels else ""
    return f"{fields['aggregation']}{by}({expression})"


def _wrong(field: str, fields: Mapping[str, Any], message: str, right: str) -> InvalidRequest:
    got = fields[field]
    return InvalidRequest(message, field=field, got=got if isinstance(got, str) else str(got), expected=right)

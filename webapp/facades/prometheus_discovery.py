"""The Prometheus façade: which series, labels, values and metrics there are.

Rule: these are queries like any other, of the signal `series`: planned, scoped, asked of every cluster, and answered
with what is missing. `limit` holds for the union.
Source: Prometheus documentation, "HTTP API / Querying metadata"; "UTF-8 in Prometheus" for names in paths.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import re2
from flask import Blueprint, Response

from federation_core.errors import InvalidRequest
from federation_core.labels import NAME, Matcher, MatchOp, Selector
from federation_core.outcome import Result
from federation_core.query import TimeRange
from federation_core.signals.series.expr import Discovery, Question, to_text
from federation_core.signals.series.payload import Fact
from webapp.ask import pipeline
from webapp.auth import scope
from webapp.facades import prometheus_parameters as parameters
from webapp.facades.prometheus_envelope import answer, failure

blueprint = Blueprint("prometheus_discovery", __name__)
_FORM = ["GET", "POST"]
_DAY_MS = 86_400_000
_ENDING = "(_bucket|_count|_sum|_gcount|_gsum|_total|_info)?"
_ESCAPED = re.compile(r"_(_|[0-9A-Fa-f]{1,6}_)")


@blueprint.route("/api/v1/series", methods=_FORM)
def series() -> Response:
    """List the series that satisfy any `match[]`."""
    selectors = parameters.selectors()
    if not selectors:
        raise InvalidRequest("no match[] parameter provided")
    return _listed(Discovery(Question.SERIES, selectors))


@blueprint.route("/api/v1/labels", methods=_FORM)
def labels() -> Response:
    """List the names of labels."""
    return _listed(_about(Question.LABELS))


@blueprint.get("/api/v1/label/<name>/values")
def label_values(name: str) -> Response:
    """List the values of one label."""
    label = unescaped(name)
    # As in Prometheus 3, a name is any text that is not empty.
    if not label or parameters.is_unreadable(name):
        raise InvalidRequest(f'invalid label name: "{name}"')
    return _listed(_about(Question.VALUES, label))


@blueprint.get("/api/v1/metadata")
def metadata() -> Response:
    """List type, help and unit of metrics; where clusters disagree, all that they say."""
    metric = parameters.text("metric")
    limit = parameters.limit_of("limit", unlimited=-1)
    per_metric = parameters.limit_of("limit_per_metric", unlimited=-1)
    now_ms = pipeline().clock()
    asked = Discovery(Question.METADATA, (_series_of(metric),)) if metric else Discovery(Question.METADATA)
    result = _ask(asked, TimeRange(now_ms - _DAY_MS, now_ms + _DAY_MS))
    if result.error is not None:
        return failure(result, result.error)
    facts: dict[str, list[dict[str, str]]] = {}
    for fact in result.payload.rows:
        if isinstance(fact, Fact) and metric in ("", fact.metric):
            told = facts.setdefault(fact.metric, [])
            if per_metric <= 0 or len(told) < per_metric:
                told.append({"type": fact.type, "help": fact.help, "unit": fact.unit})
    return answer(result, dict(list(facts.items())[: limit if limit >= 0 else None]))


def unescaped(name: str) -> str:
    """Return the label that stands in a path, where one with other characters than letters may be written `U__…`.

    >>> unescaped("U__service_2e_name"), unescaped("U__a__b"), unescaped("job"), unescaped("U__service_zz")
    ('service.name', 'a_b', 'job', 'U__service_zz')
    """
    escaped = name.removeprefix("U__")
    if escaped == name or "_" in _ESCAPED.sub("", escaped):
        return name
    found = [int(digits[:-1], 16) for digits in _ESCAPED.findall(escaped) if digits != "_"]
    if any(code > 0x10FFFF or 0xD800 <= code <= 0xDFFF for code in found):
        return name
    return _ESCAPED.sub(lambda found: "_" if found[1] == "_" else chr(int(found[1][:-1], 16)), escaped)


def _about(question: Question, label: str = "") -> Discovery:
    selectors = parameters.selectors()
    return Discovery(question, selectors, label) if selectors else Discovery(question, label=label)


def _series_of(metric: str) -> Selector:
    """Select a metric's series, whose names may have an ending that depends on its type."""
    return Selector((Matcher(NAME, MatchOp.RE, re2.escape(metric) + _ENDING),))


def _listed(asked: Discovery) -> Response:
    # Everything there is, unless told otherwise; clocks of clusters may run ahead of ours.
    span = parameters.span(0, pipeline().clock() + _DAY_MS)
    result = _ask(asked, span, parameters.limit_of())
    if result.error is not None:
        return failure(result, result.error)
    return answer(result, _shown(result.payload.rows))


def _ask(asked: Discovery, time_range: TimeRange, limit: int = 0) -> Result:
    asking = pipeline()
    query = parameters.query_of("series", to_text(asked), time_range, scope().tenant_id, asking.settings, limit)
    return asking.answer(query, scope())[1]


def _shown(rows: Sequence[Any]) -> list[Any]:
    return [row if isinstance(row, str) else dict(row) for row in rows]

"""`/api/v1/{metrics,traces,logs}`: the same job, waited for.

Rule: these never answer 202. At the query's deadline there is an answer or a problem.
"""

from __future__ import annotations

from typing import Any

from flask import Response

from federation_core.errors import InvalidRequest
from federation_core.signals.logs import language as logs
from federation_core.signals.traces import language as traces
from federation_core.times import parse_duration_ms
from webapp.answers import result_answer
from webapp.api.operations import Operations
from webapp.ask import pipeline
from webapp.auth import scope
from webapp.schemas.promql import promql_from
from webapp.schemas.queries import is_trace_id, query_from
from webapp.schemas.requests import LogSearch, MetricsBody, RangeParameters, TraceSearch
from webapp.schemas.signal_documents import LogsAnswer, MetricsAnswer, TraceAnswer, TracesAnswer

blueprint = Operations("signals", __name__, url_prefix="/api/v1", description="Metrics, traces and logs, at once")
_NOT_RUN = {422: "the query is not supported, asks for too much, or cannot be evaluated"}
_NS_PER_MS = 1_000_000


@blueprint.operation(
    "POST", "/metrics/query", body=MetricsBody, answers={200: ("values", MetricsAnswer)}, faults=_NOT_RUN, ledger=True
)
def query_metrics(body: dict[str, Any]) -> Response:
    """Ask for metrics

    In PromQL (`query`) or in fields (`metric`, …). Without a time it is evaluated now; with start, end or step it is
    a range.
    """
    return _answer(body, "metrics", promql_from(body))


@blueprint.operation(
    "GET",
    "/traces",
    parameters=TraceSearch,
    answers={200: ("traces, newest first", TracesAnswer)},
    faults=_NOT_RUN,
    ledger=True,
)
def search_traces(parameters: dict[str, Any]) -> Response:
    """Search traces

    A trace is found if one of its spans satisfies every condition.
    """
    return _answer(parameters, "traces", _traces_text(parameters))


@blueprint.operation(
    "GET",
    "/traces/<trace_id>",
    parameters=RangeParameters,
    answers={200: ("the trace", TraceAnswer)},
    faults={**_NOT_RUN, 404: "every cluster was asked and none has it"},
    ledger=True,
)
def read_trace(parameters: dict[str, Any], trace_id: str) -> Response:
    """Read one trace, put together from all clusters

    If a cluster is silent and no other has the trace, the answer is partial and empty: whether it exists is open.
    """
    if not is_trace_id(trace_id):
        raise InvalidRequest(
            f"{trace_id!r} is not a trace id", field="traceId", got=trace_id, expected="16 or 32 hexadecimal digits"
        )
    return _answer(parameters, "traces", trace_id)


@blueprint.operation(
    "POST",
    "/logs/search",
    body=LogSearch,
    answers={200: ("log lines in order", LogsAnswer)},
    faults=_NOT_RUN,
    ledger=True,
)
def search_logs(body: dict[str, Any]) -> Response:
    """Search logs

    In LogQL (`query`) or in fields; every field given must hold.
    """
    return _answer(body, "logs", _logs_text(body))


def _answer(fields: dict[str, Any], signal: str, text: str) -> Response:
    asking = pipeline()
    query = query_from(fields, signal, text, scope(), asking.settings, asking.clock())
    accepted, result = asking.answer(query, scope())
    return result_answer(result, accepted.plan, asking.clock() - accepted.created_ms)


def _traces_text(fields: dict[str, Any]) -> str:
    conditions = ("service", "operation", "minDuration", "maxDuration", "status", "tags")
    _require_one_form(fields, "q", conditions)
    if "q" in fields:
        if is_trace_id(fields["q"]):
            raise InvalidRequest(
                "q is a trace id", field="q", got=fields["q"], expected="TraceQL; a trace is at /api/v1/traces/{id}"
            )
        return str(fields["q"])
    bounds = {
        name: parse_duration_ms(fields[name], name) * _NS_PER_MS if name in fields else None
        for name in ("minDuration", "maxDuration")
    }
    return traces.build(
        service=fields.get("service", ""),
        operation=fields.get("operation", ""),
        min_duration_ns=bounds["minDuration"],
        max_duration_ns=bounds["maxDuration"],
        status=fields.get("status", ""),
        tags=fields.get("tags"),
    )


def _logs_text(fields: dict[str, Any]) -> str:
    conditions = ("labels", "text", "regex", "level", "traceId")
    _require_one_form(fields, "query", conditions)
    if "query" in fields:
        return str(fields["query"])
    return logs.build(
        fields.get("labels"),
        text=fields.get("text", ""),
        regex=fields.get("regex", ""),
        level=fields.get("level", ""),
        trace_id=fields.get("traceId", ""),
    )


def _require_one_form(fields: dict[str, Any], text_field: str, conditions: tuple[str, ...]) -> None:
    given = [name for name in conditions if name in fields]
    if text_field in fields and given:
        raise InvalidRequest(
            f"{text_field} and {given[0]} exclude each other",
            field=given[0],
            got=str(fields[given[0]]),
            expected=f"either {text_field}, or the structured conditions",
        )

"""The Prometheus façade: queries, and what tools ask about the server itself.

Rule: the answer is that of one Prometheus which holds every cluster's series; a cluster that is missing is named in
`warnings` and in `X-Federation-Coverage`, and below `/strict` makes the answer an error.
Source: Prometheus documentation, "HTTP API", "Management API".
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

from federation_core.errors import InvalidRequest
from federation_core.query import TimeRange
from federation_core.signals.metrics import KIND
from webapp.api.health import version
from webapp.ask import pipeline
from webapp.auth import public, scope
from webapp.facades import prometheus_parameters as parameters
from webapp.facades.prometheus_envelope import answer, failure, first_rows, success
from webapp.facades.prometheus_exemplars import exemplars_of
from webapp.facades.prometheus_features import features
from webapp.facades.prometheus_tree import tree_json

blueprint = Blueprint("prometheus", __name__)
_FORM = ["GET", "POST"]
#: What Prometheus tells of its own process, its storage and its scraping.
_OF_A_SERVER = (
    *("status/config", "status/flags", "status/runtimeinfo", "status/tsdb", "status/walreplay"),
    *("alertmanagers", "scrape_pools", "targets", "targets/metadata"),
)
#: The release whose API and language are spoken here, from which tools conclude what they may ask for.
SPOKEN = "3.0.0"


@blueprint.route("/api/v1/query", methods=_FORM)
def query() -> Response:
    """Evaluate at one instant, by default now."""
    at_ms = parameters.instant_ms("time", pipeline().clock())
    return _evaluated(TimeRange(at_ms, at_ms))


@blueprint.route("/api/v1/query_range", methods=_FORM)
def query_range() -> Response:
    """Evaluate at every step of a range."""
    return _evaluated(parameters.range_of())


def _evaluated(time_range: TimeRange) -> Response:
    asking, limit = pipeline(), parameters.limit_of()
    asked = parameters.query_of("metrics", _text(), time_range, scope().tenant_id, asking.settings)
    _, result = asking.answer(asked, scope())
    if result.error is not None:
        return failure(result, result.error)
    data, truncated = _cut(KIND.to_json(result.payload, asked), limit)
    return answer(result, data, truncated=truncated)


def _text() -> str:
    text = parameters.readable("query", parameters.text("query"))
    if not text.strip():
        raise InvalidRequest("1:1: parse error: no expression found in input", field="query")
    return text


def _cut(data: dict[str, Any], limit: int) -> tuple[dict[str, Any], bool]:
    if data["resultType"] not in ("vector", "matrix"):
        return data, False
    rows, truncated = first_rows(data["result"], limit)
    return {**data, "result": rows}, truncated


@blueprint.route("/api/v1/query_exemplars", methods=_FORM)
def query_exemplars() -> Response:
    """List the exemplars of the series that an expression selects."""
    return exemplars_of(_text())


@blueprint.route("/api/v1/format_query", methods=_FORM)
def format_query() -> Response:
    """Print an expression in its usual form."""
    return success(KIND.print(KIND.parse(_text())))


@blueprint.route("/api/v1/parse_query", methods=_FORM)
def parse_query() -> Response:
    """Show the syntax tree of an expression."""
    return success(tree_json(KIND.parse(_text())))


@blueprint.get("/api/v1/rules")
def rules() -> Response:
    """No rules are evaluated here."""
    return success({"groups": []})


@blueprint.get("/api/v1/alerts")
def alerts() -> Response:
    """No rules are evaluated here, so nothing fires."""
    return success({"alerts": []})


@blueprint.get("/api/v1/status/buildinfo")
def buildinfo() -> Response:
    """Tell whose API this is. Without `features`, which would make Grafana take us for Mimir with a ruler."""
    facts = {"version": SPOKEN, "revision": f"appsentry-federation {version()}"}
    return success(facts | dict.fromkeys(("branch", "buildUser", "buildDate", "goVersion"), ""))


@blueprint.get("/api/v1/features")
def list_features() -> Response:
    """Tell what can be done here."""
    return success(features())


def _of_a_server() -> Response:
    raise NotFound("this belongs to a single Prometheus server, and a federation is none: ask that of a cluster")


for _path in _OF_A_SERVER:
    blueprint.add_url_rule(f"/api/v1/{_path}", endpoint=_path.replace("/", "_"), view_func=_of_a_server)


@blueprint.get("/-/healthy")
@public
def healthy() -> Response:
    """Tell that the process answers."""
    return Response("AppSentry Federation is Healthy.\n", mimetype="text/plain")


@blueprint.get("/-/ready")
@public
def ready() -> Response:
    """Tell that queries can be taken: the store answers."""
    pipeline().dispatch.served()
    return Response("AppSentry Federation is Ready.\n", mimetype="text/plain")

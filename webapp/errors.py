"""The one table from error class to HTTP answer, and error answers as `application/problem+json`.

Rule: an error's class decides its status, here and nowhere else; its facts become members, in lowerCamelCase. A
bug shows an id that is in the log beside its traceback, and nothing of the inside. Below the path of a façade an error
has the shape of the system that is stood in for, unless the client accepts problems by name.
Source: RFC 9457, Problem Details for HTTP APIs; RFC 9110 for `Retry-After`, `Allow` and `WWW-Authenticate`;
Prometheus documentation, "HTTP API / Format overview", for the types of its errors.
"""

from __future__ import annotations

import json
import logging
import math
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, HTTPException, NotFound
from werkzeug.http import HTTP_STATUS_CODES

from federation_core import errors
from federation_core.errors import FederationError, InternalError, InvalidRequest, QuerySyntaxError
from webapp.request_log import trace_id

MEDIA_TYPE = "application/problem+json"
#: Where the page of a problem's type lies; the slug of the class follows.
TYPE_PREFIX = "/api/problems/"
#: What a retryable answer asks for where the error does not say it.
RETRY_AFTER_S = 1
#: A reader needs no more of a wrong value, and of many wrong fields, than this to recognise what is wrong.
_SHOWN_CHARS = 500
_SHOWN_FIELDS = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """How one class of errors is answered; `error_type` is Prometheus' word for it."""

    status: int
    title: str
    error_type: str
    #: The message is the operator's (an address, a file): it goes to the log and not to the caller.
    inside: bool = False


#: One row per class of `federation_core.errors`; a test requires it. A `ClusterError` normally ends as a verdict
#: inside an answer; its rows hold for the case that one is the whole outcome.
TABLE: Mapping[type[FederationError], Row] = {
    FederationError: Row(500, "The federation failed", "internal"),
    errors.QuerySyntaxError: Row(400, "The query does not parse", "bad_data"),
    errors.UnsupportedQuery: Row(422, "The query uses what is not supported", "execution"),
    errors.QueryTooLarge: Row(422, "The query asks for too much", "execution"),
    errors.QueryExecutionError: Row(422, "The query cannot be evaluated", "execution"),
    errors.InvalidRequest: Row(400, "The request is wrong", "bad_data"),
    errors.InvalidConfig: Row(500, "The configuration is wrong", "internal", inside=True),
    errors.Unauthenticated: Row(401, "No valid token", "bad_data"),
    errors.ScopeViolation: Row(403, "Outside the token's scope", "bad_data"),
    errors.QuotaExceeded: Row(429, "Too many requests", "unavailable"),
    errors.QueryNotFound: Row(404, "No such query", "not_found"),
    errors.TraceNotFound: Row(404, "No such trace", "not_found"),
    errors.IdempotencyConflict: Row(422, "The idempotency key was used for another request", "bad_data"),
    errors.StillAccepting: Row(
        409, "The first request with this idempotency key is still being accepted", "unavailable"
    ),
    errors.QueryExpired: Row(410, "The result has expired", "not_found"),
    errors.QueryTimeout: Row(503, "No answer in time", "timeout"),
    errors.QueryCanceled: Row(499, "The query was cancelled", "canceled"),
    errors.CoverageTooLow: Row(503, "Too few clusters answered", "unavailable"),
    errors.MergeConflict: Row(422, "Clusters disagree", "execution"),
    errors.StoreUnavailable: Row(503, "The job store does not answer", "unavailable", inside=True),
    errors.BrokerUnavailable: Row(503, "The task queue does not answer", "unavailable", inside=True),
    errors.WireVersionMismatch: Row(503, "Two releases do not understand each other", "unavailable"),
    errors.InternalError: Row(500, "Internal error", "internal"),
    errors.ClusterError: Row(502, "A cluster failed", "unavailable"),
    errors.Unreachable: Row(502, "A cluster cannot be reached", "unavailable"),
    errors.TimedOut: Row(504, "A cluster did not answer in time", "timeout"),
    errors.Rejected: Row(502, "A cluster refused", "unavailable"),
    errors.Malformed: Row(502, "A cluster's answer cannot be read", "unavailable"),
    errors.TooLarge: Row(502, "A cluster's answer is too large", "unavailable"),
    errors.BreakerOpen: Row(503, "A cluster's backend fails and is not asked", "unavailable"),
    errors.Unserved: Row(503, "No worker serves a cluster", "unavailable"),
}


class InvalidFields(BadRequest):
    """Several fields of one request are wrong; `errors` holds `{field, detail, got, expected}` for each."""

    def __init__(self, field_errors: Sequence[Mapping[str, Any]]) -> None:
        self.field_errors = [dict(error) for error in field_errors[:_SHOWN_FIELDS]]
        said = "; ".join(f"{error['field']}: {error['detail']}" for error in self.field_errors)
        many = len(field_errors) > _SHOWN_FIELDS
        super().__init__(f"{len(field_errors)} fields are wrong, the first are: {said}" if many else said)


def slug(cls: type[FederationError]) -> str:
    """Return the last part of a problem's type.

    >>> slug(errors.QueryTooLarge)
    'query-too-large'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()


@dataclass(frozen=True, slots=True)
class Told:
    """What may be told of an error: its row, the error itself (of a bug, one with an id) and the words."""

    row: Row
    error: FederationError
    detail: str


@dataclass(frozen=True, slots=True)
class Shape:
    """How the errors below a path look: the federation's own, and those of the framework."""

    federation: Callable[[FederationError], Response]
    http: Callable[[HTTPException], Response]


def told(error: FederationError) -> Told:
    """Say what a caller may know of an error; what is kept from it goes to the log."""
    row = TABLE[type(error)]
    if row.inside:
        _log.warning("%s: %s", type(error).__name__, error.message)
        return Told(row, error, f"{row.title}; the log has more under this trace id")
    return Told(row, _with_id(error) if row.status == 500 else error, _shown(error.message))


def problem(error: FederationError, **members: Any) -> Response:
    """Answer with an error of the federation; `members` are added as they are, such as `coverage`."""
    said = told(error)
    body = {
        "type": TYPE_PREFIX + slug(type(said.error)),
        "title": said.row.title,
        "status": said.row.status,
        "detail": said.detail,
        **({} if said.row.inside else _facts(said.error)),
        **members,
    }
    return advise(_respond(said.row.status, body), said.error, said.row.status)


def advise(response: Response, error: FederationError, status: int) -> Response:
    """Add the headers that say what to do about an error: try again, or bring a token."""
    if error.retryable and status in (409, 429, 503):
        response.headers["Retry-After"] = str(math.ceil(error.details.get("retry_after_s") or RETRY_AFTER_S))
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="appsentry"'
    return response


def install(app: Flask, shapes: Mapping[str, Shape] | None = None) -> None:
    """Make every error of the application answer as a problem, or below the path of a shape in that one."""
    usual = Shape(problem, _http_problem)

    def shape() -> Shape:
        if MEDIA_TYPE in request.headers.get("Accept", ""):
            return usual
        below = f"{request.path}/"
        return next((found for path, found in (shapes or {}).items() if below.startswith(path)), usual)

    def federation(error: FederationError) -> Response:
        return shape().federation(error)

    def http(error: HTTPException) -> Any:
        if (error.code or 500) < 400:
            return error.get_response()
        response = shape().http(error)
        for name, value in error.get_headers(request.environ):
            if name.lower() in ("allow", "retry-after", "www-authenticate"):
                response.headers[name] = value
        return response

    def bug(error: Exception) -> Response:
        internal = InternalError("a bug; the log has it under this id")
        internal.__cause__ = error
        return shape().federation(internal)

    app.register_error_handler(FederationError, federation)
    app.register_error_handler(HTTPException, http)
    app.register_error_handler(Exception, bug)


def _http_problem(error: HTTPException) -> Response:
    status = error.code or 500
    body = {
        "type": "about:blank",
        "title": HTTP_STATUS_CODES.get(status, "Error"),
        "status": status,
        "detail": explained(error),
    }
    if isinstance(error, InvalidFields):
        body |= {"type": TYPE_PREFIX + slug(InvalidRequest), "title": TABLE[InvalidRequest].title}
        body["errors"] = [{key: _shown(value) for key, value in e.items()} for e in error.field_errors]
    return _respond(status, body)


def explained(error: HTTPException) -> str:
    """Say what the framework refuses, and what would be right."""
    return str(_shown(_explained(error, error.code or 500)))


def _explained(error: HTTPException, status: int) -> str:
    if status == 404 and error.description == NotFound.description:
        return f"there is no {request.path}; /api/openapi.json lists what there is"
    if status == 405:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        return f"{request.path} takes {allowed}, not {request.method}"
    if status == 413:
        return f"the body is larger than {request.max_content_length} bytes"
    return error.description or ""


def _with_id(error: FederationError) -> FederationError:
    """Give the error an id and log it there: with the traceback of what caused it, if it is ours to have."""
    if error.details.get("error_id"):
        return error
    error_id = secrets.token_hex(8)
    cause = error.__cause__ or error
    _log.error("%s: %s", type(cause).__name__, cause, exc_info=cause, extra={"error_id": error_id})
    return InternalError(error.message, error_id=error_id)


def _facts(error: FederationError) -> dict[str, Any]:
    """Turn the details into members; `field` and the place of a syntax error become `errors[]`."""
    details = {_camel(name): _shown(value) for name, value in error.details.items()}
    if isinstance(error, InvalidRequest):
        return {"errors": [{**details, "detail": _shown(error.message)}]}
    if isinstance(error, QuerySyntaxError):
        return {"errors": [{"field": "query", "detail": _shown(error.message), **details}]}
    if "cluster" in details:
        details["clusters"] = [details.pop("cluster")]
    return details


def _respond(status: int, body: dict[str, Any]) -> Response:
    body |= {"instance": request.path, "trace_id": trace_id()}
    response = Response(json.dumps(body, default=str), status=status, mimetype=MEDIA_TYPE)
    # RFC 9457 answers are about this request; nothing between us and the client may keep one.
    response.headers["Cache-Control"] = "no-store"
    return response


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _shown(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _SHOWN_CHARS:
        return f"{value[:_SHOWN_CHARS]}… ({len(value)} characters)"
    return value

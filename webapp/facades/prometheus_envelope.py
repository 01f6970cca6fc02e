"""The envelope of Prometheus' HTTP API: success, warnings apart from infos, and errors with their type.

Rule: `warnings` say what an answer lacks, `infos` what may surprise in one that lacks nothing; both are left out where
they are empty. What a query rests on is in the headers too, because promtool drops the warnings.
Source: Prometheus documentation, "HTTP API / Format overview".
"""

from __future__ import annotations

from typing import Any

from flask import Response
from werkzeug.exceptions import HTTPException

from federation_core.errors import FederationError, InvalidRequest, QuerySyntaxError
from federation_core.outcome import Result
from federation_core.signals.metrics.session import INFO
from webapp.answers import json_answer, with_ledger
from webapp.errors import Shape, advise, explained, told

#: As Prometheus says that `limit` took something away.
TRUNCATED = "results truncated due to limit"
_MORE_INFOS = "more info annotations omitted"


def success(data: Any) -> Response:
    """Answer what belongs to no query."""
    return json_answer({"status": "success", "data": data})


def answer(result: Result, data: Any, *, truncated: bool = False) -> Response:
    """Answer a query that did not fail; `truncated` says that `data` is not all of it."""
    infos = [text for text in result.warnings if text.startswith(INFO) or text.endswith(_MORE_INFOS)]
    warnings = [text for text in result.warnings if text not in infos]
    if truncated and TRUNCATED not in warnings:
        warnings.append(TRUNCATED)
    body: dict[str, Any] = {"status": "success", "data": data}
    body |= {name: texts for name, texts in (("warnings", warnings), ("infos", infos)) if texts}
    return with_ledger(json_answer(body), result.query_id, result.coverage)


def failure(result: Result, error: FederationError) -> Response:
    """Answer a query that failed, with its ledger."""
    return with_ledger(federation_error(error), result.query_id, result.coverage)


def federation_error(error: FederationError) -> Response:
    """Answer an error of the federation."""
    said = told(error)
    status, kind = said.row.status, said.row.error_type
    return advise(_error(status, kind, _worded(said.error, said.detail)), said.error, status)


def http_error(error: HTTPException) -> Response:
    """Answer what the framework refuses: an unknown path, another method, a body that is too large."""
    status = error.code or 500
    kind = "not_found" if status == 404 else "bad_data" if status < 500 else "internal"
    return _error(status, kind, explained(error))


SHAPE = Shape(federation_error, http_error)


def first_rows(rows: list[Any], limit: int) -> tuple[list[Any], bool]:
    """Return the first `limit` rows, 0 meaning all, and whether there are more."""
    kept = rows[: limit or None]
    return kept, len(kept) < len(rows)


def _error(status: int, kind: str, text: str) -> Response:
    response = json_answer({"status": "error", "errorType": kind, "error": text}, status)
    response.headers["Cache-Control"] = "no-store"
    return response


def _worded(error: FederationError, detail: str) -> str:
    """Say it as Prometheus does, the parameter first."""
    match error:
        case QuerySyntaxError(line=line, column=column) if line:
            rest = detail.removeprefix(f"line {line}, column {column}: ").removeprefix(f"{line}:{column}: ")
            return f'invalid parameter "query": {line}:{column}: parse error: {rest}'
        case QuerySyntaxError():
            return f'invalid parameter "query": parse error: {detail}'
        case InvalidRequest(field=field, expected=expected) if field:
            said = detail.removeprefix(f"{field}: ")
            return f'invalid parameter "{field}": {said}' + (f"; expected {expected}" if expected else "")
    return detail

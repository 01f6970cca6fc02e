"""The pages for a reader's browser, and the OpenAPI document they are drawn from.

Rule: everything is served from here; no page loads anything from elsewhere, and the policy in its header makes
sure of it. Pages hold no tenant's data: what they show of it they ask the API for, with the reader's token.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from webapp.auth import public
from webapp.errors import TABLE, TYPE_PREFIX, Row, slug

_FOLDER = Path(__file__).parent
_ASSETS = {"pages.css": "text/css", "index.js": "text/javascript", "docs.js": "text/javascript"}
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"


def pages(document: Callable[[], dict[str, Any]]) -> Blueprint:
    """Return the routes of the pages; `document` gives the OpenAPI document."""
    blueprint = Blueprint("pages", __name__)

    @blueprint.get("/")
    @public
    def index() -> Response:
        return _file("index.html", "text/html")

    @blueprint.get("/api/docs")
    @public
    def docs() -> Response:
        return _file("docs.html", "text/html")

    @blueprint.get("/pages/<name>")
    @public
    def asset(name: str) -> Response:
        if name not in _ASSETS:
            raise NotFound
        return _file(name, _ASSETS[name])

    @blueprint.get("/api/openapi.json")
    @public
    def openapi() -> Response:
        response = Response(json.dumps(document(), ensure_ascii=False), mimetype="application/json")
        response.headers["Cache-Control"] = "no-cache"
        response.add_etag()
        response.make_conditional(request.environ)
        return response

    @blueprint.get("/api/problems")
    @public
    def problems() -> Response:
        return _json([_explained(cls, row) for cls, row in TABLE.items()])

    @blueprint.get("/api/problems/<name>")
    @public
    def problem_type(name: str) -> Response:
        for cls, row in TABLE.items():
            if slug(cls) == name:
                return _json(_explained(cls, row))
        raise NotFound

    return blueprint


def _file(name: str, media_type: str) -> Response:
    response = Response((_FOLDER / name).read_bytes(), mimetype=media_type)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    response.make_conditional(request.environ)
    return response


def _explained(cls: Any, row: Row) -> dict[str, Any]:
    """Say what a problem's type means: what a client reads that follows `type`."""
    return {
        "type": TYPE_PREFIX + slug(cls),
        "class": cls.__name__,
        "title": row.title,
        "status": row.status,
        "retryable": cls.retryable,
        "members": list(cls.detail_names),
    }


def _json(body: Any) -> Response:
    return Response(json.dumps(body), mimetype="application/json")

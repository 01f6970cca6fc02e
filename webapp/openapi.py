"""Every route of the application, and the OpenAPI 3.1 document that is made from them."""

from __future__ import annotations

from functools import cache
from typing import Any

import flask_smorest
from flask import Flask

from webapp.api import catalog, health, queries, signals
from webapp.pages import pages

_DESCRIPTION = (
    "One place to ask about many clusters. Every answer has its coverage: a verdict for each cluster, and the header"
    " `X-Federation-Coverage`. Errors are `application/problem+json`."
)


class _Api(flask_smorest.Api):  # type: ignore[misc]
    """flask-smorest without its own errors and pages: ours are in `webapp.errors` and `webapp.pages`."""

    DEFAULT_ERROR_RESPONSE_NAME = None

    def _register_error_handlers(self) -> None:
        pass


def register(app: Flask) -> None:
    """Register every route."""
    app.config.update(API_TITLE="AppSentry Federation", API_VERSION=health.version(), OPENAPI_VERSION="3.1.0")
    api = _Api(app, spec_kwargs={"info": {"description": _DESCRIPTION}})
    api.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    for module in (queries, signals, catalog, health):
        api.register_blueprint(module.blueprint)

    @cache
    def document() -> dict[str, Any]:
        found: dict[str, Any] = api.spec.to_dict()
        return found

    app.register_blueprint(pages(document))

"""The web tier: HTTP in, JSON out. `create_app` is what gunicorn starts (`webapp:create_app()`).

Rule: no query logic and no route to a cluster live here. Importing opens nothing; the environment and files are
read by the factory, and only if it is not handed settings.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask

    from federation_core.config import Settings
    from workers.dispatch import Dispatch

#: Larger than any query we would run, and small enough to be read at once.
MAX_BODY_BYTES = 256 * 1024
#: How many may listen to events of one process. Each keeps a thread; more would leave none for queries.
MAX_LISTENERS = 200


def create_app(
    settings: Settings | None = None,
    dispatch: Dispatch | None = None,
    clock: Callable[[], int] | None = None,
) -> Flask:
    """Build the application.

    Without `settings` they are read from the environment and the configuration folder, and logging is configured.

    Raises InvalidConfig: the configuration is wrong, or authentication is on and has no key.
    """
    # Imported here, so that the command line can import `webapp.cli` without paying for Flask.
    from flask import Flask

    from federation_core.connectors.files import load
    from federation_core.connectors.stores.shared_clock import SharedClock
    from federation_core.structured_logging import configure
    from webapp import ask, auth, errors, facades
    from webapp.openapi import register
    from webapp.request_log import RequestLog
    from workers.dispatch import Dispatch

    if settings is None:
        settings = load(os.environ)
        configure("web", settings.log_level)
    clock = clock or SharedClock(settings.redis_url)
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    auth.install(app, settings)
    errors.install(app, facades.SHAPES)
    with app.app_context():
        ask.install(ask.Pipeline(settings, dispatch or Dispatch(settings, clock), clock))
    register(app)
    facades.register(app)
    app.after_request(_harden)
    app.wsgi_app = RequestLog(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _harden(response: Any) -> Any:
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response

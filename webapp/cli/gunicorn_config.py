"""How gunicorn serves the API; `-c python:webapp.cli.gunicorn_config`. The address comes from the command line.

Rule: one process with many threads, because a thread that waits for an answer costs next to nothing while a
process costs the whole application. More throughput is more web roles.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import webapp

wsgi_app = "webapp:create_app()"
worker_class = "gthread"
workers = 1
# Measured: with 8 threads a fast call waits for seconds behind long polls; with 64 it does not wait.
# A listener to events keeps a thread for as long as it listens; threads are made when they are needed.
threads = 64 + webapp.MAX_LISTENERS
worker_connections = 2 * threads
keepalive = 75
# The most that gunicorn reads of a URL without reading for ever: it comes before any token. Longer ones are 414.
limit_request_line = 8190
#: How long running requests may finish after SIGTERM, in seconds.
graceful_timeout = 2
# The control socket would lie in the home directory, one for all servers of the user.
control_socket_disable = True
chdir = str(Path(webapp.__file__).parents[1])
logconfig_dict: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": os.environ.get("LOG_LEVEL", "INFO").upper(), "handlers": ["stderr"]},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "formatters": {"json": {"()": "federation_core.structured_logging.JsonFormatter", "role": "web"}},
    # Who asked what is in the API's own log lines, with the query's id; an access log would say it twice.
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True},
        "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
    },
}

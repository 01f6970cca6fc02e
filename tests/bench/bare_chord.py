"""The yardstick of the job's overhead: a chord of the same shape whose tasks do nothing.

`python -m tests.bench.bare_chord ROLE …` is the worker as in production, which also knows these two tasks: a header
that returns its cluster's name and a callback that wakes the waiter with one push.
"""

from __future__ import annotations

import sys
from typing import Any

from celery import Celery, chord, group

from federation_core.connectors.stores.redis import connect
from workers import __main__ as roles_main
from workers.app import MERGE_QUEUE

HEADER, CALLBACK = "bench.header", "bench.callback"
_make_celery = roles_main.make_celery


def make_celery(*args: Any, **kwargs: Any) -> Celery:
    """Make the application of a role, with the bare tasks."""
    app = _make_celery(*args, **kwargs)
    client = connect(app.conf.broker_url)

    @app.task(name=HEADER)
    def header(cluster: str) -> str:
        return cluster

    @app.task(name=CALLBACK)
    def callback(answered: list[str], wake: str) -> None:
        client.rpush(wake, "1")

    return app


def send(app: Celery, clusters: tuple[str, ...], wake: str) -> None:
    """Send the bare chord; `wake` is the list that its callback pushes to."""
    header = group(
        [app.signature(HEADER, (name,), app=app, queue=f"cluster.{name}") for name in clusters],
        app=app,
    )
    chord(header, app=app)(app.signature(CALLBACK, (wake,), app=app, queue=MERGE_QUEUE))


if __name__ == "__main__":
    roles_main.make_celery = make_celery
    sys.exit(roles_main.main())

"""How soon a worker whose broker was away looks for it again: within two seconds, however long it was away.

Rule: kombu waits two seconds longer at each attempt, up to thirty, so a worker could be away for half a minute after
Redis is back. Redis is asked by a handful of workers and is none the worse for an attempt every two seconds.
"""

from __future__ import annotations

from typing import Any

from celery.app.amqp import AMQP as CeleryAMQP
from kombu.connection import Connection as KombuConnection


class Connection(KombuConnection):
    """A connection that is opened again soon."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Open the connection, trying until it is; what the caller says of intervals wins."""
        soon = {"interval_start": 0.2, "interval_step": 0.3, "interval_max": 2.0}
        return super().ensure_connection(*args, **{**soon, **kwargs})  # type: ignore[no-untyped-call]


class AMQP(CeleryAMQP):  # type: ignore[misc]
    """Celery's messages over such connections."""

    Connection = Connection

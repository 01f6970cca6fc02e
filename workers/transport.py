"""Kombu's Redis transport for queues that anybody with access may have written nonsense into.

Rule: a message that cannot be read costs itself and a line in the log. With the stock transport it ends the worker,
because a message is taken from its list before it is parsed; a worker that is restarted is then ended by the next one.
Overrides `Channel._brpop_read` and `Transport._deliver` (kombu 5.7), where a message is parsed and where it is handed
on. What is wrong with the connection still raises, since that is how a worker learns that it has to reconnect.
"""

from __future__ import annotations

import logging
from queue import Empty
from typing import Any

from kombu.transport import redis

_log = logging.getLogger(__name__)


class Channel(redis.Channel):
    """A channel that throws away what is not JSON."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (ValueError, RecursionError) as exc:
            _log.error("a message that cannot be parsed was thrown away", extra={"error": repr(exc)[:200]})
            raise Empty from exc


class Transport(redis.Transport):
    """A transport that throws away what is JSON and no message of a task."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]
        except Exception as exc:
            # The transport counts KeyError among what is wrong with a connection; here a message lacks something.
            if isinstance(exc, (*self.connection_errors, *self.channel_errors)) and not isinstance(exc, KeyError):
                raise
            _log.error("a malformed message was thrown away", extra={"queue": queue, "error": repr(exc)[:200]})
            self._forget(message)

    def _forget(self, message: Any) -> None:
        """Drop a message that may already be noted as unacknowledged, from where it would be delivered again."""
        try:
            tag = message["properties"]["delivery_tag"]
            for channel in self.channels:
                if tag in channel.qos._delivered:
                    channel.basic_reject(tag, requeue=False)
        except (TypeError, KeyError, AttributeError):
            return

"""Kombu's Redis transport for queues that anybody with access may have written nonsense into, and of unequal speed.

Rule: a queue whose tasks take long holds up no other: a worker has only so many of each at a time. A message that
cannot be read costs itself and a line in the log. With the stock transport it ends the worker, because a message is
taken from its list before it is parsed; a worker that is restarted is then ended by the next one.
Overrides `Channel._brpop_start`, `Channel._brpop_read` and `Transport._deliver` (kombu 5.7), where the queues to listen
to are named, where a message is parsed and where it is handed on. What is wrong with the connection still raises,
since that is how a worker learns that it has to reconnect. A task that ends after that acknowledges over a channel that
is closed, which is such an error too (`Channel._connparams`); with the stock transport it ends the worker.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from queue import Empty
from types import MappingProxyType
from typing import Any

from kombu.transport import redis

_log = logging.getLogger(__name__)


#: How soon a queue that was full is listened to again.
_AGAIN_S = 0.005
#: Listened to where every queue is full; nobody sends to it.
_NO_QUEUE = "none"


class QoS(redis.QoS):
    """The unacknowledged messages of a channel; they rest in Redis too, where a later look finds them."""

    def restore_unacked(self, client: Any = None) -> Any:
        """Put the messages back into their queues, if there still is a connection to do so."""
        try:
            return super().restore_unacked(client=client)  # type: ignore[no-untyped-call]
        except (*redis.Transport.connection_errors, *redis.Transport.channel_errors) as exc:
            # Raised from here it would keep the channel from being closed.
            _log.warning("messages stay unacknowledged: the connection is lost", extra={"error": repr(exc)[:200]})
            self._delivered.clear()
            return []


class Channel(redis.Channel):
    """A channel that throws away what is not JSON, and takes no more of a queue than `most_per_queue` says.

    What is taken is what is not acknowledged, so that tasks have to be acknowledged late. A queue without a number is
    bounded by the worker alone.
    """

    QoS = QoS
    from_transport_options = (*redis.Channel.from_transport_options, "most_per_queue")  # type: ignore[assignment]
    most_per_queue: Mapping[str, int] = MappingProxyType({})

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection is None or self.connection.client is None:
            raise ConnectionResetError("the channel's connection is closed")
        return super()._connparams(asynchronous=asynchronous)  # type: ignore[no-untyped-call]

    def _brpop_start(self, timeout: float | None = None) -> Any:
        cycle = self._queue_cycle
        every, full = list(cycle.items), self._full()
        if full:
            cycle.update([queue for queue in every if queue not in full] or [_NO_QUEUE])
            timeout = _AGAIN_S
        try:
            return super()._brpop_start(timeout)  # type: ignore[no-untyped-call]
        finally:
            cycle.update(every)

    def _full(self) -> set[str]:
        if not self.most_per_queue:
            return set()
        # Acknowledged by other threads at any time; what is noted as such is forgotten a little later.
        done = set(self.qos._dirty)
        taken = Counter(
            (message.delivery_info or {}).get("routing_key")
            for tag, message in list(self.qos._delivered.items())
            if tag not in done
        )
        return {queue for queue, most in self.most_per_queue.items() if taken[queue] >= most}

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

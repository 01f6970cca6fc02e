"""Kombu's Redis transport for queues that anybody with access may have written nonsense into, some of them far away.

Rule: a message that cannot be read costs itself and a line in the log. With the stock transport it ends the worker,
because a message is taken from its list before it is parsed; a worker that is restarted is then ended by the next one.
What is wrong with the connection still raises, since that is how a worker learns that it has to reconnect; a task that
ends after that acknowledges over a channel that is closed, which with the stock transport ends the worker too.

The queues in the transport option `fetchers` are not read by the channel: `workers.fetching` brings their messages, and
taking, keeping and acknowledging them never waits for Redis. The private names used here are listed in
`workers.backend`.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from queue import Empty
from typing import Any

from kombu.transport import redis, virtual

from federation_core.connectors.stores.redis import SHORT_HANDSHAKE
from federation_core.errors import StoreUnavailable
from workers.fetchers import Fetchers
from workers.fetching import Fetcher

_log = logging.getLogger(__name__)


class QoS(redis.QoS):
    """The unacknowledged messages of a channel: fetched ones rest in their lease, others where kombu keeps them."""

    channel: Channel

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note that a message is delivered."""
        if self.channel.fetchers.holding(delivery_tag) is None:
            super().append(message, delivery_tag)  # type: ignore[no-untyped-call]
        else:
            virtual.QoS.append(self, message, delivery_tag)  # type: ignore[no-untyped-call]

    def ack(self, delivery_tag: str) -> None:
        """Note that a message is dealt with."""
        self._end(delivery_tag, requeue=False)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give a message back to its queue, or drop it."""
        self._end(delivery_tag, requeue=requeue)

    def restore_unacked(self, client: Any = None) -> Any:
        """Put the messages back into their queues, if there still is a connection to do so.

        Fetched ones stay leased: whoever has taken them may still be at work, and the process gives back the rest.
        """
        for tag in [tag for tag in self._delivered if self.channel.fetchers.holding(tag) is not None]:
            del self._delivered[tag]
        try:
            return super().restore_unacked(client=client)  # type: ignore[no-untyped-call]
        except (*redis.Transport.connection_errors, *redis.Transport.channel_errors) as exc:
            # Raised from here it would keep the channel from being closed.
            _log.warning("messages stay unacknowledged: the connection is lost", extra={"error": repr(exc)[:200]})
            self._delivered.clear()
            return []

    def _end(self, tag: str, *, requeue: bool) -> None:
        fetcher = self.channel.fetchers.holding(tag)
        if fetcher is None:
            if requeue:
                super().reject(tag, requeue=True)  # type: ignore[no-untyped-call]
            else:
                super().ack(tag)  # type: ignore[no-untyped-call]
            return
        if requeue:
            # A Redis that does not answer is no reason to end the worker: the message comes again with a look.
            with suppress(StoreUnavailable):
                fetcher.put_back(tag)
        else:
            fetcher.done(tag)
        virtual.QoS.ack(self, tag)  # type: ignore[no-untyped-call]


class Channel(redis.Channel):
    """A channel that throws away what is not JSON, and leaves some queues to their fetchers."""

    QoS = QoS
    from_transport_options = (*redis.Channel.from_transport_options, "fetchers")  # type: ignore[assignment]
    fetchers = Fetchers()
    _one_client: Any = None

    @property
    def active_queues(self) -> set[str]:
        """The queues that the channel itself reads."""
        return {queue for queue in super().active_queues if self._fetcher(queue) is None}

    def basic_consume(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        """Begin to deliver what is in a queue."""
        consuming = super().basic_consume(queue, *args, **kwargs)  # type: ignore[no-untyped-call]
        if (fetcher := self._fetcher(queue)) is not None:
            self.connection.deliver_fetched(fetcher)
            self.fetchers.keep_looking()
        return consuming

    def basic_cancel(self, consumer_tag: str) -> Any:
        """Deliver no more of what is in a queue."""
        self._stop_fetching(self._tag_to_queue.get(consumer_tag, ""))
        return super().basic_cancel(consumer_tag)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close the channel."""
        for queue in list(self._active_queues):
            self._stop_fetching(queue)
        super().close()  # type: ignore[no-untyped-call]

    def maybe_refresh_binding_expiry(self) -> None:
        """Keep the tables of bindings in Redis alive, except from far away.

        It is called on the event loop, which would wait a round trip, and half a minute where the link hangs; near
        Redis merge workers do it, and what is sent to a fetched queue is sent without a table.
        """
        if not self.fetchers.owner:
            super().maybe_refresh_binding_expiry()  # type: ignore[no-untyped-call]

    def _fetcher(self, queue: str) -> Fetcher | None:
        # Only an event loop can be woken when something has been fetched; without one the channel reads as usual.
        return self.fetchers.of_queue(queue) if self.connection is not None and self.connection.loop else None

    def _stop_fetching(self, queue: str) -> None:
        if (fetcher := self._fetcher(queue)) is not None:
            fetcher.stop()

    def _create_client(self, asynchronous: bool = False) -> Any:
        # The stock channel makes a client for each of three steps per message, which takes longer than what it is for.
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
        if self._one_client is None or self._one_client.connection_pool is not self.pool:
            self._one_client = super()._create_client()  # type: ignore[no-untyped-call]
        return self._one_client

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection is None or self.connection.client is None:
            raise ConnectionResetError("the channel's connection is closed")
        return {**super()._connparams(asynchronous=asynchronous), **SHORT_HANDSHAKE}  # type: ignore[no-untyped-call]

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (ValueError, RecursionError) as exc:
            _log.error("a message that cannot be parsed was thrown away", extra={"error": repr(exc)[:200]})
            raise Empty from exc


class Transport(redis.Transport):
    """A transport that throws away what is JSON and no message of a task."""

    Channel = Channel
    #: The event loop that messages are delivered on, once there is one.
    loop: Any = None
    #: Whether what handles messages may be called by any thread; otherwise the loop is woken for each.
    from_any_thread = False

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Have the loop read the connection, and deliver what is fetched beside it."""
        self.loop = loop
        super().register_with_event_loop(connection, loop)  # type: ignore[no-untyped-call]

    def deliver_fetched(self, fetcher: Fetcher) -> None:
        """Start a fetcher and deliver what it brings, on the event loop or in the thread that has fetched it."""

        def deliver() -> None:
            while (message := fetcher.take()) is not None:
                self._deliver(message, fetcher.queue)

        fetcher.start(deliver if self.from_any_thread else lambda: self.loop.call_soon(deliver))

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
                if tag in channel.qos._delivered or channel.fetchers.holding(tag) is not None:
                    channel.basic_reject(tag, requeue=False)
        except (TypeError, KeyError, AttributeError):
            return

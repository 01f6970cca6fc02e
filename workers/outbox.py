"""A canvas published into a list instead of to the broker, so that it can be sent in a transaction of the job's store.

Rule: what is captured is what kombu's Redis transport would push, and nothing here talks to Redis. Messages pass
through the same producer and the same preparation as always; only the channel is another: one of kombu's virtual
channels, which puts a message into the list of the block that is open.

Each thread keeps a producer and a channel of its own, since making them costs more than a message.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import local
from typing import Any

from celery import Celery
from celery.canvas import Signature
from kombu.connection import Connection
from kombu.messaging import Producer
from kombu.transport import virtual
from kombu.utils.json import dumps

from federation_core.connectors.stores.jobs_sending import Message


class Outbox:
    """What one block has published."""

    def __init__(self) -> None:
        #: The messages, in the order they were published.
        self.messages: list[Message] = []
        #: What is to be sent when every header task of the block's chord is done.
        self.callback: Message | None = None


class OutboxCelery(Celery):  # type: ignore[misc]
    """Celery that publishes into an outbox while one is open in the thread, and as always otherwise."""

    amqp_cls = "workers.reconnecting:AMQP"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._of_thread = _OfThread()

    @contextmanager
    def outbox(self) -> Iterator[Outbox]:
        """Capture what this thread publishes inside the block; nothing is sent, then or later."""
        channel = self._of_thread.channel
        before, channel.outbox = channel.outbox, Outbox()
        try:
            yield channel.outbox
        finally:
            channel.outbox = before

    @property
    def open_outbox(self) -> Outbox | None:
        """The outbox of the block that this thread is in."""
        found: Outbox | None = self._of_thread.channel.outbox
        return found

    def producer_or_acquire(self, producer: Any = None) -> AbstractContextManager[Any]:
        """Return the given producer, else that of the open outbox, else one of the pool, as a context."""
        if self.open_outbox is not None:
            return nullcontext(producer or self._of_thread.producer)
        acquired: AbstractContextManager[Any] = super().producer_or_acquire(producer)
        return acquired


class SentOnce(Signature):  # type: ignore[misc]
    """A signature that is sent once and then forgotten.

    Celery copies a signature, and all it holds, four times on its way, for those who send theirs again.
    """

    def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Return the signature itself where nothing is to be changed in the copy."""
        return super().clone(args, kwargs, **options) if args or kwargs or options else self

    def __deepcopy__(self, memo: Any) -> SentOnce:
        return self


class _Channel(virtual.Channel):
    """A channel without a broker: a message for a queue goes into the open outbox."""

    outbox: Outbox | None = None
    do_restore = False

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        if self.outbox is None:
            raise RuntimeError("no outbox is open")
        self.outbox.messages.append((queue, dumps(message)))  # type: ignore[no-untyped-call]


class _Transport(virtual.Transport):
    Channel = _Channel


class _Producer(Producer):
    """A producer of task messages that need no declarations, as they name their queue, and cannot fail on the way."""

    def publish(self, body: Any, *, declare: Any = None, retry: Any = None, **how: Any) -> Any:  # type: ignore[override]
        """Publish a task, without the callback that Celery puts into every header task's message.

        The worker's result backend would need it to send the callback; ours does not send it.
        """
        args, kwargs, embedded = body
        embedded = {**embedded, "chord": None}
        return super().publish((args, kwargs, embedded), **how)  # type: ignore[no-untyped-call]


class _OfThread(local):
    """A producer and its channel, made for each thread."""

    def __init__(self) -> None:
        self.channel: Any = Connection(transport=_Transport).channel()  # type: ignore[no-untyped-call]
        self.producer = _Producer(self.channel, auto_declare=False)  # type: ignore[no-untyped-call]

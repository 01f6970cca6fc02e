"""Celery's result backend of this project: it gives away the callback of a chord, and stores nothing.

Rule: a chord is called as always, `chord(group(header))(callback)`, inside `app.outbox()`. The callback's message is
prepared at once and lies in Redis; the script that stores the last part sends it (`stores/jobs_scripts.PUT_PART`). So
joining costs a header task no round trip, nothing is lost when a worker dies between its part and the count of it, and
nobody subscribes to anything. Answers rest under our own keys: the callback is given no results.

Beside what Celery, kombu and redis-py document, this project relies on the names below. They were read in the versions
of `CHECKED_ON`; a test fails with others, and says what has to be read again.
"""

from __future__ import annotations

from typing import Any

from celery import states
from celery.backends.base import BaseBackend

from workers.outbox import OutboxCelery

CHECKED_ON = {"celery": "5.7.0", "kombu": "5.7.0", "redis": "8.1.0"}

#: Where we rely on a name → the undocumented names, and what is relied on.
RELIED_ON = {
    "workers/backend.py": {
        "celery.canvas:_chord.run": "calls Backend.apply_chord with the frozen callback, before a header task is sent",
        "celery.canvas:group._apply_tasks": "calls Backend.set_chord_size before the last header task is sent",
        "celery.backends.base:Backend.mark_as_done": "calls on_chord_part_return only for a message that names a chord",
        "celery.backends.base:SyncBackendMixin.add_pending_result": "remembers nothing and subscribes to nothing",
    },
    "workers/outbox.py": {
        "celery.app.base:Celery.producer_or_acquire": "is asked for the producer of every task, with None for any",
        "celery.canvas:Signature.clone": "is how a canvas copies a task, always before it changes the copy",
        "celery.app.amqp:AMQP.as_task_v2": "makes the body (args, kwargs, embedded), the callback under `chord` in it",
        "celery.app.amqp:AMQP._create_task_sender": "sends to a direct queue by its name, without an exchange",
        "kombu.transport.virtual.base:Channel.basic_publish": "hands a message without an exchange to _put",
        "kombu.transport.redis:Channel._put": "pushes dumps(message), and lets the queue expire anew",
    },
    "workers/reconnecting.py": {
        "celery.app.base:Celery.amqp_cls": "names the class whose `Connection` every connection of the app is",
        "celery.worker.consumer.consumer:Consumer.ensure_connected": "calls ensure_connection without intervals",
    },
    "workers/transport.py": {
        "kombu.transport.redis:QoS.append": "writes a delivered message to Redis and waits; so do ack and reject",
        "kombu.transport.redis:QoS.restore_unacked": "is called when a channel closes, with what is in `_delivered`",
        "kombu.transport.virtual.base:QoS.append": "only notes a message in `_delivered`",
        "kombu.transport.virtual.base:QoS.ack": "only notes a tag, for `append` to forget",
        "kombu.transport.redis:Channel.active_queues": "names the queues that the poller asks for with BRPOP",
        "kombu.transport.redis:Channel.maybe_refresh_binding_expiry": "waits for Redis on the event loop, every minute",
        "kombu.transport.redis:Channel._brpop_read": "parses a message after it has left its list",
        "kombu.transport.redis:Channel._create_client": "makes a client of the channel's pool, for one step",
        "kombu.transport.redis:Channel._connparams": "is read for each new client, from `self.connection.client`",
        "kombu.transport.virtual.base:Channel.basic_consume": "notes a queue in `_active_queues` and `_tag_to_queue`",
        "kombu.transport.virtual.base:Transport._deliver": "hands a parsed message to whoever consumes its queue",
        "kombu.transport.redis:Transport.register_with_event_loop": "is told the loop before anything is consumed",
        "kombu.asynchronous.hub:Hub.call_soon": "may be called by any thread, and wakes the loop",
        "kombu.asynchronous.hub:Hub.close": "still runs what was to be called soon, acknowledgements among it",
    },
    "workers/strategy.py": {
        "celery.app.task:Task.start_strategy": "calls Task.Strategy, whether a name or the strategy itself",
        "celery.worker.consumer.consumer:Consumer.create_task_handler": "calls a strategy's handler on the event loop",
        "kombu.transport.virtual.base:QoS.ack": "may be called by any thread",
        "celery.worker.consumer.consumer:Consumer.on_invalid_task": "drops a message after InvalidTaskError",
        "celery.worker.strategy:default": "is Celery's own strategy",
        "celery.concurrency.base:apply_target": "calls the callback once its target has returned",
    },
    "federation_core/connectors/stores/leases.py": {
        "redis.connection:Connection.can_read": "tells of an answer that has been read from the socket `_sock` already",
    },
    "federation_core/connectors/stores/jobs_scripts.py": {
        "celery.app.amqp:AMQP.as_task_v2": "writes a task's id into the message's headers in plain",
    },
}


class ChordBackend(BaseBackend):  # type: ignore[misc]
    """A result backend for chords in an outbox; of single tasks it knows nothing."""

    app: OutboxCelery

    def apply_chord(self, header_result_args: Any, body: Any, **_: Any) -> None:
        """Take the message of a chord's callback.

        Raises RuntimeError: no outbox is open. NotImplementedError: the callback wants results, or is more than a task.
        """
        outbox = self.app.open_outbox
        if outbox is None:
            raise RuntimeError("a chord is sent inside `app.outbox()`: its parts are joined by the store it is sent to")
        if body.subtask_type or outbox.callback is not None:
            raise NotImplementedError("an outbox takes one chord, whose callback is one task")
        if not body.immutable:
            raise NotImplementedError("the callback is given no results: make its signature immutable")
        body.apply_async()
        outbox.callback = outbox.messages.pop()

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """What is awaited is named in the chord's record, not counted."""

    def on_chord_part_return(self, request: Any, state: Any, result: Any, **_: Any) -> None:
        """The part of the task has been joined when it was stored."""

    def add_to_chord(self, chord_id: str, result: Any) -> None:
        """Raise NotImplementedError: what is awaited is known when a chord is sent."""
        raise NotImplementedError("a chord awaits the tasks that it was sent with")

    def store_result(self, task_id: str, result: Any, state: str, *_: Any, **__: Any) -> Any:
        """Store nothing; tasks ignore their results, only a revoked one is reported all the same."""
        return result

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        """Know nothing of a task."""
        return {"status": states.PENDING, "result": None}

"""How the message of a header task becomes a run: it is handed to the pool, and acknowledged when that is done with it.

Rule: between fetching a shard and running it nothing is done that a header task has no use for. Celery's own strategy
makes a request, a context and a trace of every message, for results, retries, schedules and rate limits, which cost a
worker more than its shard does. It is used where somebody watches (`--events`, for Flower) and with other pools.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from celery.concurrency.thread import TaskPool
from celery.exceptions import InvalidTaskError
from celery.worker.strategy import default

_log = logging.getLogger(__name__)

#: What Celery calls with (message, decoded body, acknowledge, reject, callbacks).
Handler = Callable[..., None]


class ToThePool:
    """The strategy of a task of one text; `run` is given the text, and whether it was delivered before, by a thread.

    `run` must not raise: a message whose run did is never acknowledged.
    """

    def __init__(self, run: Callable[[str, bool], object]) -> None:
        self._run = run

    def __call__(self, task: Task, app: Celery, consumer: Any) -> Handler:
        """Return what handles the task's messages in a worker; Celery asks once, when the worker begins to consume."""
        watched = consumer.event_dispatcher and consumer.event_dispatcher.enabled
        if watched or not isinstance(consumer.pool, TaskPool):
            handler: Handler = default(task, app, consumer)
            return handler
        # Waking the event loop for each message takes longer than all that is done with it there.
        consumer.connection.transport.from_any_thread = True
        run, apply_async, connection_errors = self._run, consumer.pool.apply_async, consumer.connection_errors

        def handle(message: Any, *_: Any) -> None:
            def acknowledge(_: Any) -> None:
                # From the pool's thread, as kombu allows. Celery's way would wake the event loop once more for it.
                message.ack_log_error(_log, connection_errors)

            redelivered = bool((message.delivery_info or {}).get("redelivered"))
            apply_async(run, (_text(message), redelivered), callback=acknowledge)

        return handle


def _text(message: Any) -> str:
    """Return the one argument in a task's message.

    Raises InvalidTaskError, with which Celery drops the message.
    """
    try:
        ((text,), _, _) = message.payload
    except (TypeError, ValueError) as exc:
        raise InvalidTaskError("the message does not hold one argument") from exc
    if not isinstance(text, str):
        raise InvalidTaskError("the argument is no text")
    return text

"""Celery's Redis result backend without what this project never uses: listening for single results.

Rule: the answer of a query lives under our own keys, so the process that sends a chord subscribes to nothing. The
stock backend subscribes to a channel per task sent and never leaves it (Celery issues 6963 and 3812), and keeps the
result objects too. This is also the place where the join of a chord can become one round trip.
"""

from __future__ import annotations

from typing import Any

from celery.backends.redis import RedisBackend
from celery.backends.redis import ResultConsumer as SubscribingConsumer


class ResultConsumer(SubscribingConsumer):  # type: ignore[misc]
    """A result consumer that follows nothing: an answer is waited for through `Jobs.wait`."""

    def start(self, initial_task_id: str, **kwargs: Any) -> None:
        """Do not open a subscription."""

    def consume_from(self, task_id: str) -> None:
        """Do not follow a task."""

    def cancel_for(self, task_id: str) -> None:
        """There is nothing to leave."""


class ChordBackend(RedisBackend):  # type: ignore[misc]
    """The result backend of chords: it counts header tasks and stores no answer."""

    ResultConsumer = ResultConsumer

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Do not subscribe to the result of a task that was just sent."""

    def add_pending_result(self, result: Any, weak: bool = False, start_drainer: bool = True) -> Any:
        """Do not remember a result that nobody will wait for; the stock backend keeps six per chord for ever."""
        return result

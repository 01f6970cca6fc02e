"""Sending a chord's tasks to the broker in one write.

Rule: either all messages of a block are sent at its end, or an error is raised and it is not known which were: the
caller may send them again only if receiving them twice does no harm. Uses `Producer.batch` (public, kombu 5.7) and
overrides `Celery.producer_or_acquire` (public), which is where a chord gets the producer of its header.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from typing import Any

from celery import Celery


class BatchingCelery(Celery):  # type: ignore[misc]
    """Celery whose canvases publish through one batch inside a `batch` block; safe from several threads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._batching = local()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Hold back what this thread publishes inside the block, and send it all at its end."""
        with self.producer_pool.acquire(block=True) as producer, producer.batch():
            self._batching.producer = producer
            try:
                yield
            finally:
                self._batching.producer = None

    def producer_or_acquire(self, producer: Any = None) -> Any:
        """Return the given producer, else the one of this thread's batch, else one of the pool, as a context."""
        return super().producer_or_acquire(producer or getattr(self._batching, "producer", None))

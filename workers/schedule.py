"""The schedule of the workers: what is due is sent, and what was due before and was not yet done is taken back.

Rule: a scheduled task of which one message is waiting says all there is to say, so a day without its consumer leaves
one message and not 86,400. Each scheduled task has a queue of its own, which is emptied before it is sent.
"""

from __future__ import annotations

from typing import Any

from celery.beat import ScheduleEntry, Scheduler


class FreshScheduler(Scheduler):  # type: ignore[misc]
    """Celery's in-memory scheduler with at most one waiting message per entry."""

    def apply_async(self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        """Send what is due, in place of an earlier message of it that nobody has taken."""
        queue = entry.options.get("queue")
        if queue and producer is not None:
            producer.channel.queue_purge(queue)
        return super().apply_async(entry, producer=producer, advance=advance, **kwargs)

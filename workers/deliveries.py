"""Tasks that are delivered again: which they are, and how often is too often.

Rule: a message that was never redelivered costs nothing here. One that was has lost a worker before, perhaps by its own
doing, so it is counted when it is begun and is not begun a third time.
"""

from __future__ import annotations

from celery import Task

#: A task that is begun again this often is not run: the first delivery and the one before this have lost their worker.
LOST_TOO_OFTEN = 2


def redelivered(task: Task) -> bool:
    """Tell whether the broker has delivered the running task's message before."""
    return bool((task.request.delivery_info or {}).get("redelivered"))

"""The command lines of the worker roles: what a supervisor starts, and nothing else.

Rule: pure functions; a role is `python -m workers ROLE …`, configured by its arguments and the environment.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

#: How many shards of one cluster a worker runs at once, unless it is told otherwise.
THREADS_PER_CLUSTER = 4
MOST_THREADS = 32


def cluster_worker_argv(clusters: Iterable[str], concurrency: int = 0, config: str = "") -> list[str]:
    """Return the command of a worker for the queues of some clusters; `concurrency` 0 chooses by their number."""
    names = sorted(set(clusters))
    return [*_python(), "cluster", "--clusters", ",".join(names), *_concurrency(concurrency), *_config(config)]


def merge_worker_argv(concurrency: int = 1, config: str = "", *, with_beat: bool = False) -> list[str]:
    """Return the command of a merge worker; `with_beat` lets it run the schedule too, on a single machine."""
    return [*_python(), "merge", *_concurrency(concurrency), *_config(config), *(["--with-beat"] if with_beat else [])]


def beat_argv(config: str = "") -> list[str]:
    """Return the command of the one process that sends what is due."""
    return [*_python(), "beat", *_config(config)]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a worker: as given, with few memory arenas, since its threads mostly wait."""
    return {"MALLOC_ARENA_MAX": "2", **environ}


def cluster_concurrency(clusters: int) -> int:
    """Return how many threads a worker of so many clusters runs."""
    return min(MOST_THREADS, THREADS_PER_CLUSTER * clusters)


def _python() -> list[str]:
    return [sys.executable, "-m", "workers"]


def _concurrency(concurrency: int) -> list[str]:
    return ["--concurrency", str(concurrency)] if concurrency else []


def _config(config: str) -> list[str]:
    return ["--config", config] if config else []

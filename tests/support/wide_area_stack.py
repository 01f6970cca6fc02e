"""A stack whose cluster workers are far from Redis: each process of them is behind a link of its own.

Redis, the merge worker, the schedule and `Stack.dispatch`, which is the API's part, are near each other.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.support.stack import CLUSTERS, Stack
from tests.support.wan import Wan
from webapp.cli.stack import commands


@dataclass
class WideAreaStack(Stack):
    """A `Stack` with `delay_ms` each way between its cluster workers and Redis.

    The link of a worker is named after the clusters it serves, joined by commas.
    """

    delay_ms: float = 40

    def __enter__(self) -> WideAreaStack:
        super().__enter__()
        port = urlsplit(self.url).port
        assert port is not None
        self.wan = Wan(port, self.delay_ms).__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self.wan.__exit__()

    def redis_url_of(self, argv: list[str]) -> str:
        """Return the near end of a cluster worker's link, and Redis itself for the other roles."""
        if "cluster" not in argv:
            return self.url
        link = argv[argv.index("--clusters") + 1]
        there = urlsplit(self.url)
        return there._replace(netloc=f"{there.netloc.rpartition(':')[0]}:{self.wan.open(link)}").geturl()

    def start_workers(self) -> dict[str, subprocess.Popen[bytes]]:
        """Start a worker for each cluster, all at once; return them by cluster once all are served."""
        workers = {name: self.start(commands.cluster_worker([name])) for name in CLUSTERS}
        for worker in workers.values():
            self.until(lambda: frozenset(self.dispatch.served()) == frozenset(CLUSTERS), worker)
        return workers

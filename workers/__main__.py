"""`python -m workers ROLE …`: become a cluster worker, a merge worker or the scheduler.

Rule: the environment and the configuration are read here, once, and handed on.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from collections.abc import Sequence

from celery import Celery, signals
from celery.platforms import set_pdeathsig

from federation_core.connectors.files import load
from federation_core.errors import FederationError
from workers.app import MERGE_QUEUES, THREADS_PER_CLUSTER, make_celery
from workers.connections import Connections
from workers.fetchers import Fetchers
from workers.lifecycle import configure_log, install

#: How many shards a worker runs at once, unless it is told otherwise or has very many clusters. A shard holds its
#: thread for at least a round trip to Redis, so this bounds the rate of a worker that is far from it.
THREADS = 32


def main(argv: Sequence[str] | None = None) -> int:
    """Run one role until it is told to end; return the exit code, 2 where the configuration is wrong."""
    options = _parser().parse_args(argv)
    if options.with_parent:
        set_pdeathsig("SIGTERM")
    try:
        if options.role == "cluster":
            return _cluster(options)
        return _merge(options) if options.role == "merge" else _beat(options)
    except FederationError as exc:
        print(f"{options.role} worker: {exc.message}", file=sys.stderr)
        return 2


def _cluster(options: argparse.Namespace) -> int:
    clusters = tuple(sorted({name.strip() for name in options.clusters.split(",") if name.strip()}))
    settings = load(os.environ, options.config, only=clusters)
    clusters = clusters or tuple(cluster.name for cluster in settings.clusters)
    # Each cluster has its part of the threads, so that one that hangs takes none of another's.
    each = -(-options.concurrency // len(clusters)) or max(THREADS_PER_CLUSTER, THREADS // len(clusters))
    # As many may wait for their turn as are answered: enough to lose no time over a long way, and no more, since
    # another worker of the cluster could have them.
    room = {name: min(each, 2 * settings.cluster(name).rate_limit.max_concurrent) for name in clusters}
    fetchers = Fetchers.for_clusters(settings.redis_url, room)
    connections = Connections(settings)
    app = make_celery(settings, "cluster", clusters=clusters, fetchers=fetchers, connections=connections)
    install(app, settings, clusters, fetchers=fetchers, connections=connections)
    return _work(
        app,
        f"cluster-{os.getpid()}",
        queues=[settings.cluster(name).queue for name in clusters],
        pool="threads",
        concurrency=each * len(clusters),
        events=options.events,
    )


def _merge(options: argparse.Namespace) -> int:
    settings = load(os.environ, options.config)
    app = make_celery(settings, "merge")
    install(app, settings, with_beat=options.with_beat)
    return _work(
        app,
        f"merge-{os.getpid()}",
        queues=list(MERGE_QUEUES),
        pool="prefork",
        child_memory_kib=options.child_memory_mib * 1024,
        concurrency=options.concurrency or 1,
        events=options.events,
    )


def _beat(options: argparse.Namespace) -> int:
    settings = load(os.environ, options.config)
    configure_log("beat", settings.log_level)
    app = make_celery(settings, "beat")
    signals.beat_init.connect(_say_ready)
    app.Beat(loglevel=settings.log_level, redirect_stdouts=False, quiet=True).run()
    return 0


def _say_ready(**_: object) -> None:
    logging.getLogger("workers").info("ready")


def _work(
    app: Celery, name: str, *, queues: list[str], pool: str, concurrency: int, events: bool, child_memory_kib: int = 0
) -> int:
    worker = app.Worker(
        hostname=f"{name}@{socket.gethostname()}",
        queues=queues,
        pool=pool,
        concurrency=concurrency,
        max_memory_per_child=child_memory_kib or None,
        # Workers neither greet nor watch each other: our heartbeats say more and cost less.
        without_gossip=True,
        without_mingle=True,
        # Flower takes a worker for dead without Celery's own heartbeat, which is an event like the others.
        without_heartbeat=not events,
        task_events=events,
        quiet=True,
    )
    worker.start()
    code: int = worker.exitcode or 0
    return code


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    roles = parser.add_subparsers(dest="role", required=True)
    every = argparse.ArgumentParser(add_help=False)
    every.add_argument("--config", help="configuration folder or clusters.yaml; default APPSENTRY_CONFIG")
    every.add_argument("--with-parent", action="store_true", help="end when the process that started this one ends")
    pool = argparse.ArgumentParser(add_help=False)
    pool.add_argument("--concurrency", type=_positive, default=0, help="how many tasks at once")
    pool.add_argument("--events", action="store_true", help="tell Flower of every task, at some milliseconds each")
    cluster = roles.add_parser("cluster", parents=[every, pool], help="answer shards of some clusters")
    cluster.add_argument("--clusters", default=os.environ.get("APPSENTRY_CLUSTERS", ""), help="a,b; default all")
    merge = roles.add_parser("merge", parents=[every, pool], help="combine the clusters' parts")
    merge.add_argument("--child-memory-mib", type=_positive, default=0, help="replace a child that held so much")
    merge.add_argument("--with-beat", action="store_true", help="run the schedule in this process too")
    roles.add_parser("beat", parents=[every], help="send what is due")
    return parser


if __name__ == "__main__":
    sys.exit(main())

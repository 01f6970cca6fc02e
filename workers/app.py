"""The Celery application: its settings, a queue per cluster, its schedule.

Rule: importing opens nothing and reads nothing; `make_celery` is told everything. A message is JSON, an answer never
travels in one: parts and results rest under our own keys. `celery -A workers.app` finds `app`, made on first use from
the environment.
"""

from __future__ import annotations

import os
from typing import Any, Literal

from kombu.entity import Exchange, Queue

from federation_core.config import Settings
from federation_core.connectors.files import load
from federation_core.connectors.stores.jobs_keys import QUEUE_TTL_MS
from federation_core.errors import InvalidConfig
from workers.connections import Connections
from workers.fetchers import Fetchers
from workers.outbox import OutboxCelery

Role = Literal["web", "cluster", "merge", "beat"]

#: Task names are part of the protocol between releases and between sites.
QUERY_CLUSTER = "appsentry.query_cluster"
AGGREGATE = "appsentry.aggregate"
REAP = "appsentry.reap"
MERGE_QUEUE, DISCOVERY_QUEUE, REAP_QUEUE = "merge", "discovery", "reap"
#: What a merge worker consumes.
MERGE_QUEUES = (MERGE_QUEUE, DISCOVERY_QUEUE, REAP_QUEUE)
#: The schedule lives in memory: what was due while nobody ran is not made up for.
SCHEDULER = "workers.schedule:FreshScheduler"
#: How many shards of one cluster a worker of several clusters runs at once, unless it is told otherwise.
THREADS_PER_CLUSTER = 4
#: How often the reaper looks for jobs whose deadline has passed.
REAP_EVERY_S = 1.0

#: A message is redelivered when it has been unacknowledged for this long, by the clocks of two workers. That is longer
#: than any query runs (600 s) and clocks are apart (300 s): sooner, a long shard would be run a second time beside
#: itself. What a lost worker held is not waited for, because its query ends at its deadline without it.
_VISIBILITY_TIMEOUT_S = 960
_CONNECT_TIMEOUT_S = 2
_QUEUE_EXPIRES_S = QUEUE_TTL_MS // 1000
#: A pool child of a merge worker is replaced, between two tasks, once it has held this much memory.
_CHILD_MEMORY_KIB = 400 * 1024
#: The web tier must say within seconds that the broker is down; a worker has time.
_ANSWER_TIMEOUT_S = {"web": 2, "cluster": 30, "merge": 30, "beat": 5}
_PUBLISH_RETRIES = {"web": 0, "cluster": 5, "merge": 5, "beat": 1}


def make_celery(
    settings: Settings,
    role: Role = "web",
    *,
    clusters: tuple[str, ...] = (),
    fetchers: Fetchers | None = None,
    connections: Connections | None = None,
) -> OutboxCelery:
    """Build the application for one role; `clusters` are those whose queues a cluster worker consumes.

    `fetchers` bring it their messages; without them it reads the queues as Celery does. `connections` are the
    connectors that its tasks share with others of the process.

    Raises InvalidConfig: there is no Redis URL, or a cluster is not configured.
    """
    if not settings.redis_url:
        raise InvalidConfig("REDIS_URL is not set: the workers need the redis:// URL of the broker")
    for name in clusters:
        settings.cluster(name)
    app = OutboxCelery("appsentry", set_as_current=role != "web")
    app.conf.update(_conf(settings, role))
    if fetchers is not None:
        app.conf.broker_transport_options = {**app.conf.broker_transport_options, "fetchers": fetchers}
    if role != "web":
        # The web tier sends tasks by name; only a process that runs them imports what they do.
        from workers.query_tasks import register

        owner = fetchers.owner if fetchers else ""
        register(app, settings, frozenset(clusters), owner=owner, connections=connections)
    return app


def queue(name: str) -> Queue:
    """Declare a queue with an exchange and a routing key of its own.

    Without them it would be bound to Celery's default exchange and get everybody's messages.
    """
    exchange = Exchange(name, type="direct")  # type: ignore[no-untyped-call]
    return Queue(name, exchange, routing_key=name, expires=_QUEUE_EXPIRES_S)  # type: ignore[no-untyped-call]


def _conf(settings: Settings, role: Role) -> dict[str, Any]:
    answer_timeout_s = _ANSWER_TIMEOUT_S[role]
    queues = [cluster.queue for cluster in settings.clusters] + list(MERGE_QUEUES)
    return {
        "broker_url": settings.redis_url,
        "broker_transport": "workers.transport:Transport",
        "result_backend": "workers.backend:ChordBackend",
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_max_memory_per_child": _CHILD_MEMORY_KIB,
        "task_queues": [queue(name) for name in queues],
        "task_default_queue": MERGE_QUEUE,
        "task_create_missing_queues": False,
        "broker_transport_options": {
            "visibility_timeout": _VISIBILITY_TIMEOUT_S,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            "socket_timeout": answer_timeout_s,
            "socket_connect_timeout": _CONNECT_TIMEOUT_S,
            "socket_keepalive": True,
            # No message of ours has a priority, and every step is one more key in each blocking read.
            "priority_steps": [0],
            "max_retries": _PUBLISH_RETRIES[role],
            "interval_start": 0,
            "interval_step": 0.1,
            "interval_max": 0.2,
        },
        "broker_connection_timeout": _CONNECT_TIMEOUT_S,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A Redis without room in memory or on its disk refuses what a worker sends; without this, that ends the worker.
        "broker_channel_error_retry": True,
        "task_publish_retry_policy": {
            "max_retries": _PUBLISH_RETRIES[role],
            "interval_start": 0,
            "interval_step": 0.1,
            "interval_max": 0.5,
        },
        # Our backend holds nothing, so all threads may share one.
        "result_backend_thread_safe": True,
        "result_extended": False,
        "task_track_started": False,
        "task_send_sent_event": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "beat_schedule": {"reap": {"task": REAP, "schedule": REAP_EVERY_S, "options": {"queue": REAP_QUEUE}}},
        "beat_scheduler": SCHEDULER,
        "beat_max_loop_interval": 5,
        "timezone": "UTC",
    }


def from_environment() -> OutboxCelery:
    """Build the application that `celery -A workers.app` starts.

    A worker of it consumes the queues of the clusters in APPSENTRY_CLUSTERS, or is a merge worker where there are
    none; `-Q` may choose others of the queues.
    """
    from workers.lifecycle import install

    clusters = tuple(sorted({name.strip() for name in os.environ.get("APPSENTRY_CLUSTERS", "").split(",")} - {""}))
    settings = load(os.environ, only=clusters)
    room = dict.fromkeys(clusters, THREADS_PER_CLUSTER)
    fetchers = Fetchers.for_clusters(settings.redis_url, room) if clusters else None
    role: Role = "cluster" if clusters else "merge"
    connections = Connections(settings)
    app = make_celery(settings, role, clusters=clusters, fetchers=fetchers, connections=connections)
    own = [settings.cluster(name).queue for name in clusters] or list(MERGE_QUEUES)
    app.amqp.queues.select(own)
    install(app, settings, clusters, fetchers=fetchers, connections=connections)
    return app


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()["app"] = from_environment()
    return made

"""The yardstick of a job's overhead: a chord of the same shape on stock Celery, whose tasks do nothing.

Nothing of ours is in it: a plain application, kombu's own Redis transport, Celery's own Redis backend, workers of its
own that run beside ours in the same run and in a database of their own. It has the settings to which measurements of
stock Celery have led: JSON, late acknowledgement, a prefetch of one, no results, one priority, a threads pool for the
header and a prefork one for the callback; its workers neither gossip nor send events.

It used to be sent through our application and to our workers. Since those no longer fetch, join and acknowledge as
Celery does, that would measure our chord against our chord.

`python -m tests.bench.bare_chord URL QUEUE,… POOL CONCURRENCY` is a worker.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable

import redis
from celery import Celery, chord, group
from celery.result import AsyncResult
from kombu import Exchange, Queue

from tests.support.stack import CLUSTERS, Stack
from workers.app import THREADS_PER_CLUSTER

HEADER, CALLBACK = "bench.header", "bench.callback"
_MERGE_QUEUE = "bench.merge"


class BareChord:
    """The yardstick beside a running stack; `processes` are the clusters whose headers one process of it runs."""

    def __init__(self, stack: Stack, processes: Iterable[tuple[str, ...]]) -> None:
        # Our workers' keys are in the first database of the same server.
        self._url = f"{stack.url.rpartition('/')[0]}/1"
        self._app = _application(self._url)
        for clusters in processes:
            threads = THREADS_PER_CLUSTER * len(clusters)
            stack.run(_argv(self._url, [_queue(name) for name in clusters], "threads", threads))
        stack.run(_argv(self._url, [_MERGE_QUEUE], "prefork", 1))

    def __enter__(self) -> BareChord:
        return self

    def __exit__(self, *_: object) -> None:
        # The application holds results for ever, and these end their subscriptions when they are collected: that must
        # be while Redis is still there.
        del self._app
        gc.collect()

    def connect(self) -> redis.Redis:
        """Return a client for `run`; a client of two threads would have them wait for each other."""
        return redis.Redis.from_url(self._url, socket_timeout=30)

    def run(self, client: redis.Redis, wake: str) -> AsyncResult:
        """Send one chord and wait until its callback has pushed to the list `wake`.

        Returns what Celery returned, so that whoever measures drops it, and its subscriptions, outside of his time.
        """
        header = [self._app.signature(HEADER, (name,), app=self._app, queue=_queue(name)) for name in CLUSTERS]
        callback = self._app.signature(CALLBACK, (wake,), app=self._app, queue=_MERGE_QUEUE)
        sent: AsyncResult = chord(group(header, app=self._app), app=self._app)(callback)
        # Longer than starting the workers takes, for the first one.
        assert client.blpop([wake], timeout=20)
        return sent


def _application(url: str) -> Celery:
    app = Celery("bare", broker=url, backend=url, set_as_current=False)
    queues = [*map(_queue, CLUSTERS), _MERGE_QUEUE]
    app.conf.update(
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_queues=[Queue(name, Exchange(name, type="direct"), routing_key=name) for name in queues],
        broker_transport_options={
            "visibility_timeout": 60,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            "socket_timeout": 30,
            "priority_steps": [0],
        },
        result_expires=300,
        result_extended=False,
        task_track_started=False,
        task_send_sent_event=False,
    )
    return app


def _argv(url: str, queues: Iterable[str], pool: str, concurrency: int) -> list[str]:
    return [sys.executable, "-m", "tests.bench.bare_chord", url, ",".join(queues), pool, str(concurrency)]


def _queue(cluster: str) -> str:
    return f"bench.cluster.{cluster}"


def _work(url: str, queues: str, pool: str, concurrency: str) -> None:
    app = _application(url)
    app.set_current()
    client = redis.Redis.from_url(url)

    @app.task(name=HEADER)
    def header(cluster: str) -> str:
        return cluster

    @app.task(name=CALLBACK)
    def callback(answered: list[str], wake: str) -> None:
        client.rpush(wake, "1")

    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    name = f"bare-{queues.replace(',', '-')}@%h"
    app.worker_main(["worker", "-n", name, "-P", pool, "-c", concurrency, "-Q", queues, *quiet])


if __name__ == "__main__":
    _work(*sys.argv[1:])

"""The life of a worker process: its log, its heartbeat, its schedule, and its end within seconds.

Rule: SIGTERM ends a worker soon, also while a backend hangs. What it has not done is given back for another worker;
without one it is named in the ledger, which is better than a process that will not go. Handlers are per process: call
`install` once.
"""

from __future__ import annotations

import gc
import logging
import os
import warnings
from threading import Event, Thread
from time import sleep
from typing import Any

from celery import Celery, signals
from celery.beat import EmbeddedService
from celery.bootsteps import StartStopStep
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning

from federation_core.config import Settings
from federation_core.connectors.stores.jobs import wall_clock_ms
from federation_core.connectors.stores.jobs_beats import Heartbeats
from federation_core.signals import kinds
from federation_core.structured_logging import configure
from workers.app import SCHEDULER
from workers.connections import Connections
from workers.fetchers import Fetchers
from workers.heartbeat import Heart
from workers.prober import Prober

#: How long a task that is running may still take once the worker is told to end.
GRACE_S = 2.0
#: How long giving them back to their queue may take.
_GIVE_BACK_S = 1.0
#: Celery's loggers that write a line or two per task, with its arguments: a user's query has no place in a log.
_LOUD = ("celery.app.trace", "celery.worker.strategy", "celery.pool", "celery.beat")
_log = logging.getLogger(__name__)


def install(
    app: Celery,
    settings: Settings,
    clusters: tuple[str, ...] = (),
    *,
    fetchers: Fetchers | None = None,
    connections: Connections | None = None,
    with_beat: bool = False,
) -> None:
    """Attach to the signals of the worker that this process is about to become.

    It serves the queues of `clusters`, or is a merge worker where there are none; `fetchers` and `connections` are
    those of its application. `with_beat` runs the schedule on a thread of this worker, for a machine that holds
    everything.
    """
    fetchers = fetchers or Fetchers()
    connections = connections or Connections(settings)
    prober = Prober(settings, clusters, connections, wall_clock_ms)
    heart = (
        Heart(Heartbeats(settings.redis_url), clusters, fetchers, wall_clock_ms, connections.standing, prober)
        if clusters
        else None
    )
    ending = Event()
    # Messages are JSON only, so none of them runs anything; and what Celery 6 will do is not news to an operator.
    for category in (SecurityWarning, CPendingDeprecationWarning):
        warnings.filterwarnings("ignore", category=category)

    def on_setup_logging(**_: Any) -> None:
        # A receiver of this signal also keeps Celery from installing its own handlers.
        configure_log("worker" if clusters else "merge", settings.log_level)

    def on_worker_init(sender: Any, **_: Any) -> None:
        _load_before_fork()
        if issubclass(sender.pool_cls, PreforkPool):
            fetchers.leave_to_celery()
            # The queries run in children, and a child made while a connector is being opened would never open one.
            prober.stop()

    def on_worker_ready(**_: Any) -> None:
        _log.info("ready", extra={"queues": sorted(app.amqp.queues.consume_from)})
        if heart is not None:
            heart.start()
            prober.start()
        if with_beat:
            Thread(target=_run_beat, args=(app,), name="beat", daemon=True).start()

    def on_worker_shutting_down(**_: Any) -> None:
        if ending.is_set():
            return
        ending.set()
        if heart is not None:
            heart.stop()
            prober.stop()
        Thread(target=_end_soon, args=(fetchers,), name="end", daemon=True).start()

    class Closing(StartStopStep):  # type: ignore[misc]
        """Hears of every end; of one by remote control Celery sends no signal."""

        requires = ("celery.worker.components:Pool",)

        def close(self, _: Any) -> None:
            on_worker_shutting_down()

    def on_worker_shutdown(**_: Any) -> None:
        fetchers.give_back()

    app.steps["worker"].add(Closing)
    signals.setup_logging.connect(on_setup_logging, weak=False)
    signals.worker_init.connect(on_worker_init, weak=False)
    signals.worker_ready.connect(on_worker_ready, weak=False)
    signals.worker_shutting_down.connect(on_worker_shutting_down, weak=False)
    signals.worker_shutdown.connect(on_worker_shutdown, weak=False)


def configure_log(role: str, level: str) -> None:
    """Send this process's log to standard error as our own lines, without a line of Celery's per task."""
    configure(role, level)
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)


def _load_before_fork() -> None:
    """Import the signals now and set everything aside from the collector, so that pool children share the pages."""
    kinds()
    gc.collect()
    gc.freeze()
    # A task leaves next to no cycles and hundreds of objects that live until its answer is stored: collecting after
    # every seven hundred, as is the default, took a twentieth of a worker's time and found nothing.
    gc.set_threshold(20_000, 20, 20)


def _run_beat(app: Celery) -> None:
    EmbeddedService(app, thread=True, scheduler_cls=SCHEDULER).run()


def _end_soon(fetchers: Fetchers) -> None:
    sleep(GRACE_S)
    _log.warning("tasks were still running and are given up")
    # Another worker may take them on. A Redis that does not answer must not keep this one.
    giving_back = Thread(target=fetchers.give_back, name="giving back", daemon=True)
    giving_back.start()
    giving_back.join(_GIVE_BACK_S)
    # Pool children end with their parent; other threads may be stuck in a backend's answer for long.
    os._exit(0)

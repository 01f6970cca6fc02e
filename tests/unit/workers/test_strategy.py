import json
from collections.abc import Iterator
from threading import Event, current_thread
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.concurrency.solo import TaskPool as SoloPool
from celery.concurrency.thread import TaskPool
from celery.exceptions import InvalidTaskError
from kombu.message import Message

from workers import strategy
from workers.strategy import ToThePool


@pytest.fixture
def pool() -> Iterator[TaskPool]:
    made = TaskPool(2)
    yield made
    made.on_stop()


def consumer(pool: Any, *, watched: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        pool=pool,
        connection=SimpleNamespace(transport=SimpleNamespace(from_any_thread=False)),
        connection_errors=(OSError,),
        event_dispatcher=SimpleNamespace(enabled=watched, send=None),
    )


def message(body: object, channel: object = None, **delivery_info: object) -> Message:
    return Message(
        json.dumps(body),
        channel=channel,
        delivery_tag="1",
        content_type="application/json",
        content_encoding="utf-8",
        delivery_info=delivery_info,
        accept=["application/json"],
    )


def test_a_text_is_run_by_a_thread_of_the_pool_and_acknowledged_after_that(pool: TaskPool) -> None:
    done, said = Event(), list[tuple[Any, ...]]()

    def run(text: str, redelivered: bool) -> None:
        said.append((text, redelivered, current_thread().name))

    class Channel:
        no_ack_consumers = None

        def basic_ack(self, tag: str, multiple: bool) -> None:
            said.append(("acknowledged", tag))
            done.set()

    handle = ToThePool(run)(Celery().Task(), Celery(), consumer(pool))
    handle(message([["shard"], {}, {}], Channel(), redelivered=True), None, None, None, ())
    assert done.wait(10)
    (text, redelivered, thread), after = said
    assert (text, redelivered, after) == ("shard", True, ("acknowledged", "1"))
    assert thread != current_thread().name


@pytest.mark.parametrize("body", [[[], {}, {}], [["a", "b"], {}, {}], [[1], {}, {}], {}, 3, "text", [["a"]]])
def test_a_message_that_holds_no_text_is_refused_in_a_way_that_celery_knows(pool: TaskPool, body: object) -> None:
    handle = ToThePool(lambda *_: pytest.fail("it was run"))(Celery().Task(), Celery(), consumer(pool))
    with pytest.raises(InvalidTaskError):
        handle(message(body), None, lambda *_: None, None, ())


@pytest.mark.parametrize("how", ["watched", "another pool"])
def test_celerys_own_strategy_is_used_where_tasks_are_watched_or_no_threads_run_them(
    monkeypatch: pytest.MonkeyPatch, pool: TaskPool, how: str
) -> None:
    monkeypatch.setattr(strategy, "default", lambda *_: "celery's own")
    worker = consumer(pool, watched=True) if how == "watched" else consumer(SoloPool(1))
    assert ToThePool(lambda *_: None)(Celery().Task(), Celery(), worker) == "celery's own"

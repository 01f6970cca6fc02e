"""Capturing a canvas instead of sending it, on a real Redis: what is captured is what would have been sent."""

from __future__ import annotations

import base64
import json
from threading import Barrier, Thread
from typing import Any

import pytest
from celery import chord, group

from federation_core.config import Backend, Cluster, Settings
from federation_core.connectors.stores.redis import connect
from workers.app import AGGREGATE, MERGE_QUEUE, QUERY_CLUSTER, make_celery
from workers.outbox import OutboxCelery, SentOnce

#: What is drawn anew for every message.
DRAWN = ("reply_to", "delivery_tag")


@pytest.fixture
def app(redis_url: str) -> OutboxCelery:
    clusters = tuple(Cluster(name, "e", (Backend("metrics", "memory"),)) for name in ("dev", "prod"))
    return make_celery(Settings(clusters, redis_url=redis_url))


def task(app: OutboxCelery, cluster: str = "prod", **options: Any) -> Any:
    task_id = f"part:{cluster}:acme:q1"
    return app.signature(QUERY_CLUSTER, ("a shard",), queue=f"cluster.{cluster}", task_id=task_id, **options)


def callback(app: OutboxCelery, **how: Any) -> Any:
    return app.signature(AGGREGATE, ("acme", "q1"), **{"queue": MERGE_QUEUE, "immutable": True, **how})


def pushed(redis_url: str, queue: str) -> list[str]:
    return [message.decode() for message in connect(redis_url).lrange(queue, 0, -1)]


def opened(raw: str) -> tuple[dict[str, Any], Any]:
    """Return a message without what differs from one to the next, and its body."""
    message = json.loads(raw)
    message["properties"] = {name: value for name, value in message["properties"].items() if name not in DRAWN}
    return message, json.loads(base64.b64decode(message.pop("body")))


@pytest.mark.parametrize("options", [{}, {"argsrepr": "", "kwargsrepr": ""}, {"priority": 3, "expires": 60_000.0}])
def test_a_message_is_what_the_redis_transport_would_push(
    app: OutboxCelery, redis_url: str, options: dict[str, Any]
) -> None:
    task(app, **options).apply_async()
    with app.outbox() as outbox:
        task(app, **options).apply_async()
    ((queue, captured),) = outbox.messages
    (sent,) = pushed(redis_url, queue)
    of_sent, of_captured = opened(sent), opened(captured)
    for message, _ in (of_sent, of_captured):
        # An instant, a few milliseconds apart.
        assert bool(message["headers"].pop("expires")) == ("expires" in options)
    assert of_captured == of_sent


def test_a_captured_message_runs_the_task_it_names(app: OutboxCelery, redis_url: str) -> None:
    with app.outbox() as outbox:
        task(app).apply_async()
    ((queue, captured),) = outbox.messages
    connect(redis_url).lpush(queue, captured)
    with app.connection_for_read() as connection:
        message = app.amqp.queues[queue].bind(connection.default_channel).get()
    assert message is not None
    assert (message.headers["task"], message.headers["id"]) == (QUERY_CLUSTER, "part:prod:acme:q1")
    assert message.decode()[0] == ["a shard"]


def test_nothing_reaches_redis_from_inside_the_block(app: OutboxCelery, redis_url: str) -> None:
    with app.outbox() as outbox:
        task(app).apply_async()
        chord(group([task(app, "dev")], app=app), app=app)(callback(app))
    assert len(outbox.messages) == 2
    assert list(connect(redis_url).scan_iter()) == []


def test_a_chord_is_its_header_tasks_and_one_callback(app: OutboxCelery) -> None:
    with app.outbox() as outbox:
        chord(group([task(app, "dev"), task(app, "prod")], app=app), app=app)(callback(app))
    assert [queue for queue, _ in outbox.messages] == ["cluster.dev", "cluster.prod"]
    assert outbox.callback is not None
    queue, raw = outbox.callback
    message, body = opened(raw)
    assert (queue, message["headers"]["task"], body[0]) == (MERGE_QUEUE, AGGREGATE, ["acme", "q1"])


def test_a_task_that_is_sent_once_is_sent_as_any_other(app: OutboxCelery) -> None:
    captured = []
    for make in (app.signature, SentOnce):
        parts = [
            make(QUERY_CLUSTER, ("a shard",), app=app, queue=f"cluster.{name}", task_id=f"part:{name}")
            for name in ("dev", "prod")
        ]
        settling = make(AGGREGATE, ("acme",), app=app, immutable=True, queue=MERGE_QUEUE, task_id="c", root_id="c")
        with app.outbox() as outbox:
            chord(group(parts, app=app), app=app)(settling)
        assert outbox.callback is not None
        captured.append([opened(raw) for _, raw in (*outbox.messages, outbox.callback)])
    for messages in captured:
        for message, _ in messages:
            message["headers"].pop("group")
    assert captured[0] == captured[1]


def test_a_header_task_carries_its_id_in_plain_and_not_the_callback(app: OutboxCelery) -> None:
    with app.outbox() as outbox:
        chord(group([task(app, "dev"), task(app, "prod")], app=app), app=app)(callback(app))
    for cluster, (_, raw) in zip(("dev", "prod"), outbox.messages, strict=True):
        assert f'"part:{cluster}:acme:q1"' in raw
        assert opened(raw)[1][2]["chord"] is None
        assert AGGREGATE not in raw


@pytest.mark.parametrize("fails", [False, True])
def test_after_the_block_tasks_are_sent_as_always(app: OutboxCelery, redis_url: str, fails: bool) -> None:
    try:
        with app.outbox() as outbox:
            if fails:
                raise LookupError
    except LookupError:
        pass
    task(app).apply_async()
    assert outbox.messages == []
    assert len(pushed(redis_url, "cluster.prod")) == 1


def test_another_threads_outbox_is_another(app: OutboxCelery, redis_url: str) -> None:
    together = Barrier(3)
    found: dict[str, list[str]] = {}

    def capture(cluster: str) -> None:
        with app.outbox() as outbox:
            together.wait(20)
            task(app, cluster).apply_async()
            together.wait(20)
        found[cluster] = [queue for queue, _ in outbox.messages]

    threads = [Thread(target=capture, args=(cluster,)) for cluster in ("dev", "prod")]
    for thread in threads:
        thread.start()
    together.wait(20)
    task(app).apply_async()
    together.wait(20)
    for thread in threads:
        thread.join(20)
    assert found == {"dev": ["cluster.dev"], "prod": ["cluster.prod"]}
    assert len(pushed(redis_url, "cluster.prod")) == 1


def test_an_outbox_inside_another_keeps_its_own(app: OutboxCelery) -> None:
    with app.outbox() as outer:
        with app.outbox() as inner:
            task(app, "dev").apply_async()
        task(app, "prod").apply_async()
    assert [queue for queue, _ in inner.messages] == ["cluster.dev"]
    assert [queue for queue, _ in outer.messages] == ["cluster.prod"]

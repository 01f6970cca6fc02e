"""Nonsense on every queue: each message costs itself; no worker ends and the next query is answered in full."""

from __future__ import annotations

import json

import pytest

from federation_core.connectors.stores.redis import connect
from tests.support.stack import CLUSTERS, COUNTS, Stack, total, verdicts

pytestmark = pytest.mark.heavy
QUEUES = (*(f"cluster.{name}" for name in CLUSTERS), "merge", "discovery", "reap")


def envelope(**changes: object) -> dict[str, object]:
    """A message as Celery sends it, with some of it replaced."""
    whole: dict[str, object] = {
        "body": "W1tdLCB7fSwge31d",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "appsentry.query_cluster", "id": "1"},
        "properties": {
            "correlation_id": "1",
            "delivery_info": {"exchange": "", "routing_key": "merge"},
            "delivery_tag": "poison",
            "body_encoding": "base64",
        },
    }
    return {**whole, **changes}


POISON = {
    "no JSON": b"poison",
    "nothing": b"",
    "bytes": b"\xff\x00\x80",
    "deep": b"[" * 100_000,
    "null": b"null",
    "a list": b"[1, 2]",
    "an empty object": b"{}",
    "no headers": json.dumps(envelope(headers=None)).encode(),
    "a task that is a list": json.dumps(envelope(headers={"task": ["x"], "id": "1"})).encode(),
    "a task without an id": json.dumps(envelope(headers={"task": "appsentry.query_cluster"})).encode(),
    "an unknown task": json.dumps(envelope(headers={"task": "os.system", "id": "1"})).encode(),
    "pickle": json.dumps(envelope(**{"content-type": "application/x-python-serialize"})).encode(),
    "a body that is no base64": json.dumps(envelope(body="%%%")).encode(),
    "a body that is no JSON": json.dumps(envelope(body="cG9pc29u")).encode(),
    "no arguments": json.dumps(envelope()).encode(),
    "no properties": json.dumps(envelope(properties={})).encode(),
    "bad expires": json.dumps(
        envelope(headers={"task": "appsentry.query_cluster", "id": "1", "expires": "soon"})
    ).encode(),
    "bad eta": json.dumps(envelope(headers={"task": "appsentry.query_cluster", "id": "1", "eta": [1]})).encode(),
}


def test_poison_on_every_queue_ends_no_worker(own_stack: Stack) -> None:
    workers = [own_stack.start_merge(), own_stack.start_worker()]
    assert own_stack.ask(timeout_ms=30_000).status == "complete"
    client = connect(own_stack.url)
    for queue in QUEUES:
        client.lpush(queue, *POISON.values())
    own_stack.until(lambda: not any(client.llen(queue) for queue in QUEUES))
    result = own_stack.ask(timeout_ms=30_000)
    assert (total(result), verdicts(result)) == (sum(COUNTS.values()), dict.fromkeys(CLUSTERS, "ok"))
    assert [worker.poll() for worker in workers] == [None, None]
    own_stack.until(lambda: not client.hlen("unacked"))


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON.keys())
def test_no_kind_of_poison_holds_up_the_message_behind_it(stack: Stack, poison: bytes) -> None:
    connect(stack.url).lpush("cluster.stage", poison)
    connect(stack.url).lpush("merge", poison)
    assert stack.ask(timeout_ms=30_000).status == "complete"

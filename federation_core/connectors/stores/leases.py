"""A queue in Redis whose reader moves each message to a list of its own: nothing is lost, and nothing waits for Redis.

Rule: a message is in the queue or in exactly one reader's lease until it is dealt with, and every step between is one
command of Redis. Many moves are asked for in advance on one connection, so that messages come as fast over a long link
as over a short one: Redis serves the asked moves one after the other, and a message that arrives is on its way at once.
A lease is its owner's as long as the owner's heart beats; then `return_lost` puts its messages back.
"""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from typing import Any

import redis

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.redis import WORKER_ANSWER_TIMEOUT_S, answering, connect

#: How long Redis lets an asked move wait for a message; then it says that there is none.
MOVE_WAIT_S = 5.0
#: How much longer a reader waits for that before it takes the link for dead.
_LATE_S = 5.0
#: How long an owner may be silent before its leases are taken from it.
LOST_AFTER_MS = 5_000

#: Put a message back into its queue, unless it is no longer leased.
#: KEYS: lease, queue  ARGV: the message as leased, the message as put back, ttl_ms
#: Returns 1 it was put back, 0 there was nothing to put back.
_PUT_BACK = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
"""


class Moves:
    """A connection on which messages are moved from a queue to a lease, as many at a time as are asked for.

    It belongs to one thread, since no encrypted connection may be read and written at once; others `wake` that thread.
    """

    def __init__(self, connection: Any, queue: str, lease: str) -> None:
        # redis-py does not type its connections, and has no public name for what to wait on.
        self._connection = connection
        self._socket: socket.socket = connection._sock
        self._move: bytes = b"".join(
            connection.pack_command("BLMOVE", queue, lease, "RIGHT", "LEFT", f"{MOVE_WAIT_S:g}")
        )
        self._asked = 0
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)

    @property
    def asked(self) -> int:
        """How many moves have been asked for and not been answered."""
        return self._asked

    def ask(self, moves: int) -> None:
        """Ask for so many messages to be moved, in one write.

        Raises StoreUnavailable: they could not be asked for, and the connection is of no more use.
        """
        with answering():
            self._connection.send_packed_command([self._move * moves], check_health=False)
        self._asked += moves

    def wait(self) -> bool:
        """Wait until an answer has arrived, and return True, or until somebody wakes us, and return False.

        Raises StoreUnavailable: no answer comes, and the connection is of no more use.
        """
        with answering():
            # More may have been read already than one answer.
            if self._connection.can_read(timeout=0):
                return True
            longest_s = MOVE_WAIT_S + _LATE_S if self._asked else None
            ready, _, _ = select.select([self._socket, self._woken], [], [], longest_s)
            if not ready:
                raise redis.TimeoutError("nothing is heard of what was asked for")
            if self._woken in ready:
                self._woken.recv(4096)
            return self._socket in ready

    def next(self) -> bytes | None:
        """Read the answer to the earliest move that was asked for; return its message, or None for none.

        Raises StoreUnavailable: the connection is of no more use.
        """
        with answering():
            message: bytes | None = self._connection.read_response()
        self._asked -= 1
        return message

    def wake(self) -> None:
        """Have `wait` return; for other threads."""
        # Full: it is about to wake. Closed: nobody waits any more.
        with suppress(OSError):
            self._waker.send(b".")

    def close(self) -> None:
        """Close the connection; a message that is on its way stays leased."""
        self._connection.disconnect()
        self._woken.close()
        self._waker.close()


class LeasedQueue:
    """One cluster's queue as one owner reads it. Opens nothing until it is used; safe to use from several threads."""

    def __init__(self, url: str, cluster: str, owner: str) -> None:
        self.name = keys.cluster_queue(cluster)
        self._owner = owner
        self._key = keys.lease(self.name, owner)
        self._url = url
        #: The last connection's server and its number there.
        self._earlier: tuple[str, int] | None = None

    @cached_property
    def _redis(self) -> Any:
        return connect(self._url, answer_s=WORKER_ANSWER_TIMEOUT_S)

    @cached_property
    def _moving(self) -> Any:
        return connect(self._url, blocking_s=MOVE_WAIT_S, answer_s=_LATE_S).connection_pool

    @cached_property
    def _put_back(self) -> Any:
        return self._redis.register_script(_PUT_BACK)

    def open(self) -> Moves:
        """Open a connection to move messages on; an earlier one gets none any more.

        Raises StoreUnavailable.
        """
        with answering():
            connection = self._moving.make_connection()
            connection.connect()
            # A user who may not do this does without: then only Redis' own keep-alive ends a dead connection.
            with suppress(redis.ResponseError):
                self._end_earlier(connection)
        return Moves(connection, self.name, self._key)

    def _end_earlier(self, connection: Any) -> None:
        """Have Redis end our earlier connection: it may not have noticed that it is dead, and go on to serve it."""
        earlier, self._earlier = self._earlier, None
        server = _run_id(_call(connection, "INFO", "server"))
        if earlier is not None and earlier[0] == server:
            # Mostly it is gone, which is an error to Redis.
            with suppress(redis.ResponseError):
                _call(connection, "CLIENT", "KILL", "ID", earlier[1])
        self._earlier = server, int(_call(connection, "CLIENT", "ID"))

    def leased(self) -> list[bytes]:
        """Return the messages that are leased to this owner, the newest first.

        Raises StoreUnavailable.
        """
        with answering():
            found: list[bytes] = self._redis.lrange(self._key, 0, -1)
        return found

    def drop(self, messages: Iterable[bytes]) -> None:
        """End the lease of messages that have been dealt with.

        Raises StoreUnavailable.
        """
        with answering(), self._redis.pipeline(transaction=False) as pipe:
            for message in messages:
                pipe.lrem(self._key, 0, message)
            pipe.execute()

    def put_back(self, messages: Iterable[bytes], *, lost: bool = False) -> None:
        """Put leased messages back into the queue, the last of them to be read first; mark those that were `lost`.

        Raises StoreUnavailable.
        """
        with answering(), self._redis.pipeline(transaction=False) as pipe:
            for message in messages:
                again = _marked(message) if lost else message
                _send_back(pipe, self._put_back, self.name, self._owner, message, again)
            pipe.execute()


class LostLeases:
    """The leases of owners that are gone. Opens nothing until it is used."""

    def __init__(self, url: str) -> None:
        self._url = url

    @cached_property
    def _redis(self) -> Any:
        return connect(self._url)

    @cached_property
    def _put_back(self) -> Any:
        return self._redis.register_script(_PUT_BACK)

    def put_back(self, clusters: Iterable[str]) -> int:
        """Put back what is leased to owners whose heart is silent; return how many messages that were.

        They are marked as delivered before, since their worker may have been lost by their own doing.

        Raises StoreUnavailable.
        """
        with answering():
            lost = self._lost(list(clusters))
            with self._redis.pipeline(transaction=False) as pipe:
                for queue, owner in lost:
                    pipe.lrange(keys.lease(queue, owner), 0, -1)
                found = pipe.execute()
                for (queue, owner), messages in zip(lost, found, strict=True):
                    for message in messages:
                        _send_back(pipe, self._put_back, queue, owner, message, _marked(message))
                return sum(pipe.execute())

    def _lost(self, clusters: list[str]) -> list[tuple[str, str]]:
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            for cluster in clusters:
                pipe.hgetall(keys.beats(cluster))
            (seconds, micros), *beats = pipe.execute()
        now_ms = seconds * 1000 + micros // 1000
        return [
            (keys.cluster_queue(cluster), keys.lease_owner(worker.decode(errors="replace")))
            for cluster, fields in zip(clusters, beats, strict=True)
            for worker, beat in fields.items()
            if now_ms - _seen_ms(beat) > LOST_AFTER_MS
        ]


def _send_back(pipe: Any, script: Any, queue: str, owner: str, leased: bytes, again: bytes) -> None:
    script(keys=[keys.lease(queue, owner), queue], args=[leased, again, keys.QUEUE_TTL_MS], client=pipe)


def _call(connection: Any, *command: str | int) -> Any:
    connection.send_command(*command, check_health=False)
    return connection.read_response()


def _run_id(info: bytes) -> str:
    """Read what names one run of a server: connections are numbered anew in each."""
    lines = info.decode(errors="replace").splitlines()
    return next((line for line in lines if line.startswith("run_id:")), "")


def _seen_ms(beat: bytes) -> int:
    try:
        return int(beat.split()[0])
    except (ValueError, IndexError):
        return 0


def _marked(message: bytes) -> bytes:
    """Mark a message as kombu marks one that is delivered again; what is no message stays as it is."""
    try:
        envelope = json.loads(message)
        envelope["headers"]["redelivered"] = True
        envelope["properties"]["delivery_info"]["redelivered"] = True
    except (ValueError, RecursionError, KeyError, TypeError):
        return message
    return json.dumps(envelope).encode()

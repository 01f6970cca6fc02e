"""A connection to Redis on which messages are moved from a queue to a lease, as many at a time as are asked for.

Rule: a reader always has moves asked for in advance, so that messages come as fast over a long link as over a short
one: Redis serves the asked moves one after the other, and a message that arrives is on its way at once. A connection
that is dead and looks alive is found out by the answer that is overdue.
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress
from typing import Any

import redis

from federation_core.connectors.stores.redis import answering

#: How long Redis lets an asked move wait for a message; then it says that there is none.
MOVE_WAIT_S = 5.0
#: How much longer a reader waits for that before it takes the link for dead.
LATE_S = 5.0


class Moves:
    """The connection. It belongs to one thread, which others `wake`: no encrypted one may be read and written at once.

    `server` names the run of the server that it leads to, and `number` is the connection's there; 0 where Redis does
    not say.
    """

    def __init__(self, connection: Any, queue: str, lease: str, *, server: str, number: int) -> None:
        self.server = server
        self.number = number
        # redis-py does not type its connections, and has no public name for what to wait on.
        self._connection = connection
        self._socket: socket.socket = connection._sock
        self._move: bytes = b"".join(
            connection.pack_command("BLMOVE", queue, lease, "RIGHT", "LEFT", f"{MOVE_WAIT_S:g}")
        )
        self._asked = 0
        self._heard_s = 0.0
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)
        self._readable.register(self._woken, select.POLLIN)

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
        if not self._asked:
            self._heard_s = time.monotonic()
        self._asked += moves

    def wait(self) -> bool:
        """Wait until an answer has arrived, and return True, or until somebody wakes us, and return False.

        Raises StoreUnavailable: no answer comes, and the connection is of no more use.
        """
        with answering():
            # More may have been read already than one answer.
            if self._connection.can_read(timeout=0):
                return True
            ready = {handle for handle, _ in self._readable.poll(self._longest_ms())}
            if self._woken.fileno() in ready:
                self._woken.recv(4096)
            elif not ready:
                raise redis.TimeoutError("nothing is heard of what was asked for")
            return self._socket.fileno() in ready

    def next(self) -> bytes | None:
        """Read the answer to the earliest move that was asked for; return its message, or None for none.

        Raises StoreUnavailable: the connection is of no more use.
        """
        with answering():
            message: bytes | None = self._connection.read_response()
        self._asked -= 1
        self._heard_s = time.monotonic()
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

    def _longest_ms(self) -> int | None:
        """Return how long an answer may still take, None where none is awaited."""
        if not self._asked:
            return None
        return max(0, int((self._heard_s + MOVE_WAIT_S + LATE_S - time.monotonic()) * 1000))


def open_moves(pool: redis.ConnectionPool, queue: str, lease: str, earlier: Moves | None) -> Moves:
    """Open a connection with the settings of a pool, and have Redis end the `earlier` one.

    Redis may not have noticed that it is dead, and would go on to move messages for nobody. A user who may not end
    connections does without; then only Redis' own keep-alive ends them.

    Raises StoreUnavailable.
    """
    with answering():
        # Not the pool's own, of which it counts only how many there have been.
        connection: Any = pool.connection_class(**pool.connection_kwargs)
        try:
            connection.connect()
            server, number = _whereabouts(connection)
            if earlier is not None and earlier.number and earlier.server == server:
                # Mostly it is gone, which is an error to Redis.
                with suppress(redis.ResponseError):
                    _call(connection, "CLIENT", "KILL", "ID", earlier.number)
            return Moves(connection, queue, lease, server=server, number=number)
        except BaseException:
            connection.disconnect()
            raise


def _whereabouts(connection: Any) -> tuple[str, int]:
    """Return what names this run of the server, and our number in it: connections are numbered anew in each."""
    try:
        lines = _call(connection, "INFO", "server").decode(errors="replace").splitlines()
        number = int(_call(connection, "CLIENT", "ID"))
    except redis.ResponseError:
        return "", 0
    return next((line for line in lines if line.startswith("run_id:")), ""), number


def _call(connection: Any, *command: str | int) -> Any:
    connection.send_command(*command, check_health=False)
    return connection.read_response()

"""One HTTP request while it is under way, as far as another thread must know it to end it.

Rule: a request ends when its query is cancelled or its time is over, wherever it is: connecting, shaking hands, between
two bytes of a header. A socket's own timeout starts again with every byte, so it is the socket that is closed.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

#: Sockets take no longer timeout than some; a deadline further away than this is looked at again.
LONGEST_S: Final = 3_600.0
#: By so much a request is ended late, so that its deadline has certainly passed by then.
_GRACE_S: Final = 0.05


@dataclass(slots=True)
class Exchange:
    """The one request that a thread is in, as far as another thread must know it to end it."""

    connection: HTTPConnection | None = None

    def abort(self) -> None:
        """End the request; whoever waits for it finds the connection closed."""
        sock = self.connection.sock if self.connection is not None else None
        if isinstance(sock, socket.socket):
            with suppress(OSError):
                # Past TLS, which must not be spoken from two threads: the socket itself wakes who reads from it.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def wait_at_most(self, seconds: float) -> None:
        """Let the next read wait no longer."""
        sock = self.connection.sock if self.connection is not None else None
        if isinstance(sock, socket.socket):
            sock.settimeout(min(max(seconds, 0.001), LONGEST_S))


class _Running(threading.local):
    exchange: Exchange | None = None


_running = _Running()


class _Plain(HTTPConnection):
    """A connection that says whose request it carries."""

    def connect(self) -> None:
        _carry(self)
        super().connect()

    def request(self, *args: Any, **named: Any) -> None:
        _carry(self)
        super().request(*args, **named)


class _Tls(HTTPSConnection):
    """The same over TLS."""

    def connect(self) -> None:
        _carry(self)
        super().connect()

    def request(self, *args: Any, **named: Any) -> None:
        _carry(self)
        super().request(*args, **named)


def _carry(connection: HTTPConnection) -> None:
    if _running.exchange is not None:
        _running.exchange.connection = connection


class PlainPool(urllib3.HTTPConnectionPool):
    """Connections whose requests can be ended."""

    ConnectionCls = _Plain


class TlsPool(urllib3.HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = _Tls


@contextmanager
def carried(exchange: Exchange, at_most_s: float) -> Iterator[None]:
    """Let the connection that this thread uses inside be that of the exchange, and end it when its time is over."""
    timer = threading.Timer(min(at_most_s, LONGEST_S) + _GRACE_S, exchange.abort)
    timer.daemon = True
    timer.start()
    _running.exchange = exchange
    try:
        yield
    finally:
        _running.exchange = None
        timer.cancel()
        # From here on the connection is another request's.
        exchange.connection = None

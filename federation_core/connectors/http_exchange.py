"""One HTTP request while it is under way, as far as another thread must know it to end it.

Rule: a request ends when its query is cancelled or its time is over, wherever it is: looking up a name, connecting,
shaking hands, asking a proxy, between two bytes of a header. A socket's own timeout starts again with every byte, so it
is the socket that is closed.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

#: Sockets take no longer timeout than some; a deadline further away than this is looked at again.
LONGEST_S: Final = 3_600.0
#: By so much a request is ended late, so that its deadline has certainly passed by then.
_GRACE_S: Final = 0.05

_Found = list[tuple[Any, ...]] | OSError | None


@dataclass(slots=True)
class Exchange:
    """The one request that a thread is in, as far as another thread must know it to end it."""

    connection: HTTPConnection | None = None
    ended: bool = False
    #: The socket by another handle: while hands are shaken no other reaches it.
    _opened: socket.socket | None = None
    _looked_up: SimpleQueue[_Found] = field(default_factory=SimpleQueue)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def abort(self) -> None:
        """End the request; whoever waits for it finds the connection closed."""
        with self._lock:
            self.ended = True
            self._looked_up.put(None)
            for sock in (self._opened, self.connection.sock if self.connection is not None else None):
                if isinstance(sock, socket.socket):
                    with suppress(OSError):
                        # Past TLS, which must not be spoken from two threads: the socket itself wakes who reads it.
                        socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def wait_at_most(self, seconds: float) -> None:
        """Let the next read wait no longer."""
        sock = self.connection.sock if self.connection is not None else None
        if isinstance(sock, socket.socket):
            sock.settimeout(min(max(seconds, 0.001), LONGEST_S))

    def opened(self, sock: socket.socket) -> None:
        """Have this socket closed by `abort` as well, from before it is connected.

        Raises OSError: the request has been ended already.
        """
        with self._lock:
            if self.ended:
                raise ConnectionAbortedError
            self._forget()
            self._opened = sock.dup()

    def look_up(self, host: str, port: int, longest_s: float) -> list[tuple[Any, ...]]:
        """Return the addresses of a host as `getaddrinfo` does, which knows no limit of time.

        Raises OSError: gaierror, TimeoutError, or the request has been ended.
        """

        def ask() -> None:
            try:
                self._looked_up.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except UnicodeError:
                self._looked_up.put(socket.gaierror(socket.EAI_NONAME, "this is no name of a host"))
            except OSError as exc:
                self._looked_up.put(exc)

        with suppress(OSError):
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        threading.Thread(target=ask, name="lookup", daemon=True).start()
        try:
            found = self._looked_up.get(timeout=longest_s)
        except Empty:
            raise TimeoutError from None
        if isinstance(found, list):
            return found
        raise found or ConnectionAbortedError

    def close(self) -> None:
        """Let go of the connection: from here on it is another request's."""
        with self._lock:
            self.connection = None
            self._forget()

    def _forget(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


class _Running(threading.local):
    exchange: Exchange | None = None


_running = _Running()


class Carried(HTTPConnection):
    """A connection that says whose request it carries."""

    #: Since when nobody has used it, on the monotonic clock.
    idle_since_s: float = 0.0

    def connect(self) -> None:
        """Connect, and let the running request's end be the end of that."""
        _carry(self)
        super().connect()

    def request(self, *args: Any, **named: Any) -> None:
        """Send a request, and let the running request's end be the end of it."""
        _carry(self)
        super().request(*args, **named)

    def _new_conn(self) -> socket.socket:
        exchange = _running.exchange or Exchange()
        longest_s = float(self.timeout or LONGEST_S)
        until_s, fault = time.monotonic() + longest_s, OSError("the name has no address")
        try:
            for family, kind, protocol, _, address in exchange.look_up(self._dns_host, self.port or 80, longest_s):
                sock = socket.socket(family, kind, protocol)
                try:
                    exchange.opened(sock)
                    for option in self.socket_options or ():
                        sock.setsockopt(*option)
                    # All addresses together have as long as one.
                    sock.settimeout(max(until_s - time.monotonic(), 0.001))
                    sock.connect(address)
                    return sock
                except OSError as exc:
                    sock.close()
                    fault = exc
            raise fault
        except socket.gaierror as exc:
            raise NameResolutionError(self.host, self, exc) from exc
        except TimeoutError as exc:
            raise ConnectTimeoutError(self, "no connection in time") from exc
        except OSError as exc:
            raise NewConnectionError(self, "no connection") from exc


class CarriedOverTls(Carried, HTTPSConnection):
    """The same over TLS."""


def _carry(connection: HTTPConnection) -> None:
    if _running.exchange is not None:
        _running.exchange.connection = connection


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
        exchange.close()

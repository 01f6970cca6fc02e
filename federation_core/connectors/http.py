"""HTTP to a cluster's backend: connections that are kept, one deadline for the whole of a request, a cap on the answer.

Rule: nothing waits longer than the deadline and nothing is read beyond the cap; a cancelled query ends its request by
closing the socket under it. What goes wrong on the way is a `ClusterError`; what an answer's status means is for who
asked. No proxy, redirect, cookie or credential is taken from the environment. Secrets are read for every request, so
that one that is rotated is the one that is sent.
"""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as ConnectionTimeout

from federation_core.access import Access
from federation_core.errors import ClusterError, InvalidConfig, Malformed, TimedOut, TooLarge, Unreachable
from federation_core.query import Deadline

#: How long a backend in reach may take to accept a connection.
CONNECT_S: Final = 5.0
#: The most an answer may hold, whatever the query's own limits are.
MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024
#: Connections that are kept for the next request; more are opened when needed, closed after it, and logged.
_KEPT: Final = 128
_CHUNK_BYTES: Final = 256 * 1024
#: Sockets take no longer timeout than some; a deadline further away than this is looked at again.
_LONGEST_S: Final = 3_600.0
_HEADERS: Final = {"Accept": "application/json", "User-Agent": "appsentry-federation"}
_NO_MORE: Final[Mapping[str, str]] = {}

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend has answered: status, headers (names in lower case) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class _Exchange:
    """The one request that a thread is in, as far as another thread must know it to end it."""

    connection: HTTPConnection | None = None

    def abort(self) -> None:
        sock = self.connection.sock if self.connection is not None else None
        if isinstance(sock, socket.socket):
            with suppress(OSError):
                # Past TLS, which must not be spoken from two threads: the socket itself wakes who reads from it.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def wait_at_most(self, seconds: float) -> None:
        sock = self.connection.sock if self.connection is not None else None
        if isinstance(sock, socket.socket):
            sock.settimeout(min(max(seconds, 0.001), _LONGEST_S))


class _Running(threading.local):
    exchange: _Exchange | None = None


_running = _Running()


class _Plain(HTTPConnection):
    """A connection that says whose request it carries."""

    def request(self, *args: Any, **named: Any) -> None:
        _carry(self)
        super().request(*args, **named)


class _Tls(HTTPSConnection):
    """The same over TLS."""

    def request(self, *args: Any, **named: Any) -> None:
        _carry(self)
        super().request(*args, **named)


def _carry(connection: HTTPConnection) -> None:
    if _running.exchange is not None:
        _running.exchange.connection = connection


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Tls


@dataclass(frozen=True, slots=True)
class HttpClient:
    """A client for one backend; safe to use from several threads."""

    cluster: str
    pool: urllib3.HTTPConnectionPool
    prefix: str
    access: Access = field(default_factory=Access)

    def ask(
        self,
        method: Literal["GET", "POST"],
        path: str,
        fields: Fields,
        deadline: Deadline,
        *,
        max_bytes: int = MAX_ANSWER_BYTES,
        watch: Callable[[bytes], None] = lambda chunk: None,
        headers: Mapping[str, str] = _NO_MORE,
    ) -> Answer:
        """Send one request, which may be sent twice: it must change nothing. `watch` sees the answer as it comes.

        POST sends the fields as a form, GET in the URL. `headers` are the caller's own, beside those of every request.

        Raises Unreachable, TimedOut, TooLarge, Malformed (the connection ended within the answer), QueryCanceled, and
        what `watch` raises.
        """
        exchange, text = _Exchange(), urlencode(fields)
        url = self.prefix + path + (f"?{text}" if method == "GET" and text else "")
        body = text if method == "POST" else None
        with deadline.on_cancel(exchange.abort), _carried(exchange):
            try:
                sent = {**headers, **self._headers(body is not None)}
                response = self._open(method, url, body, sent, deadline)
                try:
                    return self._read(response, exchange, deadline, max_bytes, watch)
                finally:
                    # Of an answer that was read whole the connection has gone back already; any other is closed.
                    response.close()
            except (HTTPError, OSError) as exc:
                # A socket that was closed under it says so in its own words; what matters is why.
                self._check(deadline)
                raise self._fault(exc) from exc

    def _open(
        self, method: str, url: str, body: str | None, headers: Mapping[str, str], deadline: Deadline
    ) -> urllib3.BaseHTTPResponse:
        for last in (False, True):
            self._check(deadline)
            left_s = min(self._left_s(deadline), _LONGEST_S)
            try:
                return self.pool.urlopen(
                    method,
                    url,
                    body=body,
                    headers=headers,
                    # Neither retries nor redirects.
                    retries=False,
                    timeout=urllib3.Timeout(connect=min(left_s, CONNECT_S), read=left_s),
                    preload_content=False,
                )
            except ProtocolError:
                # A kept connection that the backend has just closed; a new one tells whether that was all.
                if last:
                    raise
        raise AssertionError("the second attempt answers or raises")

    def _read(
        self,
        response: urllib3.BaseHTTPResponse,
        exchange: _Exchange,
        deadline: Deadline,
        max_bytes: int,
        watch: Callable[[bytes], None],
    ) -> Answer:
        chunks, size = [], 0
        # Whatever has come is looked at when it comes; a read of so many bytes would wait for all of them.
        while chunk := response.read1(_CHUNK_BYTES, decode_content=True):
            self._check(deadline)
            size += len(chunk)
            if size > max_bytes:
                raise TooLarge(
                    f"the backend answers more than {max_bytes} bytes",
                    cluster=self.cluster,
                    limit="answer_bytes",
                    asked=size,
                    allowed=max_bytes,
                )
            watch(chunk)
            chunks.append(chunk)
            if response.connection is not None:
                # It still is ours: bytes that drip in do not move the end.
                exchange.wait_at_most(self._left_s(deadline))
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, b"".join(chunks))

    def _headers(self, has_body: bool) -> dict[str, str]:
        headers = dict(_HEADERS)
        if has_body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        access = self.access
        if access.tenant:
            headers["X-Scope-OrgID"] = access.tenant
        if access.bearer_token_file:
            headers["Authorization"] = "Bearer " + self._secret(access.bearer_token_file)
        elif access.password_file:
            pair = f"{access.username}:{self._secret(access.password_file)}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return headers

    def _secret(self, file: str) -> str:
        try:
            secret = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as exc:
            raise Unreachable(f"{file} cannot be read: {type(exc).__name__}", cluster=self.cluster) from None
        if not (secret.isascii() and secret.isprintable()):
            raise Unreachable(f"{file} does not hold one line of printable ASCII", cluster=self.cluster)
        return secret

    def _left_s(self, deadline: Deadline) -> float:
        return deadline.remaining_s(_now_ms(deadline))

    def _check(self, deadline: Deadline) -> None:
        deadline.check(_now_ms(deadline), self.cluster)

    def _fault(self, exc: Exception) -> ClusterError:
        words = _words(exc)
        if isinstance(exc, ReadTimeoutError):
            return TimedOut("the backend gave no answer in time", cluster=self.cluster)
        if isinstance(exc, SSLError | ssl.SSLError):
            return Unreachable(f"TLS with the backend failed: {words}", cluster=self.cluster)
        if isinstance(exc, NewConnectionError | ConnectionTimeout | OSError):
            return Unreachable(f"no connection to the backend: {words}", cluster=self.cluster)
        return Malformed(f"the backend's answer broke off: {words}", cluster=self.cluster)


@contextmanager
def _carried(exchange: _Exchange) -> Iterator[None]:
    _running.exchange = exchange
    try:
        yield
    finally:
        _running.exchange = None


def _now_ms(deadline: Deadline) -> int:
    # The running side's clock knows better than ours how far it is from that of the side that set the deadline.
    return deadline.clock() if deadline.clock is not None else time.time_ns() // 1_000_000


def _words(exc: BaseException) -> str:
    """Return the reason in the words of the layer below, which repeat neither host nor object addresses."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    said = exc.strerror if isinstance(exc, OSError) and exc.strerror else ""
    return said or type(exc).__name__


def open_client(cluster: str, url: str, access: Access, origin: str) -> HttpClient:
    """Return a client for the backend at a URL; nothing is connected yet.

    Raises InvalidConfig: a certificate file cannot be used, or would not be.
    """
    parts = urlsplit(url)
    kept: dict[str, Any] = {"maxsize": _KEPT, "block": False}
    host = parts.hostname or ""
    if parts.scheme == "http":
        if access.ca_file or access.cert_file:
            raise InvalidConfig(f"{origin}: certificates are for an https:// URL, and this is {url}")
        return HttpClient(cluster, _PlainPool(host, parts.port, **kept), parts.path.rstrip("/"), access)
    used = access.ca_file
    try:
        context = ssl.create_default_context(cafile=access.ca_file or None)
        if access.cert_file:
            used = f"{access.cert_file} with {access.key_file}"
            # Without a password OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(access.cert_file, access.key_file, password="")
    except (OSError, ssl.SSLError) as exc:
        raise InvalidConfig(f"{origin}: the certificates of `access` cannot be used: {used}: {exc}") from None
    return HttpClient(cluster, _TlsPool(host, parts.port, ssl_context=context, **kept), parts.path.rstrip("/"), access)

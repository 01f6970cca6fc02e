"""HTTP to a cluster's backend: connections that are kept, one deadline for the whole of a request, a cap on the answer.

Rule: nothing waits longer than the deadline and nothing is read beyond the cap; a cancelled query ends its request by
closing the socket under it. What goes wrong on the way is a `ClusterError`; what an answer's status means is for who
asked. No proxy, redirect, cookie or credential is taken from the environment. Secrets are read for every request, so
that one that is rotated is the one that is sent.
"""

from __future__ import annotations

import base64
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.exceptions import (
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as ConnectionTimeout

from federation_core.access import Access
from federation_core.config import Backend, Cluster
from federation_core.connectors.http_exchange import LONGEST_S, Exchange, PlainPool, TlsPool, carried
from federation_core.errors import ClusterError, InvalidConfig, Malformed, TimedOut, TooLarge, Unreachable
from federation_core.query import Deadline

#: How long a backend in reach may take to accept a connection.
CONNECT_S: Final = 5.0
#: The most an answer may hold, whatever the query's own limits are.
MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024
#: Connections that are kept for the next request; more are opened when needed, closed after it, and logged.
_KEPT: Final = 128
_CHUNK_BYTES: Final = 256 * 1024
_HEADERS: Final = {"Accept": "application/json", "User-Agent": "appsentry-federation"}
_NO_MORE: Final[Mapping[str, str]] = {}

Fields = tuple[tuple[str, str], ...]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend has answered: status, headers (names in lower case) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


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
        exchange, text = Exchange(), urlencode(fields)
        url = self.prefix + path + (f"?{text}" if method == "GET" and text else "")
        body = text if method == "POST" else None
        with deadline.on_cancel(exchange.abort), carried(exchange, self._left_s(deadline)):
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
            left_s = min(self._left_s(deadline), LONGEST_S)
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
        exchange: Exchange,
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
        # Headers that end with the connection are taken for whole: an answer that was ended from here looks empty.
        self._check(deadline)
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
            headers["Authorization"] = "Bearer " + self._secret("bearerTokenFile", access.bearer_token_file)
        elif access.password_file:
            pair = f"{access.username}:{self._secret('passwordFile', access.password_file)}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return headers

    def _secret(self, key: str, file: str) -> str:
        try:
            secret = Path(file).read_text(encoding="utf-8").strip()
            fault = "" if secret.isascii() and secret.isprintable() else "does not hold one line of printable ASCII"
        except (OSError, ValueError) as exc:
            secret, fault = "", f"cannot be read: {_words(exc)}"
        if fault:
            # Who asks the query reads the error: it names the entry of the configuration, and the log has the place.
            _log.warning("a credential cannot be sent", extra={"cluster": self.cluster, "file": file, "why": fault})
            raise Unreachable(f"the file of `{key}` {fault}", cluster=self.cluster)
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


def _now_ms(deadline: Deadline) -> int:
    # The running side's clock knows better than ours how far it is from that of the side that set the deadline.
    return deadline.clock() if deadline.clock is not None else time.time_ns() // 1_000_000


def _words(exc: BaseException) -> str:
    """Return the reason in the words of the layer below, which repeat neither host nor object addresses."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    said = exc.strerror if isinstance(exc, OSError) and exc.strerror else ""
    return said or type(exc).__name__


def open_client(cluster: Cluster, backend: Backend) -> HttpClient:
    """Return a client for a backend with a URL; nothing is connected yet.

    Raises InvalidConfig: a certificate file cannot be used, or would not be.
    """
    url, access, origin = backend.url, backend.access, backend.origin
    parts = urlsplit(url)
    kept: dict[str, Any] = {"maxsize": _KEPT, "block": False}
    host = parts.hostname or ""
    if parts.scheme == "http":
        if access.ca_file or access.cert_file:
            raise InvalidConfig(f"{origin}: certificates are for an https:// URL, and this is {url}")
        return HttpClient(cluster.name, PlainPool(host, parts.port, **kept), parts.path.rstrip("/"), access)
    used = access.ca_file
    try:
        context = ssl.create_default_context(cafile=access.ca_file or None)
        if access.cert_file:
            used = f"{access.cert_file} with {access.key_file}"
            # Without a password OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(access.cert_file, access.key_file, password="")
    except (OSError, ssl.SSLError) as exc:
        raise InvalidConfig(f"{origin}: the certificates of `access` cannot be used: {used}: {exc}") from None
    return HttpClient(
        cluster.name, TlsPool(host, parts.port, ssl_context=context, **kept), parts.path.rstrip("/"), access
    )

"""HTTP to a cluster's backend: connections that are kept, one deadline for the whole of a request, a cap on the answer.

Rule: nothing waits longer than the deadline and nothing is kept beyond the cap, which is on what an answer unfolds to;
a cancelled query ends its request by closing the socket under it. What goes wrong on the way is a `ClusterError`, a
redirect included; what an answer's status means otherwise is for who asked. No proxy, redirect, cookie or credential is
taken from the environment. Secrets are read for every request, so that one that is rotated is the one that is sent.
"""

from __future__ import annotations

import base64
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from federation_core.access import Access
from federation_core.config import Backend, Cluster
from federation_core.connectors.http_decoding import ACCEPTED, decoder_of
from federation_core.connectors.http_exchange import LONGEST_S, Exchange, carried
from federation_core.connectors.http_faults import fault, is_stale, way_refused
from federation_core.connectors.http_pools import Pools
from federation_core.connectors.pace import Pace, pace_of
from federation_core.errors import Malformed, TooLarge, Unreachable
from federation_core.query import Deadline

#: How long a backend in reach may take to accept a connection.
CONNECT_S: Final = 5.0
#: The most an answer may hold, whatever the query's own limits are.
MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024
_CHUNK_BYTES: Final = 256 * 1024
_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": ACCEPTED, "User-Agent": "appsentry-federation"}
_NO_MORE: Final[Mapping[str, str]] = {}
#: What may stand in the path of a request: a line of it ends at a blank.
_PATH: Final = re.compile(r"/[!-~]*")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9-]+")

Fields = tuple[tuple[str, str], ...]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend has answered: status, headers (names in lower case) and the whole body, decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpClient:
    """A client for one backend; safe to use from several threads."""

    cluster: str
    url: str
    access: Access
    pools: Pools
    pace: Pace

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
        `watch` must not ask anything itself.

        Raises Unreachable, Rejected (by TLS, a proxy or our own pace), TimedOut, TooLarge, Malformed (the answer broke
        off, is a redirect, or cannot be decoded), QueryCanceled, and what `watch` raises.
        """
        exchange, text = Exchange(), urlencode(fields)
        target = urlsplit(self.url).path.rstrip("/") + path
        if not _PATH.fullmatch(target):
            raise Malformed("what is to be asked cannot stand in a URL", cluster=self.cluster)
        target += f"?{text}" if method == "GET" and text else ""
        body = text if method == "POST" else None
        # Read before there is a turn or a connection: a file that hangs holds nothing that others wait for.
        sent = self._sendable({**headers, **self._headers(body is not None)})
        proxy_headers = self._proxy_headers() if self.pools.is_proxied else _NO_MORE
        with (
            self.pace.turn(self._left_s(deadline), deadline),
            deadline.on_cancel(exchange.abort),
            carried(exchange, self._left_s(deadline)),
        ):
            try:
                response = self._open(method, target, body, sent, proxy_headers, deadline)
                try:
                    answer = self._read(response, exchange, deadline, max_bytes, watch)
                finally:
                    # Of an answer that was read whole the connection has gone back already; any other is closed.
                    response.close()
            except (HTTPError, OSError) as exc:
                # A socket that was closed under it says so in its own words; what matters is why.
                self._check(deadline)
                raise fault(exc, self.cluster, shows_certificate=bool(self.access.cert_file)) from exc
        refused = way_refused(answer.status, answer.headers, answer.body, urlsplit(self.url), self.cluster)
        if refused is not None:
            where = {"cluster": self.cluster, "location": answer.headers.get("location", "")[:300]}
            _log.warning("a backend is not where its URL says", extra={**where, "why": refused.message})
            raise refused
        return answer

    def _open(
        self,
        method: str,
        target: str,
        body: str | None,
        headers: Mapping[str, str],
        proxy_headers: Mapping[str, str],
        deadline: Deadline,
    ) -> urllib3.BaseHTTPResponse:
        for last in (False, True):
            self._check(deadline)
            left_s = min(self._left_s(deadline), LONGEST_S)
            pool = self.pools.current()
            if self.pools.is_proxied:
                pool.proxy_headers = dict(proxy_headers)
                if not self.pools.is_tls:
                    # A proxy of plain HTTP is told the whole URL.
                    target = target if "://" in target[:8] else f"http://{urlsplit(self.url).netloc}{target}"
            try:
                return pool.urlopen(
                    method,
                    target,
                    body=body,
                    headers=dict(headers),
                    # Neither retries nor redirects.
                    retries=False,
                    redirect=False,
                    assert_same_host=False,
                    timeout=urllib3.Timeout(connect=min(left_s, CONNECT_S), read=left_s),
                    preload_content=False,
                )
            except HTTPError as exc:
                # A kept connection that the backend has just closed; a new one tells whether that was all.
                if not is_stale(exc):
                    raise
                self._check(deadline)
                if last:
                    why = "refuse our certificate" if self.access.cert_file else "want a client certificate"
                    why = why if self.pools.is_tls else "want https://"
                    raise Malformed(
                        f"the backend's answer broke off before it began: does it {why}?", cluster=self.cluster
                    ) from exc
        raise AssertionError("the second attempt answers or raises")

    def _read(
        self,
        response: urllib3.BaseHTTPResponse,
        exchange: Exchange,
        deadline: Deadline,
        max_bytes: int,
        watch: Callable[[bytes], None],
    ) -> Answer:
        headers = {name.lower(): value for name, value in response.headers.items()}
        chunks, size, sent = list[bytes](), 0, 0
        try:
            decoder = decoder_of(headers.get("content-encoding", ""))
            # Whatever has come is looked at when it comes; a read of so many bytes would wait for all of them.
            while raw := response.read1(_CHUNK_BYTES, decode_content=False):
                sent += len(raw)
                for chunk in decoder.decode(raw):
                    self._check(deadline)
                    size += len(chunk)
                    self._cap(size, max_bytes)
                    watch(chunk)
                    chunks.append(chunk)
                self._cap(sent, max_bytes)
                if response.connection is not None:
                    # It still is ours: bytes that drip in do not move the end.
                    exchange.wait_at_most(self._left_s(deadline))
            decoder.finish()
        except Exception as exc:
            # The error keeps this frame for as long as anybody keeps the error; it need not keep what has come.
            chunks.clear()
            # An answer that was ended from here ends early.
            self._check(deadline)
            if type(exc) is not ValueError:
                raise
            raise Malformed(f"the backend's answer cannot be decoded: {exc}", cluster=self.cluster) from exc
        # Headers that end with the connection are taken for whole: an answer that was ended from here looks empty.
        self._check(deadline)
        return Answer(response.status, headers, b"".join(chunks))

    def _cap(self, size: int, max_bytes: int) -> None:
        if size > max_bytes:
            raise TooLarge(
                f"the backend answers more than {max_bytes} bytes",
                cluster=self.cluster,
                limit="answer_bytes",
                asked=size,
                allowed=max_bytes,
            )

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
            headers["Authorization"] = self._basic(access.username, "passwordFile", access.password_file)
        return headers

    def _proxy_headers(self) -> dict[str, str]:
        access = self.access
        if not access.proxy_password_file:
            return {}
        basic = self._basic(access.proxy_username, "proxyPasswordFile", access.proxy_password_file)
        return {"Proxy-Authorization": basic}

    def _basic(self, username: str, key: str, file: str) -> str:
        return "Basic " + base64.b64encode(f"{username}:{self._secret(key, file)}".encode()).decode()

    def _sendable(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Refuse what would end a header, or begin one of its own."""
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
                raise Malformed("what is to be asked cannot stand in a header", cluster=self.cluster)
        return headers

    def _secret(self, key: str, file: str) -> str:
        try:
            secret = Path(file).read_text(encoding="utf-8").strip()
            why = "" if secret.isascii() and secret.isprintable() else "does not hold one line of printable ASCII"
        except (OSError, ValueError) as exc:
            said = exc.strerror if isinstance(exc, OSError) and exc.strerror else type(exc).__name__
            secret, why = "", f"cannot be read: {said}"
        if why:
            # Who asks the query reads the error: it names the entry of the configuration, and the log has the place.
            _log.warning("a credential cannot be sent", extra={"cluster": self.cluster, "file": file, "why": why})
            raise Unreachable(f"the file of `{key}` {why}", cluster=self.cluster)
        return secret

    def _left_s(self, deadline: Deadline) -> float:
        return deadline.remaining_s(_now_ms(deadline))

    def _check(self, deadline: Deadline) -> None:
        deadline.check(_now_ms(deadline), self.cluster)


def _now_ms(deadline: Deadline) -> int:
    # The running side's clock knows better than ours how far it is from that of the side that set the deadline.
    return deadline.clock() if deadline.clock is not None else time.time_ns() // 1_000_000


def open_client(cluster: Cluster, backend: Backend) -> HttpClient:
    """Return a client for a backend with a URL; nothing is connected yet.

    Raises InvalidConfig: a certificate file cannot be used, or would not be.
    """
    pools = Pools(cluster.name, backend)
    return HttpClient(cluster.name, backend.url, backend.access, pools, pace_of(cluster, backend.url))

"""The connections that are kept to one backend: what they trust, by which proxy they go, and how long they are kept.

Rule: a certificate file that has changed is read again before the next request, whose connection is a new one; what is
under way goes on by the old one. Files that cannot be used leave the old ones in use, and the log says why. A
connection that nobody has used for a while is closed and not used again: what lies between may have forgotten it.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection

from federation_core.access import Access
from federation_core.config import Backend
from federation_core.connectors.http_exchange import Carried, CarriedOverTls
from federation_core.errors import InvalidConfig

#: Connections that are kept for the next request; more are opened when needed, closed after it, and logged.
_KEPT: Final = 128
#: How long a connection is kept that nobody uses. NAT and load balancers forget one after a minute at the earliest.
IDLE_S: Final = 45.0

#: What tells one content of a file from the next; None is a file that cannot be looked at.
_Mark = tuple[int, int, int] | None
_log = logging.getLogger(__name__)


class PlainPool(urllib3.HTTPConnectionPool):
    """Connections whose requests can be ended, and that are not kept for ever."""

    ConnectionCls = Carried

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)
        if isinstance(connection, Carried) and not connection.is_closed and _is_old(connection):
            # It connects again by itself.
            connection.close()
        return connection

    def _put_conn(self, conn: Any) -> None:
        if isinstance(conn, Carried):
            conn.idle_since_s = time.monotonic()
        super()._put_conn(conn)
        self._close_old()

    def _close_old(self) -> None:
        if (kept := self.pool) is None:
            return
        with kept.mutex:
            # The last one that was put back is the first one to be used: those at the bottom are the old ones.
            for connection in kept.queue:
                if isinstance(connection, HTTPConnection) and _is_old(connection):
                    connection.close()


class TlsPool(PlainPool, urllib3.HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = CarriedOverTls


def _is_old(connection: HTTPConnection) -> bool:
    return isinstance(connection, Carried) and time.monotonic() - connection.idle_since_s > IDLE_S


class Pools:
    """The pool of one backend, made anew when its certificates change; safe to use from several threads.

    Raises InvalidConfig: a certificate file cannot be used, or would not be.
    """

    def __init__(self, cluster: str, backend: Backend) -> None:
        self._cluster, self._backend = cluster, backend
        url = urlsplit(backend.url)
        self.is_tls, self.is_proxied = url.scheme == "https", bool(backend.access.proxy_url)
        access = backend.access
        if not self.is_tls and (access.ca_file or access.cert_file):
            raise InvalidConfig(f"{backend.origin}: certificates are for an https:// URL, and this is {backend.url}")
        self._lock = threading.Lock()
        self._files = tuple(file for file in (access.ca_file, access.cert_file, access.key_file) if file)
        self._marks = self._look()
        self._pool = self._open()

    def current(self) -> urllib3.HTTPConnectionPool:
        """Return the pool for the next request."""
        if self._files and self._look() != self._marks:
            self._renew()
        return self._pool

    def _renew(self) -> None:
        with self._lock:
            marks = self._look()
            if marks == self._marks:
                return
            # Of files that cannot be used it is said once; what is written next has other marks.
            self._marks = marks
            try:
                # The connections of the old pool end with the last of its requests.
                self._pool = self._open()
            except InvalidConfig as exc:
                words = "certificates have changed and cannot be used; the old ones stay in use"
                _log.warning(words, extra={"cluster": self._cluster, "why": exc.message})

    def _look(self) -> tuple[_Mark, ...]:
        return tuple(_mark(file) for file in self._files)

    def _open(self) -> urllib3.HTTPConnectionPool:
        url, kept = urlsplit(self._backend.url), dict[str, Any](maxsize=_KEPT, block=False)
        if self.is_tls:
            kept["ssl_context"] = _trust(self._backend.access, self._backend.origin)
        host, proxy_url = url.hostname or "", self._backend.access.proxy_url
        if not proxy_url:
            return TlsPool(host, url.port, **kept) if self.is_tls else PlainPool(host, url.port, **kept)
        manager = urllib3.ProxyManager(proxy_url, num_pools=1)
        manager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
        return manager.connection_from_host(host, url.port, url.scheme, kept)


def _mark(file: str) -> _Mark:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _trust(access: Access, origin: str) -> ssl.SSLContext:
    used = access.ca_file
    try:
        context = ssl.create_default_context(cafile=access.ca_file or None)
        if access.cert_file:
            used = f"{access.cert_file} with {access.key_file}"
            # Without a password OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(access.cert_file, access.key_file, password="")
    except (OSError, ssl.SSLError) as exc:
        raise InvalidConfig(f"{origin}: the certificates of `access` cannot be used: {used}: {exc}") from None
    return context

"""What went wrong between us and a backend, told in words that an operator can act on.

Rule: the words repeat no host, port, URL, file or secret, because whoever asks the query reads them. Who is at fault is
told apart: the backend (`Unreachable`), our credentials or certificate (`Rejected`), an answer that is none
(`Malformed`), time (`TimedOut`).
Source: RFC 8446 §6.2 for what the alerts of TLS mean; OpenSSL's verify(1) for the numbers of its verdicts.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from http.client import BadStatusLine
from typing import Final
from urllib.parse import SplitResult, urlsplit

from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from federation_core.errors import ClusterError, Malformed, Rejected, TimedOut, Unreachable

_UNTRUSTED: Final = "the backend's certificate is signed by an authority we do not trust"
_OTHER_HOST: Final = "the backend's certificate is for another host"
_VERDICTS: Final = {
    9: "the backend's certificate is not valid yet",
    10: "the backend's certificate has expired",
    18: _UNTRUSTED,
    19: _UNTRUSTED,
    20: _UNTRUSTED,
    21: _UNTRUSTED,
    23: "the backend's certificate has been revoked",
    62: _OTHER_HOST,
    64: _OTHER_HOST,
}
_NO_CERTIFICATE: Final = "the backend wants a client certificate"
_ALERTS: Final = {
    "CERTIFICATE_REQUIRED": _NO_CERTIFICATE,
    "CERTIFICATE_EXPIRED": "the backend refuses our client certificate, which has expired",
    "CERTIFICATE_REVOKED": "the backend refuses our client certificate, which has been revoked",
    "UNKNOWN_CA": "the backend refuses our client certificate, which is signed by an authority it does not trust",
    "BAD_CERTIFICATE": "the backend refuses our client certificate",
    "CERTIFICATE_UNKNOWN": "the backend refuses our client certificate",
    "UNSUPPORTED_CERTIFICATE": "the backend refuses our client certificate",
    "ACCESS_DENIED": "the backend refuses our client certificate",
}
_ALERT: Final = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_ALERT_(.+)")
_NO_TLS: Final = "the backend does not speak TLS, and its URL begins with https://"
_WANTS_TLS: Final = "the backend speaks TLS only, and its URL begins with http://"
#: How OpenSSL puts it that what came was no TLS.
_NOT_OF_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE")
#: What Go and nginx answer to plain HTTP where they speak TLS.
_SENT_PLAIN: Final = (b"HTTP request to an HTTPS server", b"plain HTTP request was sent to HTTPS port")
_TUNNEL: Final = re.compile(r"Tunnel connection failed: ([0-9]{3})")
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_SHOWN_PATH: Final = re.compile(r"/[A-Za-z0-9/_.-]{0,80}")


def fault(exc: Exception, cluster: str, *, shows_certificate: bool) -> ClusterError:
    """Return the error that an exception on the way means; `shows_certificate` says that we have one of our own."""
    causes = tuple(_causes(exc))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            words = _VERDICTS.get(cause.verify_code, "the backend's certificate cannot be verified")
            return Unreachable(words, cluster=cluster)
        if isinstance(cause, ssl.SSLError):
            return _tls_fault(cause, cluster, shows_certificate)
        if isinstance(cause, socket.gaierror):
            found = cause.errno not in (socket.EAI_NONAME, socket.EAI_NODATA)
            words = "its name cannot be looked up now" if found else "its name is not found"
            return Unreachable(f"no connection to the {_far_end(causes)}: {words}", cluster=cluster)
        if isinstance(cause, BadStatusLine) and not isinstance(cause, ConnectionError):
            # A record of TLS that holds an alert begins so.
            if str(cause.args[0]).startswith("\x15\x03"):
                return Unreachable(_WANTS_TLS, cluster=cluster)
            return Malformed("the backend does not speak HTTP", cluster=cluster)
        if isinstance(cause, OSError) and (refused := _TUNNEL.match(str(cause))):
            return _proxy_refusal(int(refused[1]), cluster)
    if isinstance(exc, ReadTimeoutError):
        return TimedOut("the backend gave no answer in time", cluster=cluster)
    if any(isinstance(cause, ConnectTimeoutError) and not isinstance(cause, NewConnectionError) for cause in causes):
        return Unreachable(f"no connection to the {_far_end(causes)}: it did not answer in time", cluster=cluster)
    if isinstance(exc, ProtocolError):
        return Malformed(f"the backend's answer broke off: {_words(causes)}", cluster=cluster)
    return Unreachable(f"no connection to the {_far_end(causes)}: {_words(causes)}", cluster=cluster)


def is_stale(exc: HTTPError) -> bool:
    """Tell whether a connection ended before the first byte of an answer, as one does that was kept for too long."""
    ends = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
    return isinstance(exc, ProtocolError | SSLError) and any(isinstance(cause, ends) for cause in _causes(exc))


def way_refused(
    status: int, headers: Mapping[str, str], body: bytes, asked: SplitResult, cluster: str
) -> ClusterError | None:
    """Return the error of an answer that no API has given, but what lies before it; None for any other answer.

    A redirect is never followed: it would lead credentials, and the query, to where nobody has configured.
    """
    if status == 407:
        return _proxy_refusal(status, cluster)
    if status in _REDIRECTS and (target := headers.get("location", "")):
        return Malformed(_redirection(target, asked), cluster=cluster)
    if status == 400 and asked.scheme == "http" and any(words in body for words in _SENT_PLAIN):
        return Unreachable(_WANTS_TLS, cluster=cluster)
    if status == 400 and b"No required SSL certificate was sent" in body:
        return Rejected(_NO_CERTIFICATE, cluster=cluster)
    if status == 400 and b"The SSL certificate error" in body:
        return Rejected(_ALERTS["BAD_CERTIFICATE"], cluster=cluster)
    return None


def _redirection(target: str, asked: SplitResult) -> str:
    try:
        to = urlsplit(target)
        there = (to.scheme or asked.scheme, to.hostname or asked.hostname, to.port if to.netloc else asked.port)
    except ValueError:
        return "the backend redirects to what is no URL"
    if there[1] != asked.hostname:
        return "the backend redirects to another host, which is not followed: is its URL right?"
    if there[0] != asked.scheme:
        return f"the backend redirects to {there[0][:5]}://, and its URL begins with {asked.scheme}://"
    if there[2] != asked.port:
        return "the backend redirects to another port, which is not followed: is its URL right?"
    path = f" to {to.path}" if _SHOWN_PATH.fullmatch(to.path) else ""
    return f"the backend redirects{path}, which is not followed: is the path of its URL right?"


def _tls_fault(exc: ssl.SSLError, cluster: str, shows_certificate: bool) -> ClusterError:
    reason = exc.reason or ""
    if reason in _NOT_OF_TLS:
        return Unreachable(_NO_TLS, cluster=cluster)
    alert = _ALERT.fullmatch(reason)
    if alert is None or alert[1] not in _ALERTS:
        maybe = ": does it want a client certificate?" if alert is not None and not shows_certificate else ""
        words = reason.replace("_", " ").lower() or "it ended"
        return Unreachable(f"TLS with the backend failed: {words}{maybe}", cluster=cluster)
    return Rejected(_ALERTS[alert[1]] if shows_certificate else _NO_CERTIFICATE, cluster=cluster)


def _proxy_refusal(status: int, cluster: str) -> ClusterError:
    if status == 407:
        return Rejected("the proxy refuses our credentials (407)", cluster=cluster)
    if status in (401, 403):
        return Rejected(f"the proxy lets nobody through to the backend ({status})", cluster=cluster)
    return Unreachable(f"the proxy finds no way to the backend ({status})", cluster=cluster)


def _far_end(causes: tuple[BaseException, ...]) -> str:
    return "proxy" if any(isinstance(cause, ProxyError) for cause in causes) else "backend"


def _words(causes: tuple[BaseException, ...]) -> str:
    """Return the reason in the words of the layer below, which repeat neither host nor object addresses."""
    last = causes[-1]
    said = last.strerror if isinstance(last, OSError) and last.strerror else ""
    return said or type(last).__name__


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those that it was made of, the innermost last."""
    while exc is not None:
        yield exc
        inner = (value for value in (getattr(exc, "original_error", None), *exc.args) if isinstance(value, Exception))
        exc = exc.__cause__ or next(inner, None)

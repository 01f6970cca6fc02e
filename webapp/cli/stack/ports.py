"""The port the API is served on, taken before anything else starts, so that it cannot be lost in between."""

from __future__ import annotations

import errno
import socket

DEFAULT_PORT = 8080
_TRIED = 50


class PortBusy(Exception):
    """Another program listens on the port that was asked for."""


def listen(host: str, port: int | None) -> socket.socket:
    """Return a listening socket on `port`; on the first free one from 8080 on if it is None.

    Raises PortBusy: in words, with what to do. OSError: the host is not an address of this machine.
    """
    wanted = [port] if port is not None else range(DEFAULT_PORT, DEFAULT_PORT + _TRIED)
    for candidate in wanted:
        try:
            return _listener(host, candidate)
        except OSError as exc:
            if exc.errno == errno.EACCES:
                raise PortBusy(f"port {candidate} needs root; give --port with a number above 1023") from None
            if exc.errno != errno.EADDRINUSE:
                raise
    if port is not None:
        raise PortBusy(
            f"port {port} is in use by another program; give another with --port,"
            " or leave --port out and the next free one is taken"
        )
    raise PortBusy(f"ports {DEFAULT_PORT} to {DEFAULT_PORT + _TRIED - 1} are all in use; give one with --port")


def address(listener: socket.socket) -> str:
    """Return the URL that a listening socket is reached by on this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # So that a server that has just ended does not keep its port for a minute.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except BaseException:
        listener.close()
        raise
    return listener

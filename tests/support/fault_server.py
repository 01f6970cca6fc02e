"""A server on the loopback interface that does to each connection what it is told, down to the bytes.

For what goes wrong below an answer: `tests/support/prometheus_replies.py` is for answers that are well formed.

    with faulty(answers(503, b"busy")) as server:
        server.url          # where it listens
        server.connections  # how many came
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.support.prometheus_replies import Reply, answering


@dataclass
class FaultServer:
    """Where it listens, and the requests that came: the bytes of their heads."""

    url: str = ""
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def wait(self, seconds: float) -> bool:
        """Wait; tell whether the server ends."""
        return self.released.wait(seconds)


Act = Callable[[socket.socket, FaultServer], None]


@contextmanager
def faulty(act: Act, tls: ssl.SSLContext | None = None) -> Iterator[FaultServer]:
    """Serve inside the block: of each connection one request's head is read, then `act` has it."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    server = FaultServer(f"{'https' if tls else 'http'}://127.0.0.1:{listening.getsockname()[1]}")

    def serve(sock: socket.socket) -> None:
        # Whatever a client does to its connection is no matter of this server's.
        with suppress(OSError), sock:
            if tls is not None:
                sock = _shake_hands(sock, tls)
            with sock:
                head = read_head(sock)
                server.heads.append(head)
                if head:
                    act(sock, server)
                _end(sock)

    def accept() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listening.accept()
                if server.released.is_set():
                    sock.close()
                    return
                server.connections += 1
                threading.Thread(target=serve, args=(sock,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        # A last connection wakes whoever accepts.
        with suppress(OSError):
            socket.create_connection(listening.getsockname(), 1).close()
        thread.join()
        listening.close()


class _Closed(ssl.SSLSocket):
    """One that is closed with the last who knows it: of a client that is gone at once the library leaves one behind."""

    def __del__(self) -> None:
        self.close()


def _shake_hands(sock: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
    tls.sslsocket_class = _Closed
    over_tls = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
    try:
        over_tls.do_handshake()
    except OSError:
        with over_tls:
            _end(over_tls)
        raise
    return over_tls


def _end(sock: socket.socket) -> None:
    """Say that nothing more comes, and read the rest: closed with something unread the connection would be reset."""
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_WR)
        sock.settimeout(1)
        # Past TLS, of which nothing more is understood here.
        while socket.socket.recv(sock, 65536):
            pass


def read_head(sock: socket.socket) -> bytes:
    """Read up to the end of a request's head; less where the connection ends before."""
    head = b""
    while b"\r\n\r\n" not in head and (more := sock.recv(65536)):
        head += more
    return head


def answers(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Act:
    """Give one whole answer and close."""
    said = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
    head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in said.items()) + "\r\n"

    def act(sock: socket.socket, server: FaultServer) -> None:
        sock.sendall(head.encode() + body)

    return act


def begins(text: bytes, then: Act) -> Act:
    """Send some bytes, then go on otherwise."""

    def act(sock: socket.socket, server: FaultServer) -> None:
        sock.sendall(text)
        then(sock, server)

    return act


def hang(sock: socket.socket, server: FaultServer) -> None:
    """Say nothing more until the server ends."""
    server.wait(60)


def reset(sock: socket.socket, server: FaultServer) -> None:
    """End the connection by a reset, as a process does that is killed."""
    server.wait(0.02)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def drip(sock: socket.socket, server: FaultServer) -> None:
    """Go on with a byte now and then."""
    while not server.wait(0.03):
        sock.sendall(b" ")


def endless(piece: bytes, *, chunked: bool = False) -> Act:
    """Send one piece again and again, as much as anybody reads."""
    sent = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece

    def act(sock: socket.socket, server: FaultServer) -> None:
        while not server.released.is_set():
            sock.sendall(sent)

    return act


@contextmanager
def refusing() -> Iterator[FaultServer]:
    """Yield the address of a server that is not there."""
    with answering(lambda _: Reply()) as gone:
        url = gone.url
    yield FaultServer(url)


class Proxy:
    """A proxy of HTTP that passes on what it is asked to, or refuses with a status; it remembers the heads."""

    def __init__(self, refuse: int = 0) -> None:
        self._refuse = refuse

    def __call__(self, sock: socket.socket, server: FaultServer) -> None:
        head = server.heads[-1]
        method, target, _ = head.split(b"\r\n", 1)[0].split(b" ")
        if self._refuse:
            answers(self._refuse, b"")(sock, server)
            return
        where = target if method == b"CONNECT" else target.split(b"/")[2]
        host, _, port = where.decode().rpartition(":")
        with socket.create_connection((host, int(port)), 5) as far:
            if method == b"CONNECT":
                sock.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                far.sendall(head)
            back = threading.Thread(target=_pass_on, args=(far, sock), daemon=True)
            back.start()
            _pass_on(sock, far)
            back.join(5)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)

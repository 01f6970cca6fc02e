"""A wide-area link for tests: a TCP proxy on loopback that delays each direction, counts bytes, and fails as told.

`python -m tests.support.wan TARGET_PORT DELAY_MS` is the proxy, which takes orders as lines of JSON on its standard
input and ends with it; `Wan` starts and steers it. A link has a mode: `ok`; `close` ends its connections and refuses
new ones; `hang` loses the bytes of every connection that is open or comes meanwhile, for ever, and tells nobody;
`stall` keeps bytes back until the link is `ok` again.

Rule: cheap, since two cores also carry everything it connects: one thread, one heap of due times, nothing per chunk
but a read, a push, a pop and a write. A connection's first bytes up come a round trip later than others, as the TCP
handshake takes. Not modelled: bandwidth, slow start, loss.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import Any

MODES = ("ok", "close", "hang", "stall")
_CHUNK = 1 << 18
#: What is due within this time is delivered now: waking up again would cost more than it is early.
_TOGETHER_S = 0.0001
#: How soon a peer whose buffer was full is offered its bytes again.
_AGAIN_S = 0.001
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Traffic:
    """What a link has carried; `ports` are those from which each of its connections reached the target."""

    up_bytes: int
    down_bytes: int
    ports: tuple[int, ...]


class Wan:
    """The proxy in front of one port, as a context manager; links are opened by name and start in mode `ok`."""

    def __init__(self, target_port: int, delay_ms: float = 40) -> None:
        self._argv = [sys.executable, "-P", "-m", "tests.support.wan", str(target_port), str(delay_ms)]

    def __enter__(self) -> Wan:
        root = Path(__file__).parents[2]
        environ = {**os.environ, "PYTHONPATH": str(root)}
        self._process = subprocess.Popen(
            self._argv, env=environ, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def open(self, link: str) -> int:
        """Open a link unless it is open; return the port it listens on."""
        port: int = self._order("open", link)
        return port

    def set_mode(self, mode: str, *links: str) -> None:
        """Change what some links do, or all of them where none is named; it has happened on return."""
        self._order("mode", mode, list(links))

    def set_delay(self, one_way_ms: float) -> None:
        """Change the delay of all links for what is sent from now on."""
        self._order("delay", one_way_ms)

    def traffic(self) -> dict[str, Traffic]:
        """Return what each link has carried since it was opened."""
        found: dict[str, tuple[int, int, list[int]]] = self._order("traffic")
        return {
            name: Traffic(up_bytes, down_bytes, tuple(ports)) for name, (up_bytes, down_bytes, ports) in found.items()
        }

    def _order(self, *order: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@dataclass(eq=False)
class _Link:
    listener: socket.socket
    mode: str = "ok"
    carried: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    ports: list[int] = field(default_factory=list)
    open: set[_Connection] = field(default_factory=set)
    #: What was due while the link stood still.
    held: list[tuple[_Way, bytes]] = field(default_factory=list)


@dataclass(eq=False)
class _Connection:
    link: _Link
    sockets: tuple[socket.socket, ...]
    dead: bool = False
    ended_ways: int = 0


@dataclass(eq=False, slots=True)
class _Way:
    """One direction of a connection; nothing of it is delivered before `earliest_s`."""

    connection: _Connection
    source: socket.socket
    target: socket.socket
    up: bool
    earliest_s: float = 0.0
    ended: bool = False
    unsent: bytes = b""


class _Proxy:
    def __init__(self, target_port: int, delay_ms: float) -> None:
        self._target = ("127.0.0.1", target_port)
        self._delay_s = delay_ms / 1000
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._links: dict[str, _Link] = {}
        self._line: list[tuple[float, int, _Way, bytes]] = []
        self._numbers = count()
        self._blocked: set[_Way] = set()
        self._orders = b""
        self._running = True

    def run(self) -> None:
        self._read_by(sys.stdin.fileno(), self._hear)
        ready = [self._epoll]
        while self._running:
            wait_s = self._line[0][0] - time.monotonic() if self._line else None
            if self._blocked:
                wait_s = _AGAIN_S
            # The poll's own timeout is in whole milliseconds.
            if wait_s is None or wait_s <= 0 or select.select(ready, (), (), wait_s)[0]:
                for number, _ in self._epoll.poll(None if wait_s is None else 0):
                    # What came first may have closed what comes next.
                    self._readers.get(number, _nothing)()
            self._deliver()

    # Bytes

    def _accept(self, link: _Link) -> None:
        client, _ = link.listener.accept()
        if link.mode == "close":
            _abort(client)
            return
        upstream: socket.socket | None = None
        if link.mode != "hang":
            try:
                upstream = socket.create_connection(self._target)
            except OSError:
                _abort(client)
                return
            link.ports.append(upstream.getsockname()[1])
        sockets = (client, upstream) if upstream else (client,)
        for end in sockets:
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(link, sockets, dead=upstream is None)
        link.open.add(connection)
        handshake_s = time.monotonic() + 3 * self._delay_s
        self._listen(_Way(connection, client, upstream or client, True, handshake_s))
        if upstream:
            self._listen(_Way(connection, upstream, client, False))

    def _listen(self, way: _Way) -> None:
        self._read_by(way.source.fileno(), lambda: self._read(way))

    def _read_by(self, number: int, reader: Callable[[], None]) -> None:
        self._readers[number] = reader
        self._epoll.register(number, select.EPOLLIN)

    def _read_no_more(self, end: socket.socket) -> None:
        if self._readers.pop(end.fileno(), None) is not None:
            self._epoll.unregister(end.fileno())

    def _read(self, way: _Way) -> None:
        try:
            data = way.source.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._read_no_more(way.source)
        connection = way.connection
        if connection.dead:
            # The other end is told nothing, not even that this one has closed.
            if way.up and not data:
                way.source.close()
            return
        connection.link.carried[way.up] += len(data)
        due_s = max(time.monotonic() + self._delay_s, way.earliest_s)
        way.earliest_s = due_s
        heappush(self._line, (due_s, next(self._numbers), way, data))

    def _deliver(self) -> None:
        until_s = time.monotonic() + _TOGETHER_S
        for way in list(self._blocked):
            self._flush(way)
        while self._line and self._line[0][0] <= until_s:
            _, _, way, data = heappop(self._line)
            link = way.connection.link
            if link.mode == "stall":
                link.held.append((way, data))
            else:
                self._hand_on(way, data)

    def _hand_on(self, way: _Way, data: bytes) -> None:
        if way.connection.dead:
            return
        way.ended = not data
        way.unsent = way.unsent + data if way.unsent else data
        self._flush(way)

    def _flush(self, way: _Way) -> None:
        self._blocked.discard(way)
        if way.connection.dead:
            return
        try:
            while way.unsent:
                way.unsent = way.unsent[way.target.send(way.unsent) :]
            if way.ended:
                way.connection.ended_ways += 1
                if way.connection.ended_ways == 2:
                    self._end(way.connection)
                else:
                    way.target.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            self._blocked.add(way)
        except OSError:
            self._end(way.connection)

    def _end(self, connection: _Connection, close: Callable[[socket.socket], None] = socket.socket.close) -> None:
        connection.dead = True
        connection.link.open.discard(connection)
        for end in connection.sockets:
            self._read_no_more(end)
            close(end)

    # Orders

    def _hear(self) -> None:
        heard = os.read(sys.stdin.fileno(), 65536)
        self._running = bool(heard)
        *orders, self._orders = (self._orders + heard).split(b"\n")
        for order in orders:
            name, *arguments = json.loads(order)
            obey: dict[str, Callable[..., Any]] = {
                "open": self._open,
                "mode": self._set_mode,
                "delay": self._set_delay,
                "traffic": self._traffic,
            }
            print(json.dumps(obey[name](*arguments)), flush=True)

    def _open(self, name: str) -> int:
        if name not in self._links:
            link = self._links[name] = _Link(socket.create_server(("127.0.0.1", 0), backlog=512))
            self._read_by(link.listener.fileno(), lambda: self._accept(link))
        port: int = self._links[name].listener.getsockname()[1]
        return port

    def _set_mode(self, mode: str, names: list[str]) -> None:
        assert mode in MODES, mode
        for link in (self._links[name] for name in names or self._links):
            link.mode = mode
            if mode == "close":
                for connection in list(link.open):
                    self._end(connection, _abort)
            if mode == "hang":
                for connection in link.open:
                    connection.dead = True
            if mode != "stall":
                held, link.held = link.held, []
                for way, data in held:
                    self._hand_on(way, data)

    def _set_delay(self, one_way_ms: float) -> None:
        self._delay_s = one_way_ms / 1000

    def _traffic(self) -> dict[str, Any]:
        return {name: (link.carried[True], link.carried[False], link.ports) for name, link in self._links.items()}


def _nothing() -> None:
    """Do nothing."""


def _abort(end: socket.socket) -> None:
    """Close with a reset, as a machine does that knows nothing of a connection."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.close()


if __name__ == "__main__":
    _Proxy(int(sys.argv[1]), float(sys.argv[2])).run()

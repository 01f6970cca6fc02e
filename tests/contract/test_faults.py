"""What can go wrong between a connector and its backend, for every kind of backend: the right error, in time, in words.

Every fault is met by every kind that has a URL, as a worker meets it. A fault costs its cluster's share and no more: it
is a `ClusterError` whose words an operator can act on, and which name no host, port, file or secret.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import threading
import zlib
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from federation_core.access import Access
from federation_core.connectors import backend_kinds
from federation_core.errors import ClusterError, Malformed, Rejected, TimedOut, TooLarge, Unreachable
from federation_core.outcome import Verdict, verdict_of
from tests.support.certificates import DAY, Authority, server_context
from tests.support.every_backend import Asked, over_http
from tests.support.fault_server import (
    Act,
    FaultServer,
    answers,
    begins,
    drip,
    endless,
    faulty,
    hang,
    refusing,
    reset,
)

pytestmark = pytest.mark.heavy

SECRET = "s3cr3t-t0ken"
#: Long enough that what ends by itself ends before; what does not is given little time.
LONG_MS, SHORT_MS = 60_000, 300
JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html; charset=utf-8"}
LOGIN = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><form action='/login'></form></body></html>"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@dataclass(frozen=True)
class Fault:
    """What a backend does, and what is made of it."""

    act: Act
    error: type[ClusterError]
    words: str
    verdict: Verdict = Verdict.FAILED
    timeout_ms: int = LONG_MS


def _in_time(act: Act) -> Fault:
    return Fault(act, TimedOut, "in time|deadline has passed", Verdict.TIMED_OUT, SHORT_MS)


FAULTS = {
    "a reset before the answer": Fault(reset, Malformed, "broke off before it began"),
    "a reset within the answer": Fault(
        begins(_HEAD + b'Content-Length: 1000\r\n\r\n{"status":', reset), Malformed, "the backend's answer broke off"
    ),
    "an end within a chunked answer": Fault(
        begins(_HEAD + b'Transfer-Encoding: chunked\r\n\r\na\r\n{"status":\r\n', lambda sock, server: None),
        Malformed,
        "the backend's answer broke off",
    ),
    "silence": _in_time(hang),
    "silence within the answer": _in_time(begins(_HEAD + b'Content-Length: 1000\r\n\r\n{"status":', hang)),
    "headers that drip": _in_time(begins(b"HTTP/1.1 200 OK\r\nX-Slow: ", drip)),
    "an answer that drips": _in_time(begins(_HEAD + b"Content-Length: 100000\r\n\r\n", drip)),
    "401": Fault(answers(401, b"go away"), Rejected, "refuses our (credentials|token)"),
    "404 of somebody else": Fault(answers(404, LOGIN, HTML), Malformed, "404"),
    "429": Fault(
        answers(429, b"slow down", {"Retry-After": "7"}), Rejected, "takes no more requests now", Verdict.THROTTLED
    ),
    "503": Fault(answers(503, b"overloaded"), Unreachable, "the backend answers 503"),
    "302 elsewhere": Fault(
        answers(302, b"", {"Location": "https://login.corp.test/?next=http://10.1.2.3:9090"}),
        Malformed,
        "redirects to another host, which is not followed: is its URL right",
    ),
    "302 to another path": Fault(
        answers(302, b"", {"Location": "/graph"}), Malformed, "redirects to /graph, .* is the path of its URL right"
    ),
    "a picture": Fault(answers(200, b"\x89PNG\r\n\x1a\n" + bytes(64), {"Content-Type": "image/png"}), Malformed, ""),
    "nothing": Fault(answers(200, b"", JSON), Malformed, ""),
    "truncated JSON": Fault(answers(200, b'{"status":"success","data":{"result":[', JSON), Malformed, ""),
    "a page to log in": Fault(answers(200, LOGIN, HTML), Malformed, ""),
    "invalid UTF-8": Fault(answers(200, b'{"status":"success","data":["\xff\xfe"]}', JSON), Malformed, ""),
    "JSON of another kind": Fault(answers(200, b"[[1, 2], null]", JSON), Malformed, ""),
    "JSON that is deeper than anybody reads": Fault(answers(200, b'{"data":' + b"[" * 200_000, JSON), Malformed, ""),
    "an encoding that is wrong": Fault(
        answers(200, b"{}", {"Content-Encoding": "gzip"}), Malformed, "cannot be decoded: it is no gzip"
    ),
    "an encoding that ends early": Fault(
        answers(200, gzip.compress(b'{"status":"success"}')[:-9], {"Content-Encoding": "gzip"}),
        Malformed,
        "cannot be decoded: its gzip ends early",
    ),
    "an encoding that nobody asked for": Fault(
        answers(200, b"{}", {"Content-Encoding": "br"}), Malformed, "cannot be decoded: nobody asked for"
    ),
    "headers without end": Fault(endless(b"X-More: 1\r\n"), Malformed, "does not speak HTTP|broke off"),
    "what is no HTTP": Fault(begins(b"220 mail.test ESMTP\r\n", hang), Malformed, "does not speak HTTP"),
    "TLS": Fault(begins(b"\x15\x03\x01\x00\x02\x02\x46", lambda sock, server: None), Unreachable, "speaks TLS only"),
}


def _server(authority: Authority, fault: str) -> AbstractContextManager[FaultServer]:
    """A server over TLS with something wrong about it."""
    fine = answers(200, b"{}", JSON)
    match fault:
        case "expired":
            cert = authority.issue("expired", "127.0.0.1", since=-2 * DAY, until=-DAY)
        case "not yet":
            cert = authority.issue("not-yet", "127.0.0.1", since=DAY, until=2 * DAY)
        case "another host":
            cert = authority.issue("other", "elsewhere.test", "10.1.2.3")
        case "unknown authority":
            cert = Authority(authority.folder / "unknown").issue("stranger", "127.0.0.1")
        case _:
            cert = authority.issue("right", "127.0.0.1")
    clients = authority.file if fault == "wants a certificate" else ""
    return faulty(fine, server_context(*cert, clients=clients))


TLS_FAULTS = {
    "expired": (Unreachable, "^the backend's certificate has expired$"),
    "not yet": (Unreachable, "^the backend's certificate is not valid yet$"),
    "another host": (Unreachable, "^the backend's certificate is for another host$"),
    "unknown authority": (Unreachable, "^the backend's certificate is signed by an authority we do not trust$"),
    "wants a certificate": (Rejected, "^the backend wants a client certificate$"),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secrets(tmp_path: Path) -> Access:
    (tmp_path / "token").write_text(SECRET)
    # VictoriaLogs has numbers for tenants, all others take any text.
    return Access(bearer_token_file=str(tmp_path / "token"), tenant="12:3")


def expect(
    asked: Asked, server: FaultServer, access: Access, error: type[ClusterError], words: str, timeout_ms: int = LONG_MS
) -> ClusterError:
    """Ask, and see that what comes is this error of this cluster, with words fit for whoever asks."""
    before = set(threading.enumerate())
    partial = asked.ask(asked.connect(server.url, access), timeout_ms)
    # A connector leaves the rest of its threads to the deadline; they are not to meet the end of the server.
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith("Thread-"):
            thread.join(10)
    found = partial.error
    assert isinstance(found, error), f"{type(found).__name__}: {found}"
    assert found.cluster == "prod"
    assert re.search(words, found.message), found.message
    said = repr(found.to_wire())
    secret = SECRET, "127.0.0.1", server.url.rpartition(":")[2], "corp.test", "10.1.2.3", "/tmp", "pytest-"
    assert [word for word in secret if word in said] == []
    assert timeout_ms == SHORT_MS or partial.elapsed_ms < timeout_ms
    return found


@pytest.mark.parametrize("asked", over_http(), ids=str)
class TestFaults:
    @pytest.mark.parametrize("name", FAULTS)
    def test_is_the_clusters_error_in_time_and_in_words(self, asked: Asked, name: str, secrets: Access) -> None:
        fault = FAULTS[name]
        with faulty(fault.act) as server:
            found = expect(asked, server, secrets, fault.error, fault.words, fault.timeout_ms)
        assert asked.signal == "inventory" or server.heads
        assert verdict_of(found) is fault.verdict
        assert getattr(found, "retry_after_s", None) == (7.0 if name == "429" else None)

    def test_a_backend_that_is_not_there_is_unreachable(self, asked: Asked, secrets: Access) -> None:
        with refusing() as server:
            expect(asked, server, secrets, Unreachable, "^no connection to the backend: Connection refused$")

    @pytest.mark.parametrize("name", TLS_FAULTS)
    def test_of_tls_the_words_say_exactly_what_is_wrong(self, asked: Asked, name: str, authority: Authority) -> None:
        error, words = TLS_FAULTS[name]
        with _server(authority, name) as server:
            expect(asked, server, Access(ca_file=authority.file), error, words)


#: Asks backends of one kind in a process of its own, whose memory is looked at: kind, signal, URLs.
_CHILD = """
import sys
from tests.support.every_backend import all_questions
from tests.support.peak_memory import peak_bytes

kind, signal, *urls = sys.argv[1:]
asked = all_questions()[kind, signal][0]
connectors, before = [asked.connect(url) for url in urls], peak_bytes()
print(*(type(asked.ask(connector, 120_000).error).__name__ for connector in connectors))
print(peak_bytes() - before)
"""
#: What an answer may come to at most is 256 MB, and it is thrown away where it is met; beside it there is little.
MOST_BYTES = 340 * 1024 * 1024


def gigabyte(head: bytes, *, chunked: bool = False) -> Act:
    return begins(head + b"\r\n", endless(b" " * (1 << 20), chunked=chunked))


def bomb() -> bytes:
    """A gigabyte of blanks in a megabyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return b"".join(packer.compress(b" " * (1 << 24)) for _ in range(64)) + packer.flush()


HUGE = {
    "a gigabyte that is announced": gigabyte(_HEAD + b"Content-Length: 1073741824\r\n"),
    "a gigabyte in chunks": gigabyte(_HEAD + b"Transfer-Encoding: chunked\r\n", chunked=True),
    "a bomb": answers(200, bomb(), {**JSON, "Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("asked", over_http(), ids=str)
def test_an_answer_without_end_ends_at_the_cap_with_bounded_memory(asked: Asked) -> None:
    with ExitStack() as opened:
        urls = [opened.enter_context(faulty(act)).url for act in HUGE.values()]
        command = [sys.executable, "-c", _CHILD, asked.kind, asked.signal, *urls]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    errors, used = done.stdout.splitlines()
    assert dict(zip(HUGE, errors.split(), strict=True)) == dict.fromkeys(HUGE, TooLarge.__name__)
    assert int(used) < MOST_BYTES


def test_every_kind_of_backend_that_has_a_url_is_here() -> None:
    # The embedded store is a folder: what can go wrong with it is in test_embedded.py.
    assert {asked.kind for asked in over_http()} == set(backend_kinds()) - {"embedded"}

"""The way to a backend: proxies, certificates that change, connections that grow old, names, what must not be sent."""

from __future__ import annotations

import gzip
import shutil
import socket
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import zstandard

from federation_core.access import Access
from federation_core.config import Backend, Cluster, RateLimit
from federation_core.connectors import http, http_exchange, http_pools
from federation_core.connectors.http import HttpClient, open_client
from federation_core.errors import ClusterError, Malformed, QueryCanceled, Rejected, TimedOut, TooLarge, Unreachable
from federation_core.query import Deadline
from tests.support.certificates import DAY, Authority, server_context
from tests.support.fault_server import FaultServer, Proxy, answers, begins, faulty, hang, reset
from tests.support.prometheus_replies import Reply, Request, answering
from workers.cancelling import ShardCancellation

FAR = Deadline(2**62)
LOOPBACK = "127.0.0.1"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def soon(ms: int = 200) -> Deadline:
    return Deadline(now_ms() + ms, now_ms)


def client(url: str, limit: RateLimit | None = None, **access: str) -> HttpClient:
    backend = Backend("metrics", "prometheus", url, origin="clusters.yaml:1", access=Access(**access))
    return open_client(Cluster("prod", "prod", (backend,), rate_limit=limit or RateLimit()), backend)


def body(opened: HttpClient, deadline: Deadline = FAR) -> bytes:
    return opened.ask("GET", "/", (), deadline).body


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


class TestEncodings:
    @pytest.mark.parametrize(
        ("encoding", "encode"), [("gzip", gzip.compress), ("zstd", zstandard.ZstdCompressor().compress)]
    )
    def test_an_answer_is_decoded_and_its_decoded_size_is_what_is_capped(self, encoding, encode) -> None:  # type: ignore[no-untyped-def]
        reply = Reply(encode(bytes(1_000_000)), headers={"Content-Encoding": encoding})
        with answering(lambda _: reply) as server:
            opened, seen = client(server.url), list[bytes]()
            assert opened.ask("GET", "/", (), FAR, watch=seen.append).body == bytes(1_000_000) == b"".join(seen)
            with pytest.raises(TooLarge):
                opened.ask("GET", "/", (), FAR, max_bytes=999_999)
            assert body(opened) == bytes(1_000_000)
        assert server.asked[0].headers["Accept-Encoding"] == "gzip, zstd"

    @pytest.mark.parametrize("encoding", ["gzip", "zstd", "br"])
    def test_an_answer_that_cannot_be_decoded_is_malformed(self, encoding: str) -> None:
        reply = Reply(b"plain", headers={"Content-Encoding": encoding})
        with answering(lambda _: reply) as server, pytest.raises(Malformed, match="cannot be decoded"):
            body(client(server.url))

    def test_what_unfolds_to_nothing_is_capped_as_well(self) -> None:
        nothing = Reply(gzip.compress(b"") * 10_000, headers={"Content-Encoding": "gzip"})
        with answering(lambda _: nothing) as server, pytest.raises(TooLarge):
            client(server.url).ask("GET", "/", (), FAR, max_bytes=100_000)


class TestProxies:
    def test_a_backend_is_reached_by_the_proxy_with_the_credentials_of_each(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("t")
        (tmp_path / "password").write_text("p")
        access = {"bearer_token_file": str(tmp_path / "token"), "proxy_username": "me"}
        with answering(lambda _: Reply(b"ok")) as server, faulty(Proxy()) as proxy:
            opened = client(
                f"{server.url}/x", proxy_url=proxy.url, proxy_password_file=str(tmp_path / "password"), **access
            )
            assert body(opened) == b"ok"
        assert proxy.heads[0].startswith(f"GET {server.url}/x/ HTTP/1.1\r\n".encode())
        assert b"Proxy-Authorization: Basic bWU6cA==" in proxy.heads[0]
        assert server.asked[0].path.endswith("/x/")

    def test_over_tls_the_proxy_sees_the_host_and_nothing_else(self, authority: Authority, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("t")
        (tmp_path / "password").write_text("p")
        tls = server_context(*authority.issue("server", LOOPBACK))
        with faulty(answers(200, b"ok"), tls) as server, faulty(Proxy()) as proxy:
            opened = client(
                server.url,
                ca_file=authority.file,
                bearer_token_file=str(tmp_path / "token"),
                proxy_url=proxy.url,
                proxy_username="me",
                proxy_password_file=str(tmp_path / "password"),
            )
            assert [body(opened), body(opened)] == [b"ok", b"ok"]
        assert b"Authorization: Bearer t" in server.heads[0]
        assert b"Proxy-Authorization" not in server.heads[0]
        assert proxy.heads[0].startswith(b"CONNECT ")
        assert b"Proxy-Authorization: Basic bWU6cA==" in proxy.heads[0]
        assert b"Bearer" not in b"".join(proxy.heads)

    def test_a_rotated_password_of_the_proxy_is_the_one_that_is_sent(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        password = tmp_path / "password"
        tls = server_context(*authority.issue("server", LOOPBACK))
        with faulty(answers(200, b"ok"), tls) as server, faulty(Proxy()) as proxy:
            more = {"proxy_url": proxy.url, "proxy_username": "me", "proxy_password_file": str(password)}
            opened = client(server.url, ca_file=authority.file, **more)
            for secret in ("old", "new"):
                password.write_text(secret)
                body(opened)
        assert [b"bWU6b2xk" in proxy.heads[0], b"bWU6bmV3" in proxy.heads[1]] == [True, True]

    @pytest.mark.parametrize("scheme", ["http", "https"])
    @pytest.mark.parametrize(
        ("status", "kind", "words"),
        [
            (407, Rejected, r"the proxy refuses our credentials \(407\)"),
            (403, Rejected, "the proxy lets nobody through|answers 403|^$"),
            (502, Unreachable, r"the proxy finds no way to the backend \(502\)|^$"),
        ],
    )
    def test_a_proxy_that_refuses_is_told_from_the_backend(
        self, scheme: str, status: int, kind: type[ClusterError], words: str
    ) -> None:
        with faulty(Proxy(refuse=status)) as proxy:
            opened = client(f"{scheme}://backend.test:1", proxy_url=proxy.url)
            if scheme == "http" and status != 407:
                # Over plain HTTP nothing tells its answer from the backend's.
                assert opened.ask("GET", "/", (), FAR).status == status
                return
            with pytest.raises(kind, match=words):
                body(opened)

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_dark_proxy_is_named_as_such(self, scheme: str) -> None:
        with faulty(hang) as gone:
            url = gone.url
        with pytest.raises(Unreachable, match="no connection to the proxy: Connection refused"):
            body(client(f"{scheme}://backend.test:1", proxy_url=url))

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_proxy_that_hangs_ends_with_the_deadline(self, scheme: str) -> None:
        with faulty(hang) as proxy, pytest.raises(TimedOut):
            body(client(f"{scheme}://backend.test:1", proxy_url=proxy.url), soon())

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_cancelled_query_ends_its_request_to_a_proxy(self, scheme: str) -> None:
        cancellation = ShardCancellation()

        def cancel(sock: socket.socket, server: FaultServer) -> None:
            cancellation.cancel()
            hang(sock, server)

        deadline = Deadline(now_ms() + 60_000, now_ms, cancellation)
        with faulty(cancel) as proxy, pytest.raises(QueryCanceled):
            body(client(f"{scheme}://backend.test:1", proxy_url=proxy.url), deadline)
        assert now_ms() < deadline.at_ms

    def test_the_environment_names_no_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        with answering(lambda _: Reply(b"ok")) as server:
            assert body(client(server.url)) == b"ok"


class TestCertificatesThatChange:
    def test_an_authority_that_is_replaced_is_the_one_that_is_trusted(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        ours, other = shutil.copy(authority.file, tmp_path / "ca.pem"), Authority(tmp_path / "other")
        tls = server_context(*other.issue("server", LOOPBACK))
        with faulty(answers(200, b"ok"), tls) as server:
            opened = client(server.url, ca_file=str(ours))
            with pytest.raises(Unreachable, match="an authority we do not trust"):
                body(opened)
            shutil.copy(other.file, tmp_path / "next.pem")
            (tmp_path / "next.pem").rename(ours)
            assert body(opened) == b"ok"

    def test_a_client_certificate_that_is_replaced_is_the_one_that_is_shown(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        tls = server_context(*authority.issue("server", LOOPBACK), clients=authority.file)
        old, new = authority.issue("old", since=-2 * DAY, until=-DAY), authority.issue("new")
        cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
        for source, target in zip(old, (cert, key), strict=True):
            shutil.copy(source, target)
        with faulty(answers(200, b"ok"), tls) as server:
            opened = client(server.url, ca_file=authority.file, cert_file=str(cert), key_file=str(key))
            with pytest.raises(Rejected, match="refuses our client certificate, which has expired"):
                body(opened)
            for source, target in zip(new, (cert, key), strict=True):
                shutil.copy(source, target)
            assert body(opened) == b"ok"

    def test_files_that_cannot_be_used_leave_the_old_ones_in_use_and_are_said_once(
        self, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        ours = Path(shutil.copy(authority.file, tmp_path / "ca.pem"))
        tls = server_context(*authority.issue("server", LOOPBACK))
        with faulty(answers(200, b"ok"), tls) as server:
            opened = client(server.url, ca_file=str(ours))
            ours.write_text("half of a certif")
            assert [body(opened), body(opened)] == [b"ok", b"ok"]
            assert ["cannot be used" in record.message for record in caplog.records] == [True]
            ours.unlink()
            assert body(opened) == b"ok"

    def test_a_request_that_is_under_way_goes_on(self, authority: Authority, tmp_path: Path) -> None:
        ours = Path(shutil.copy(authority.file, tmp_path / "ca.pem"))
        asked, go_on = threading.Event(), threading.Event()

        def slow(sock: socket.socket, server: FaultServer) -> None:
            if not asked.is_set():
                asked.set()
                go_on.wait(30)
            answers(200, b"ok")(sock, server)

        tls = server_context(*authority.issue("server", LOOPBACK))
        with faulty(slow, tls) as server:
            opened, got = client(server.url, ca_file=str(ours)), list[bytes]()
            first = threading.Thread(target=lambda: got.append(body(opened)))
            first.start()
            assert asked.wait(10)
            ours.write_bytes(ours.read_bytes() + b"\n")
            assert body(opened) == b"ok"
            go_on.set()
            first.join()
        assert got == [b"ok"]


class TestTlsInWords:
    @pytest.mark.parametrize(
        ("shown", "kind", "words"),
        [
            (None, Rejected, "^the backend wants a client certificate$"),
            ("stranger", Rejected, "refuses our client certificate, which is signed by an authority it does not trust"),
            ("expired", Rejected, "refuses our client certificate, which has expired"),
        ],
    )
    def test_what_the_backend_says_of_our_certificate(
        self, authority: Authority, tmp_path: Path, shown: str | None, kind: type[ClusterError], words: str
    ) -> None:
        tls = server_context(*authority.issue("server", LOOPBACK), clients=authority.file)
        stranger = Authority(tmp_path / "other").issue("stranger")
        expired = authority.issue("expired", since=-2 * DAY, until=-DAY)
        cert, key = {None: ("", ""), "stranger": stranger, "expired": expired}[shown]
        with faulty(answers(200, b"ok"), tls) as server, pytest.raises(kind, match=words):
            body(client(server.url, ca_file=authority.file, cert_file=cert, key_file=key))

    def test_plain_http_to_a_port_of_tls_is_said(self, authority: Authority) -> None:
        tls = server_context(*authority.issue("server", LOOPBACK))
        with faulty(answers(200, b""), tls) as server, pytest.raises(Malformed, match="does it want https://"):
            body(client(server.url.replace("https", "http")))

    @pytest.mark.parametrize(
        "said", ["Client sent an HTTP request to an HTTPS server.\n", "The plain HTTP request was sent to HTTPS port"]
    )
    def test_a_server_that_says_so_itself_is_believed(self, said: str) -> None:
        with faulty(answers(400, said.encode())) as server, pytest.raises(Unreachable, match="speaks TLS only"):
            body(client(server.url))

    def test_tls_to_a_port_of_plain_http_is_said(self) -> None:
        def plain() -> None:
            # The greeting of TLS may have no end of a head in it: the answer comes at once.
            with closing(listening.accept()[0]) as sock:
                sock.recv(65536)
                answers(400, b"")(sock, FaultServer())

        listening = socket.create_server((LOOPBACK, 0))
        thread = threading.Thread(target=plain)
        thread.start()
        with closing(listening), pytest.raises(Unreachable, match="does not speak TLS, and its URL begins with https"):
            body(client(f"https://{LOOPBACK}:{listening.getsockname()[1]}"))
        thread.join()

    def test_what_is_no_http_is_said(self) -> None:
        mail = begins(b"220 mail.test ESMTP\r\n", hang)
        with faulty(mail) as server, pytest.raises(Malformed, match="does not speak HTTP"):
            body(client(server.url), soon(5_000))


class TestConnections:
    @pytest.fixture(autouse=True)
    def nothing_but_the_deadline_ends_a_connecting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "CONNECT_S", 120.0)

    def test_a_connection_that_is_idle_for_too_long_is_not_used_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with answering(lambda _: Reply()) as server:
            opened = client(server.url)
            body(opened)
            body(opened)
            monkeypatch.setattr(http_pools, "IDLE_S", 0.0)
            body(opened)
        first, second, third = (request.connection for request in server.asked)
        assert first == second != third

    def test_connections_that_nobody_has_used_for_long_are_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        together = threading.Barrier(3, timeout=10)

        def reply(request: Request) -> Reply:
            if request.path == "/together":
                together.wait()
            return Reply()

        with answering(reply) as server:
            opened = client(server.url)
            threads = [threading.Thread(target=opened.ask, args=("GET", "/together", (), FAR)) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            kept = [one for one in opened.pools.current().pool.queue if one is not None]  # type: ignore[union-attr]
            assert [one.is_closed for one in kept] == [False] * 3
            for one in kept:
                one.idle_since_s -= 60
            body(opened)
            assert sorted(one.is_closed for one in kept) == [False, True, True]

    def test_a_reset_before_the_answer_is_tried_once_more(self) -> None:
        acts = iter([reset, answers(200, b"ok")])
        with faulty(lambda sock, server: next(acts)(sock, server)) as server:
            assert body(client(server.url)) == b"ok"
        assert server.connections == 2

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_refusal_is_not_tried_again(self, status: int) -> None:
        with faulty(answers(status, b"")) as server:
            assert client(server.url).ask("GET", "/", (), FAR).status == status
        assert server.connections == 1

    def test_a_name_that_is_not_found_is_said(self) -> None:
        with pytest.raises(Unreachable, match=r"^no connection to the backend: its name (is not found|cannot be)"):
            body(client("http://nothing.invalid"), soon(20_000))

    @pytest.mark.parametrize("ends", ["deadline", "cancelled"])
    def test_a_name_server_that_does_not_answer_is_not_waited_for(
        self, monkeypatch: pytest.MonkeyPatch, ends: str
    ) -> None:
        released, cancellation = threading.Event(), ShardCancellation()
        real = socket.getaddrinfo

        def slow(host: str, port: int, **named: int) -> object:
            if not named.get("flags"):
                released.wait(30)
            return real(host, port, **named)

        monkeypatch.setattr(http_exchange.socket, "getaddrinfo", slow)
        canceller = threading.Timer(0.1, cancellation.cancel)
        canceller.start()
        deadline = Deadline(now_ms() + (10_000 if ends == "cancelled" else 50), now_ms, cancellation)
        with pytest.raises(QueryCanceled if ends == "cancelled" else TimedOut):
            body(client("http://localhost:1"), deadline)
        assert ends == "deadline" or now_ms() < deadline.at_ms
        released.set()
        canceller.join()

    @pytest.mark.parametrize("ends", ["deadline", "cancelled"])
    def test_a_host_that_takes_no_connection_is_not_waited_for(self, ends: str) -> None:
        cancellation = ShardCancellation()
        with ExitStack() as opened:
            full = opened.enter_context(closing(socket.create_server((LOOPBACK, 0), backlog=0)))
            for _ in range(4):
                filling = opened.enter_context(closing(socket.socket()))
                filling.setblocking(False)
                filling.connect_ex(full.getsockname())
            canceller = threading.Timer(0.1, cancellation.cancel)
            canceller.start()
            deadline = Deadline(now_ms() + (10_000 if ends == "cancelled" else 50), now_ms, cancellation)
            with pytest.raises(QueryCanceled if ends == "cancelled" else TimedOut):
                body(client(f"http://{LOOPBACK}:{full.getsockname()[1]}"), deadline)
            assert ends == "deadline" or now_ms() < deadline.at_ms
            canceller.join()

    @pytest.mark.parametrize("ends", ["deadline", "cancelled"])
    def test_hands_that_are_not_shaken_are_not_waited_for(self, ends: str) -> None:
        cancellation = ShardCancellation()
        canceller = threading.Timer(0.1, cancellation.cancel)
        canceller.start()
        deadline = Deadline(now_ms() + (10_000 if ends == "cancelled" else 50), now_ms, cancellation)
        kind = QueryCanceled if ends == "cancelled" else TimedOut
        with closing(socket.create_server((LOOPBACK, 0))) as mute, pytest.raises(kind):
            body(client(f"https://{LOOPBACK}:{mute.getsockname()[1]}"), deadline)
        assert ends == "deadline" or now_ms() < deadline.at_ms
        canceller.join()


class TestWhatIsSent:
    @pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "ü", "a\x00"])
    def test_what_would_end_a_header_is_not_sent(self, value: str) -> None:
        with answering(lambda _: Reply()) as server:
            for opened, headers in ((client(server.url), {"X-Own": value}), (client(server.url, tenant=value), {})):
                with pytest.raises(Malformed, match="cannot stand in a header"):
                    opened.ask("GET", "/", (), FAR, headers=headers)
        assert server.asked == []

    @pytest.mark.parametrize("path", ["/a b", "/a\r\nX-Evil: 1", "/ü", "", "none"])
    def test_what_would_end_a_line_of_a_request_is_not_sent(self, path: str) -> None:
        with answering(lambda _: Reply()) as server, pytest.raises(Malformed, match="cannot stand in a URL"):
            client(server.url).ask("GET", path, (), FAR)
        assert server.asked == []


class TestTurns:
    def test_the_rate_limit_of_the_cluster_is_kept_at_the_backend(self) -> None:
        limit, running, most, lock = RateLimit(max_concurrent=2), 0, 0, threading.Lock()

        def reply(_: Request) -> Reply:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.01)
            with lock:
                running -= 1
            return Reply()

        with answering(reply) as server:
            two = [client(server.url, limit) for _ in range(2)]
            threads = [threading.Thread(target=body, args=(two[number % 2],)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert (len(server.asked), most) == (8, 2)

    def test_a_turn_that_would_come_too_late_is_refused_before_anything_is_sent(self) -> None:
        with answering(lambda _: Reply()) as server:
            opened = client(server.url, RateLimit(requests_per_second=0.1, burst=1))
            body(opened)
            with pytest.raises(Rejected, match="times a second") as caught:
                body(opened, soon())
        assert caught.value.retry_after_s > 1
        assert len(server.asked) == 1

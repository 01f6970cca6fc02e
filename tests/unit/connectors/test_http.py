"""HTTP to a backend: kept connections, one deadline, caps, secrets from files; over real sockets on loopback."""

from __future__ import annotations

import base64
import os
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from federation_core.access import Access
from federation_core.config import Backend, Cluster, RateLimit
from federation_core.connectors.http import HttpClient, open_client
from federation_core.errors import (
    InvalidConfig,
    Malformed,
    QueryCanceled,
    QueryTooLarge,
    TimedOut,
    TooLarge,
    Unreachable,
)
from federation_core.query import Deadline
from tests.conftest import require_program
from tests.support.prometheus_replies import Reply, Request, answering, break_off, drip, drip_headers, hang
from workers.cancelling import ShardCancellation

FAR = Deadline(2**62)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def soon(ms: int = 200) -> Deadline:
    return Deadline(now_ms() + ms, now_ms)


def client(url: str, access: Access | None = None) -> HttpClient:
    backend = Backend("metrics", "prometheus", url, origin="clusters.yaml:1", access=access or Access())
    return open_client(Cluster("prod", "prod", (backend,)), backend)


class TestRequests:
    def test_a_form_is_posted_and_fields_of_a_get_stand_in_the_url(self) -> None:
        fields = (("query", 'a{b="ü&="}'), ("match[]", "x"), ("match[]", "y"))
        with answering(lambda _: Reply(b"ok")) as server:
            for method in ("GET", "POST"):
                assert client(server.url + "/prefix/").ask(method, "/api", fields, FAR).body == b"ok"  # type: ignore[arg-type]
        assert [(r.method, r.path, r.fields) for r in server.asked] == [
            ("GET", "/prefix/api", fields),
            ("POST", "/prefix/api", fields),
        ]

    def test_a_callers_own_headers_are_sent_and_replace_none_of_ours(self) -> None:
        own = {"X-Flags": "on", "X-Scope-OrgID": "another", "User-Agent": "another"}
        with answering(lambda _: Reply()) as server:
            client(server.url, Access(tenant="team-a")).ask("GET", "/", (), FAR, headers=own)
        sent = server.asked[0].headers
        assert [sent[name] for name in own] == ["on", "team-a", "appsentry-federation"]

    def test_one_connection_serves_one_request_after_the_other(self) -> None:
        with answering(lambda _: Reply(b"x" * 1_000_000)) as server:
            opened = client(server.url)
            for _ in range(3):
                opened.ask("GET", "/", (), FAR)
        assert len({request.connection for request in server.asked}) == 1

    def test_requests_of_several_threads_have_a_connection_each(self) -> None:
        together = threading.Barrier(3, timeout=10)

        def reply(_: Request) -> Reply:
            together.wait()
            return Reply()

        with answering(reply) as server:
            opened = client(server.url)
            threads = [threading.Thread(target=opened.ask, args=("GET", "/", (), FAR)) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len({request.connection for request in server.asked}) == 3

    def test_a_kept_connection_that_was_closed_is_replaced(self) -> None:
        # The first answer does not say that the connection ends with it.
        def quietly_close(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        with answering(lambda _: Reply(act=quietly_close)) as server:
            opened = client(server.url)
            assert [opened.ask("POST", "/", (), FAR).status for _ in range(3)] == [200, 200, 200]

    def test_a_kept_connection_that_is_closed_under_the_request_is_replaced_once(self) -> None:
        quiet = Reply(act=lambda _: None)
        replies = iter([Reply(b"first"), quiet, Reply(b"second"), quiet, quiet, Reply(b"not asked")])
        with answering(lambda _: next(replies)) as server:
            opened = client(server.url)
            assert [opened.ask("POST", "/", (), FAR).body for _ in range(2)] == [b"first", b"second"]
            with pytest.raises(Malformed, match="broke off"):
                opened.ask("POST", "/", (), FAR)
        assert len(server.asked) == 5

    @pytest.mark.parametrize(
        ("target", "words"),
        [
            ("http://elsewhere.test/x", "redirects to another host, which is not followed"),
            ("//elsewhere.test/x", "redirects to another host"),
            ("http://127.0.0.1:1/x", "redirects to another port"),
            ("https://127.0.0.1/x", "redirects to https://, and its URL begins with http://"),
            ("/login?next=secret", "redirects to /login, which is not followed: is the path of its URL right"),
            ("/ü secret", "redirects, which is not followed"),
            ("http://[", "redirects to what is no URL"),
        ],
    )
    def test_a_redirect_is_not_followed_and_says_what_is_wrong(self, target: str, words: str) -> None:
        reply = Reply(status=302, headers={"Location": target})
        with answering(lambda _: reply) as server, pytest.raises(Malformed, match=words) as caught:
            client(server.url).ask("GET", "/", (), FAR)
        assert len(server.asked) == 1
        assert not re.search("elsewhere|127|secret", caught.value.message)


class TestEnds:
    @pytest.mark.parametrize("act", [hang, drip, drip_headers])
    def test_nothing_waits_longer_than_the_deadline(self, act: Callable[[BaseHTTPRequestHandler], None]) -> None:
        with answering(lambda _: Reply(act=act)) as server, pytest.raises(TimedOut):
            client(server.url).ask("GET", "/", (), soon())

    @pytest.mark.parametrize("act", [hang, drip, drip_headers])
    def test_a_cancelled_query_ends_its_request_at_once(self, act: Callable[[BaseHTTPRequestHandler], None]) -> None:
        cancellation, arrived = ShardCancellation(), threading.Event()

        def then(handler: BaseHTTPRequestHandler) -> None:
            arrived.set()
            act(handler)

        with answering(lambda _: Reply(act=then)) as server:
            canceller = threading.Thread(target=lambda: arrived.wait(10) and cancellation.cancel())
            canceller.start()
            deadline = Deadline(now_ms() + 60_000, now_ms, cancellation)
            with pytest.raises(QueryCanceled):
                client(server.url).ask("GET", "/", (), deadline)
            assert now_ms() < deadline.at_ms
            canceller.join()

    def test_a_dark_backend_is_unreachable(self) -> None:
        with answering(lambda _: Reply()) as server:
            url = server.url
        with pytest.raises(Unreachable, match="no connection to the backend: Connection refused"):
            client(url).ask("GET", "/", (), FAR)

    def test_an_answer_that_breaks_off_cannot_be_read(self) -> None:
        with answering(lambda _: Reply(act=break_off)) as server, pytest.raises(Malformed, match="broke off"):
            client(server.url).ask("GET", "/", (), FAR)

    def test_more_than_the_cap_is_not_read(self) -> None:
        with answering(lambda _: Reply(b"x" * 2_000_000)) as server:
            opened = client(server.url)
            with pytest.raises(TooLarge) as caught:
                opened.ask("GET", "/", (), FAR, max_bytes=1_000_000)
            assert (caught.value.limit, caught.value.allowed) == ("answer_bytes", 1_000_000)
            assert len(opened.ask("GET", "/", (), FAR, max_bytes=2_000_000).body) == 2_000_000

    def test_whoever_watches_may_end_it(self) -> None:
        def watch(chunk: bytes) -> None:
            raise QueryTooLarge("enough", limit="x", asked=2, allowed=1)

        with answering(lambda _: Reply(b"x")) as server, pytest.raises(QueryTooLarge):
            client(server.url).ask("GET", "/", (), FAR, watch=watch)

    @pytest.mark.parametrize("act", [hang, drip, break_off])
    def test_after_a_failure_the_next_request_is_a_new_one(self, act: Callable[[BaseHTTPRequestHandler], None]) -> None:
        replies = iter([Reply(act=act), Reply(b"fine")])
        with answering(lambda _: next(replies)) as server:
            opened = client(server.url)
            with pytest.raises((TimedOut, Malformed)):
                opened.ask("GET", "/", (), soon())
            assert opened.ask("GET", "/", (), FAR).body == b"fine"


class TestAccess:
    def test_secrets_and_tenant_are_sent(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("abc\n")
        (tmp_path / "password").write_text("se:cret")
        basic = base64.b64encode(b"me:se:cret").decode()
        with answering(lambda _: Reply()) as server:
            client(server.url, Access(bearer_token_file=str(tmp_path / "token"))).ask("GET", "/", (), FAR)
            access = Access(username="me", password_file=str(tmp_path / "password"), tenant="team-a")
            client(server.url, access).ask("GET", "/", (), FAR)
            client(server.url).ask("GET", "/", (), FAR)
        sent = [(r.headers.get("Authorization"), r.headers.get("X-Scope-OrgID")) for r in server.asked]
        assert sent == [("Bearer abc", None), (f"Basic {basic}", "team-a"), (None, None)]

    def test_a_rotated_secret_is_the_one_that_is_sent(self, tmp_path: Path) -> None:
        token = tmp_path / "token"
        with answering(lambda _: Reply()) as server:
            opened = client(server.url, Access(bearer_token_file=str(token)))
            for secret in ("old", "new"):
                token.write_text(secret)
                opened.ask("GET", "/", (), FAR)
        assert [request.headers["Authorization"] for request in server.asked] == ["Bearer old", "Bearer new"]

    def test_a_file_that_hangs_holds_no_turn(self, tmp_path: Path) -> None:
        token = tmp_path / "token"
        os.mkfifo(token)
        with answering(lambda _: Reply()) as server:
            opened = client(server.url, Access(bearer_token_file=str(token)))
            opened.pace.hold(RateLimit(max_concurrent=1), 1, 0)
            stuck = threading.Thread(target=opened.ask, args=("GET", "/", (), FAR), daemon=True)
            stuck.start()
            # It opens for writing once somebody reads it.
            writing = os.open(token, os.O_WRONLY)
            try:
                with opened.pace.turn(0.0, FAR):
                    pass
            finally:
                os.write(writing, b"abc")
                os.close(writing)
                stuck.join(10)
        assert [request.headers["Authorization"] for request in server.asked] == ["Bearer abc"]

    @pytest.mark.parametrize("secret", [None, "two\nlines", "ü"])
    def test_of_a_secret_that_cannot_be_sent_the_caller_learns_the_entry_and_the_log_the_file(
        self, tmp_path: Path, secret: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        token = tmp_path / "token"
        if secret is not None:
            token.write_text(secret)
        with answering(lambda _: Reply()) as server, pytest.raises(Unreachable, match="`bearerTokenFile`") as caught:
            client(server.url, Access(bearer_token_file=str(token))).ask("GET", "/", (), FAR)
        assert str(tmp_path) not in caught.value.message
        assert secret is None or secret not in caught.value.message
        assert [record.__dict__["file"] for record in caplog.records] == [str(token)]
        assert server.asked == []

    def test_certificates_that_cannot_be_used_are_told_at_the_start(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidConfig, match=r"clusters\.yaml:1: the certificates of `access` cannot be used"):
            client("https://127.0.0.1:1", Access(ca_file=str(tmp_path / "none.pem")))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for the loopback address, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        [
            *(require_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", cert),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


@pytest.fixture
def over_tls(certificate: tuple[str, str]) -> Iterator[str]:
    """A server over TLS that wants a certificate from its clients too; it never answers `/hang`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.load_verify_locations(certificate[0])
    context.verify_mode = ssl.CERT_REQUIRED
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/hang":
                released.wait(30)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"safe")

        def log_message(self, *args: object) -> None:
            return None

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            return None

        def get_request(self) -> tuple[ssl.SSLSocket, tuple[str, int]]:
            sock, address = super().get_request()
            try:
                return context.wrap_socket(sock, server_side=True), address
            except OSError:
                sock.close()
                raise

    listening = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"https://127.0.0.1:{listening.server_address[1]}"
    released.set()
    listening.shutdown()
    thread.join()
    listening.server_close()


class TestTls:
    def test_both_sides_show_certificates(self, over_tls: str, certificate: tuple[str, str]) -> None:
        cert, key = certificate
        opened = client(over_tls, Access(ca_file=cert, cert_file=cert, key_file=key))
        assert opened.ask("GET", "/", (), FAR).body == b"safe"

    def test_an_encrypted_key_is_refused_by_name_and_nobody_is_asked_for_its_password(
        self, certificate: tuple[str, str], tmp_path: Path
    ) -> None:
        cert, key = certificate
        locked = tmp_path / "locked.pem"
        protect = ("ec", "-in", key, "-aes256", "-passout", "pass:secret", "-out", str(locked))
        subprocess.run([require_program("openssl"), *protect], check=True, capture_output=True)
        with pytest.raises(InvalidConfig, match=re.escape(f"{cert} with {locked}: ")):
            client("https://127.0.0.1:1", Access(cert_file=cert, key_file=str(locked)))

    def test_a_backend_that_nobody_vouches_for_is_not_spoken_to(self, over_tls: str) -> None:
        with pytest.raises(Unreachable, match="signed by an authority we do not trust"):
            client(over_tls).ask("GET", "/", (), FAR)

    def test_a_cancelled_query_ends_its_request_over_tls(self, over_tls: str, certificate: tuple[str, str]) -> None:
        cert, key = certificate
        cancellation = ShardCancellation()
        opened = client(over_tls, Access(ca_file=cert, cert_file=cert, key_file=key))
        canceller = threading.Timer(0.2, cancellation.cancel)
        canceller.start()
        deadline = Deadline(now_ms() + 60_000, now_ms, cancellation)
        with pytest.raises(QueryCanceled):
            opened.ask("GET", "/hang", (), deadline)
        assert now_ms() < deadline.at_ms
        canceller.join()

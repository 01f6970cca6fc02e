"""What backends say when they refuse, in the words that reach who asks."""

from __future__ import annotations

import pytest

from federation_core.connectors.http import Answer
from federation_core.connectors.refusals import refusal, without_addresses
from federation_core.errors import Rejected


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            'Post "http://10.0.0.1:9/read": dial tcp 10.0.0.1:9: refused',
            'Post "<address>": dial tcp <address>: refused',
        ),
        ("lookup store.internal on [fd00::1]:53: no such host", "lookup <address> on <address>: no such host"),
        ("receive series from Addr: store-0.stores:10901 MinTime: 5", "receive series from Addr: <address> MinTime: 5"),
        ("s3://bucket/blocks is gone", "<address> is gone"),
        ("vmstorage-0.vmstorage.ns.svc.cluster.local.:8401 is gone", "<address> is gone"),
        (
            "failed to connect to `host=db.internal port=5432 user=x`",
            "failed to connect to `host=<address> port=5432 user=x`",
        ),
        ("host=db user=x", "host=<address> user=x"),
        (
            "x509: certificate is valid for foo.internal, loki, not bar.internal",
            "x509: certificate is valid for <address>",
        ),
        ("certificate is valid for loki, gatew", "certificate is valid for <address>"),
        ("x509: certificate is valid for 10.1.2.3, not gateway", "x509: certificate is valid for <address>"),
        ("dial unix /run/loki/x.sock: refused", "dial unix <path>: refused"),
        ("dial unix /cloudsql/a:b/x.sock: refused", "dial unix <path>: refused"),
        ("open /var/loki/chunks/1: no such file", "open <path>: no such file"),
        ("dial fd00:1::a%eth0: refused, and fd00::1, ::1", "dial <address>: refused, and <address>, <address>"),
        ("to [fe80::1%eth0]:9095, [::]:9095 and [::1]", "to <address>, <address> and <address>"),
        ("1:2:3:4:5:6:7:8 and ::ffff:10.1.2.3", "<address> and <address>"),
        ("ask loki-0.loki.internal, then b.local.", "ask <address>, then <address>."),
        ("loki.monitoring.svc/ready, *.a.corp and grafana.example.com", "<address>/ready, <address> and <address>"),
        ("lookup loki-0: i/o timeout; index lookup failed: x", "lookup <address>: i/o timeout; index lookup failed: x"),
        # Nothing of these is an address.
        ("[12:30:45], at 2026-11-24T10:30:45.123Z, x:12:30", "[12:30:45], at 2026-11-24T10:30:45.123Z, x:12:30"),
        (
            "java.net.ConnectException std::string a :: b codes.Internal an internal error, internal.",
            "java.net.ConnectException std::string a :: b codes.Internal an internal error, internal.",
        ),
        (
            'app.kubernetes.io/name, service.name, local.var, {host="web"} job:up:rate5m at /api/v1/query, 1h:5m',
            'app.kubernetes.io/name, service.name, local.var, {host="web"} job:up:rate5m at /api/v1/query, 1h:5m',
        ),
        ("parse error at line:12, col:30: status:404", "parse error at line:12, col:30: status:404"),
        ("range exceeds 24h0m0s. received start=1 end=2", "range exceeds 24h0m0s. received start=1 end=2"),
        (
            "found [2:30], [5m:30s] and 12:30:45 at 1:24 in v2.42.0",
            "found [2:30], [5m:30s] and 12:30:45 at 1:24 in v2.42.0",
        ),
        ("code = Unavailable desc = too many requests", "code = Unavailable desc = too many requests"),
    ],
)
def test_addresses_are_not_told(said: str, shown: str) -> None:
    assert without_addresses(said) == shown


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 418, 422, 429, 500, 503, 504])
def test_whatever_a_backend_refuses_with_it_tells_no_address(status: int) -> None:
    words = b"upstream http://loki-0.internal:3100/x at 10.1.2.3:3100 via ingester-0.ring:9095"
    found = refusal(Answer(status, {}, words), "prod", "Loki's API", "sum(x)").message
    assert found.endswith("upstream <address> at <address> via <address>")


def test_of_a_query_is_said_what_stands_in_it_and_no_other_address() -> None:
    words = b'unexpected "http://shop:80" near 10.1.2.3, says 10.1.2.3:9095'
    asked = '{a="http://shop:80", b="10.1.2.3"'
    wrong = refusal(Answer(400, {}, words), "prod", "Loki's API", asked)
    assert (type(wrong), wrong.message) == (
        Rejected,
        'the backend refuses the query: unexpected "http://shop:80" near 10.1.2.3, says <address>',
    )
    # Other troubles are not the query's, and nobody finds out by asking whether he has guessed a name.
    assert "shop" not in refusal(Answer(503, {}, words), "prod", "Loki's API", asked).message


@pytest.mark.parametrize(
    "piece",
    ["a", "a.", "a-", "0", "1.", ":", "::", "a:", "/", "/a", "/var/", "[", "[:", "lookup ", "host=", "a.local.", "*.",
     "certificate is valid for ", "http://", "+a", "%", " ", "é.", "f:", "f::", "wanted to match "],
)  # fmt: skip
def test_hostile_words_are_looked_through_in_bounded_time(piece: str) -> None:
    # What takes a square of its length would take hours; the pieces are what the alternatives begin with.
    text = (piece * 100_000)[:100_000]
    assert without_addresses(text + "\x00") is not None


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        ("Tue, 24 Nov 2026 10:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 09:00:00 GMT", 0.0),
        ("soon", 1.0),
        ("-1", 1.0),
        ("١", 1.0),
        ("1" * 9, 1.0),
        ("", 1.0),
    ],
)
def test_when_to_try_again_is_said_in_seconds_or_as_a_time_on_the_backends_clock(said: str, seconds: float) -> None:
    headers = {"retry-after": said, "date": "Tue, 24 Nov 2026 10:00:00 GMT"}
    found = refusal(Answer(429, headers, b""), "prod", "Loki's API")
    assert found.retry_after_s == seconds

"""What is asked of a backend behind Loki's API, and what is made of its refusals and of a network that fails.

The server here answers as it is told. What real ones answered is replayed in tests/contract/test_loki.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from federation_core.config import Backend, Cluster
from federation_core.connectors import connect
from federation_core.connectors.backends import loki_reading
from federation_core.errors import (
    ClusterError,
    InvalidConfig,
    Malformed,
    QueryCanceled,
    Rejected,
    TimedOut,
    TooLarge,
    Unreachable,
)
from federation_core.federate import run_shard
from federation_core.plan import Leaf, Shard
from federation_core.query import Deadline, TimeRange
from federation_core.tenancy import Scope
from tests.support.loki_connected import ALL, Unwired, backend_at, entries_of, fetch, loki_at, loki_over
from tests.support.loki_model import END_MS, START_MS
from tests.support.prometheus_replies import Reply, Request, answering, break_off, drip, hang
from workers.cancelling import ShardCancellation

EMPTY = {"resultType": "streams", "encodingFlags": ["categorize-labels"], "result": []}


def success(data: Any = EMPTY, **more: Any) -> Reply:
    return Reply({"status": "success", "data": data, **more})


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def soon() -> Deadline:
    return Deadline(now_ms() + 300, now_ms)


class TestRequests:
    def test_a_page_is_asked_for_in_nanoseconds_with_limit_direction_flag_and_tenant(self) -> None:
        with answering(lambda _: success()) as server:
            fetch(loki_at(server), '{a="b"} |= "ü" | x="y"', limit=20, direction="forward")
        (request,) = server.asked
        assert (request.method, request.path) == ("GET", "/loki/api/v1/query_range")
        assert dict(request.fields) == {
            "query": '{a="b"} |= "ü" | x="y"', "start": f"{START_MS}000000", "end": f"{END_MS}000000",
            "limit": "21", "direction": "forward",
        }  # fmt: skip
        assert request.headers["X-Scope-OrgID"] == "team-a"
        assert request.headers["X-Loki-Response-Encoding-Flags"] == "categorize-labels"

    def test_no_tenant_is_no_header(self) -> None:
        with answering(lambda _: success()) as server:
            fetch(loki_at(server, tenant=""), '{a="b"}')
        assert "X-Scope-OrgID" not in server.asked[0].headers

    def test_what_is_too_long_for_a_url_goes_as_a_form(self) -> None:
        text = '{a="' + "b" * 5_000 + '"}'
        with answering(lambda _: success()) as server:
            fetch(loki_at(server), text)
        assert (server.asked[0].method, server.asked[0].field("query")) == ("POST", text)

    def test_the_url_may_have_a_path(self) -> None:
        with answering(lambda _: success()) as server:
            fetch(loki_at(server.url + "/logs/"), '{a="b"}')
        assert server.asked[0].path == "/logs/loki/api/v1/query_range"

    def test_instants_that_loki_would_take_for_seconds_are_written_as_dates(self) -> None:
        unwired = Unwired(lambda _: success())
        fetch(loki_over(unwired), '{a="b"}', when=TimeRange(-5, 9_999))
        fetch(loki_over(unwired), '{a="b"}', when=TimeRange(10_000, 10**14))
        assert [(request.field("start"), request.field("end")) for request in unwired.asked] == [
            ("1970-01-01T00:00:00.000000000Z", "1970-01-01T00:00:09.999000000Z"),
            ("10000000000", "9223372036854775807"),
        ]

    def test_what_loki_says_is_told_with_its_cluster(self) -> None:
        fetched = fetch(loki_over(Unwired(lambda _: success(warnings=["querier-0.loki:9095 is gone"]))), '{a="b"}')
        assert fetched.warnings == ("cluster prod: <address> is gone",)

    def test_a_query_that_is_refused_is_told_in_words_that_stand_in_it_and_no_other_address(self) -> None:
        reply = Reply(b"parse error : 'shop:80' in http://loki-0.internal:3100", 400)
        with answering(lambda _: reply) as server, pytest.raises(Malformed, match=r"'shop:80' in <address>$"):
            fetch(loki_at(server), '{a="shop:80"}')

    def test_ping_asks_about_the_last_half_hour(self) -> None:
        with answering(lambda _: Reply({"status": "success"})) as server:
            loki_at(server).ping(Deadline(2**62, lambda: END_MS))
            loki_at(server).ping(Deadline(2**62))
        assert [(request.path, dict(request.fields)) for request in server.asked] == [
            ("/loki/api/v1/labels", {"start": f"{START_MS}000000", "end": f"{END_MS}000000"}),
            ("/loki/api/v1/labels", {}),
        ]

    def test_the_inventory_is_the_labels_names(self) -> None:
        with answering(lambda _: success(["pod", "app"])) as server:
            assert loki_at(server).inventory(Deadline(2**62)).label_names == ("app", "pod")


class TestRefusals:
    @pytest.mark.parametrize(
        ("reply", "error", "said"),
        [
            (Reply(b"no org id", 401), Rejected, r"credentials or tenant \(401\): no org id"),
            (Reply(b"", 403), Rejected, r"credentials or tenant \(403\)$"),
            (Reply(b"parse error at line 1, col 16: x", 400), Malformed, "cannot read the query: parse error at line"),
            (Reply(b"the query would read too many bytes", 400), Rejected, "refuses the query: the query would read"),
            (Reply(b"", 400), Rejected, "refuses the query$"),
            (Reply(b"404 page not found\n", 404), Malformed, "answers 404, which is none of Loki's API: 404 page"),
            (Reply(b"", 405), Malformed, "answers 405"),
            (Reply(b"so large", 413), TooLarge, "this is too large: so large"),
            (Reply(b"multiple org IDs present", 500), Unreachable, "answers 500: multiple org IDs present"),
            (Reply(b"<html>Bad Gateway", 502), Unreachable, "answers 502$"),
            (Reply(b"Starting: 7\nRunning: 12\n", 503), Unreachable, "answers 503: Starting: 7 Running: 12$"),
            (Reply(b"context deadline exceeded", 504), TimedOut, "gave up in its own time: context deadline"),
            (Reply({"error": "from a gateway"}, 502), Unreachable, "answers 502: .*from a gateway"),
            (Reply(status=302, headers={"Location": "http://127.0.0.1:1/"}), Malformed, "redirects to another port"),
            (Reply(b"<html><form>Sign in</form>"), Malformed, "not one of Loki's API$"),
            (Reply(b"plain", headers={"Content-Type": "text/plain"}), Malformed, "not one of Loki's API$"),
            (Reply(b'{"status":"success","data":{"resultType":"str'), Malformed, "not one of Loki's API$"),
            (Reply(b'{"status":"success","data":"\xff\xfe"}'), Malformed, "not one of Loki's API"),
            (Reply(b'{"status":"success","data":"\\ud800"}'), Malformed, "not one of Loki's API"),
            (Reply(b"[]"), Malformed, "not one of Loki's API"),
            (Reply(b""), Malformed, "not one of Loki's API"),
            (Reply({"status": "error", "error": "half"}), Malformed, "not one of Loki's API$"),
            (success(None), Malformed, "not one of log lines: it has no streams"),
            (success({"resultType": "matrix", "result": []}), Malformed, "not one of log lines: it has no streams"),
            (success(warnings=7), Malformed, "warnings of the answer are no list"),
        ],
    )  # fmt: skip
    def test_each_has_its_error(self, reply: Reply, error: type[ClusterError], said: str) -> None:
        with answering(lambda _: reply) as server, pytest.raises(error, match=said) as caught:
            fetch(loki_at(server), '{a="b"}')
        assert (type(caught.value), caught.value.cluster) == (error, "prod")

    def test_when_to_ask_again_is_kept(self) -> None:
        reply = Reply(b"too many outstanding requests", 429, {"Retry-After": "7"})
        with answering(lambda _: reply) as server, pytest.raises(Rejected, match="too many outstanding") as caught:
            fetch(loki_at(server), '{a="b"}')
        assert caught.value.retry_after_s == 7

    def test_words_without_end_are_cut(self) -> None:
        with pytest.raises(Unreachable) as caught:
            fetch(loki_over(Unwired(lambda _: Reply(b"x" * 1_000_000, 500))), '{a="b"}')
        assert len(caught.value.message) < 600

    @pytest.mark.parametrize(
        ("path", "reply", "said"),
        [
            ("labels", success([1]), "label names are no list of texts"),
            ("labels", success({"a": "b"}), "label names are no list of texts"),
            ("series", success([["a"]]), "streams are no list of label sets"),
            ("series", success(7), "streams are no list of label sets"),
            ("series", Reply(b"<html>"), "not one of Loki's API"),
        ],
    )
    def test_what_every_stream_takes_is_read_as_strictly(self, path: str, reply: Reply, said: str) -> None:
        def replied(request: Request) -> Reply:
            return reply if request.path.endswith(path) else success(["a", "b"])

        with pytest.raises(Malformed, match=said):
            fetch(loki_over(Unwired(replied)), "{}")


class TestFaults:
    @pytest.mark.parametrize("act", [hang, drip])
    def test_nothing_waits_longer_than_the_deadline(self, act: Callable[[BaseHTTPRequestHandler], None]) -> None:
        with answering(lambda _: Reply(act=act)) as server, pytest.raises(TimedOut):
            fetch(loki_at(server), '{a="b"}', deadline=soon())

    def test_all_pages_share_one_deadline(self) -> None:
        def reply(request: Request) -> Reply:
            # Pages without end, and no line that is wanted.
            end_ns = int(request.field("end"))
            values = [[str(end_ns - n), "x", {}] for n in range(1, int(request.field("limit")) + 1)]
            return success(EMPTY | {"result": [{"stream": {}, "values": values}]})

        with answering(reply) as server, pytest.raises(TimedOut):
            fetch(loki_at(server), '{a="b"} |= "never"', limit=10, deadline=soon())
        assert len(server.asked) > 3

    def test_a_dark_backend_is_unreachable(self) -> None:
        with answering(lambda _: success()) as server:
            url = server.url
        for ask in (lambda: fetch(loki_at(url), '{a="b"}'), lambda: loki_at(url).ping(Deadline(2**62))):
            with pytest.raises(Unreachable, match="Connection refused"):
                ask()

    def test_an_answer_that_breaks_off_cannot_be_read(self) -> None:
        with answering(lambda _: Reply(act=break_off)) as server, pytest.raises(Malformed, match="broke off"):
            fetch(loki_at(server), '{a="b"}')

    def test_more_than_the_cap_is_not_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(loki_reading, "PAGES_BYTES", 100_000)
        with answering(lambda _: Reply(b" " * 1_000_000)) as server, pytest.raises(TooLarge) as caught:
            fetch(loki_at(server), '{a="b"}')
        assert (caught.value.limit, caught.value.allowed) == ("answer_bytes", 100_000)

    def test_a_cancelled_query_ends_its_request(self) -> None:
        cancellation = ShardCancellation()

        def cancelled(handler: BaseHTTPRequestHandler) -> None:
            cancellation.cancel()
            hang(handler)

        with answering(lambda _: Reply(act=cancelled)) as server, pytest.raises(QueryCanceled):
            fetch(loki_at(server), '{a="b"}', deadline=Deadline(now_ms() + 60_000, now_ms, cancellation))

    def test_a_server_that_stops_at_its_own_limit_is_partial(self) -> None:
        values = [["1795470000000000000", str(n), {}] for n in range(5_000)]
        data = EMPTY | {"result": [{"stream": {"a": "b"}, "values": values}]}
        leaf = Leaf("entries", '{a="b"}', ALL, 5_000)
        shard = Shard("q", "prod", "logs", (leaf,), Scope("t", {"prod": ()}), 2**62)
        partial = run_shard(shard, loki_over(Unwired(lambda _: success(data))), lambda: 0)
        assert "5000 lines or more at one nanosecond" in partial.truncated
        assert partial.payloads is not None
        assert len(partial.payloads["entries"].entries) == 5_000


class TestConfiguration:
    @pytest.mark.parametrize(
        ("backend", "said"),
        [
            (Backend("logs", "loki", path="/x", origin="clusters.yaml:7"), "a loki backend needs `url`"),
            (Backend("metrics", "loki", url="http://x", origin="clusters.yaml:7"), "holds no metrics, only logs"),
            (backend_at("http://x", pushdown="off"), "`pushdown` is for metrics"),
        ],
    )
    def test_what_cannot_work_is_told_with_its_place(self, backend: Backend, said: str) -> None:
        with pytest.raises(InvalidConfig, match=rf"clusters\.yaml:7: .*{said}"):
            connect(Cluster("prod", "e", (backend,)), backend)

    def test_opening_connects_nothing(self) -> None:
        with answering(lambda _: success()) as server:
            assert entries_of(fetch(loki_at(server), '{a="b"} != ""')).entries == ()
            assert server.asked == []

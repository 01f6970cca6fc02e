"""What is asked of a backend behind Prometheus' API, and what is made of its answers and refusals.

The server here answers as it is told; real ones are asked in tests/contract/test_prometheus.py.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from federation_core.config import Backend, Cluster
from federation_core.connectors import connect
from federation_core.connectors.backends.prometheus import Prometheus
from federation_core.connectors.backends.prometheus_api import SampleCap
from federation_core.connectors.backends.prometheus_engine import dialect_of
from federation_core.errors import (
    FederationError,
    Malformed,
    QueryExecutionError,
    QueryTooLarge,
    Rejected,
    TimedOut,
    Unreachable,
    UnsupportedQuery,
)
from federation_core.labels import CLUSTER, NAME, Labels, Matcher, MatchOp, Selector
from federation_core.plan import Leaf, Shard
from federation_core.query import Deadline, TimeRange
from federation_core.signals.metrics import KIND
from federation_core.signals.metrics.dialect import Dialect
from federation_core.signals.metrics.frame import Frame, SampleColumns
from federation_core.tenancy import Limits
from tests.support.prometheus_replies import (
    PROMETHEUS_2,
    PROMETHEUS_3,
    RepliesServer,
    Reply,
    Request,
    answering,
    failure,
    hang,
    success,
)
from tests.support.sample_store import FAR_DEADLINE, scope_of

AT = TimeRange(60_125, 60_125)
RANGE = TimeRange(0, 120_500, 60_000)
SCOPE = scope_of(["prod"])
Answering = Callable[[Request], Reply]


def connector(server: RepliesServer, pushdown: str = "exact") -> Prometheus:
    backend = Backend("metrics", "prometheus", url=server.url, origin="clusters.yaml:1", pushdown=pushdown)
    opened = connect(Cluster("prod", "e", (backend,)), backend)
    assert isinstance(opened, Prometheus)
    return opened


def vector(*rows: tuple[dict[str, str], str], at_s: float = 60.125) -> dict[str, Any]:
    return {"resultType": "vector", "result": [{"metric": m, "value": [at_s, v]} for m, v in rows]}


def matrix(*rows: tuple[dict[str, str], Sequence[tuple[float, str]]]) -> dict[str, Any]:
    return {
        "resultType": "matrix",
        "result": [{"metric": m, "values": [list(p) for p in points]} for m, points in rows],
    }


def backend_of(
    build: Any = PROMETHEUS_2, query: Answering = lambda _: success(vector()), values: Sequence[str] = ()
) -> Answering:
    """A backend: what it says it is, what it answers to queries, and what values of `cluster` it has."""

    def reply(request: Request) -> Reply:
        if request.path == "/api/v1/status/buildinfo":
            return build if isinstance(build, Reply) else success(build)
        if request.path.startswith("/api/v1/label/"):
            return success(list(values))
        return query(request)

    return reply


def run(server: RepliesServer, *texts: str, asked: TimeRange = AT, pushdown: str = "exact") -> dict[str, Any]:
    leaves = tuple(Leaf("abcdef"[i], text, asked) for i, text in enumerate(texts))
    shard = Shard("q", "prod", "metrics", leaves, SCOPE, FAR_DEADLINE.at_ms)
    return {leaf: f.payload for leaf, f in KIND.run(connector(server, pushdown), shard, FAR_DEADLINE).items()}


class TestRequests:
    def test_an_instant_keeps_its_milliseconds(self) -> None:
        with answering(lambda _: success(vector(({"a": "1"}, "5")))) as server:
            frame = connector(server).fetch(Leaf("a", "x", AT), SCOPE, FAR_DEADLINE).payload
        assert isinstance(frame, Frame)
        assert (frame.labels, frame.values.tolist()) == ((Labels.of({"a": "1"}),), [[5.0]])
        (request,) = server.asked
        assert (request.method, request.path, request.field("time")) == ("POST", "/api/v1/query", "60.125")

    def test_a_range_is_asked_on_its_grid(self) -> None:
        with answering(lambda _: success(matrix(({"a": "1"}, [(60, "NaN")])))) as server:
            frame = connector(server).fetch(Leaf("a", "x", RANGE), SCOPE, FAR_DEADLINE).payload
        assert isinstance(frame, Frame)
        assert frame.present.tolist() == [[False, True, False]]
        (request,) = server.asked
        times = [request.field(name) for name in ("start", "end", "step")]
        assert (request.path, times) == ("/api/v1/query_range", ["0.000", "120.500", "60.000"])

    def test_the_backend_is_told_how_long_anybody_waits_and_to_leave_nothing_out(self) -> None:
        with answering(lambda _: success(vector())) as server:
            deadline = Deadline(time.time_ns() // 1_000_000 + 30_000, lambda: time.time_ns() // 1_000_000)
            connector(server).fetch(Leaf("a", "x", AT), SCOPE, deadline)
        (request,) = server.asked
        assert 20 < float(request.field("timeout")) <= 30
        named = ("lookback_delta", "partial_response", "deny_partial_response", "max_source_resolution")
        assert [request.field(name) for name in named] == ["300.000", "0", "1", "0s"]

    def test_leaves_of_a_shard_are_asked_at_once(self) -> None:
        together = threading.Barrier(2, timeout=10)

        def reply(request: Request) -> Reply:
            together.wait()
            return success(vector() if request.path.endswith("query") else matrix())

        leaves = [Leaf("a", "x", AT), Leaf("b", "x", RANGE)]
        with answering(reply) as server:
            assert len(connector(server).fetch_all(leaves, SCOPE, FAR_DEADLINE)) == 2

    def test_what_a_backend_says_is_told_with_its_cluster(self) -> None:
        with answering(lambda _: success(vector(), warnings=["store gone"], infos=["PromQL info: x"])) as server:
            fetched = connector(server).fetch(Leaf("a", "x", AT), SCOPE, FAR_DEADLINE)
        assert fetched.warnings == ("cluster prod: store gone", "PromQL info: x")


class TestSamples:
    def test_they_are_those_of_the_window_whatever_its_edges_are_there(self) -> None:
        points = [(0.125, "1"), (30, "2"), (60.125, "3"), (60.126, "4")]
        with answering(lambda _: success(matrix(({"a": "1"}, points), ({"a": "2"}, points[:1])))) as server:
            found = connector(server).fetch(Leaf("a", "x[1m]", AT), SCOPE, FAR_DEADLINE).payload
        assert isinstance(found, SampleColumns)
        assert (found.labels, found.t_ms.tolist()) == ((Labels.of({"a": "1"}),), [30_000, 60_125])

    def test_a_time_that_is_there_twice_counts_once(self) -> None:
        points = [(30, "1"), (30, "2"), (40, "3")]
        with answering(lambda _: success(matrix(({"a": "1"}, points), ({"a": "2"}, [(40, "4")])))) as server:
            found = connector(server).fetch(Leaf("a", "x[1m]", AT), SCOPE, FAR_DEADLINE).payload
        assert isinstance(found, SampleColumns)
        assert (found.t_ms.tolist(), found.values.tolist()) == ([30_000, 40_000, 40_000], [2.0, 3.0, 4.0])

    def test_where_a_backend_has_no_other_nan_it_is_a_stale_marker(self) -> None:
        points = matrix(({"a": "1"}, [(30, "1"), (40, "NaN")]))
        for headers, stale in (({}, [False, False]), ({"X-Server-Hostname": "vm"}, [False, True])):
            build = Reply({"status": "success", "data": {}}, headers=headers)
            with answering(backend_of(build, lambda _: success(points))) as server:
                found = connector(server).fetch(Leaf("a", "x[1m]", AT), SCOPE, FAR_DEADLINE).payload
            assert isinstance(found, SampleColumns)
            assert found.stale.tolist() == stale

    @pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
    def test_samples_are_counted_in_whatever_pieces_they_come(self, size: int) -> None:
        text = b'{"metric":{"a":"tricky \\"]\\"]","b":"[1,\\"2\\"]"},"values":[[1,"2"],[3,"4"]],"value":[5,"6"]}'
        cap = SampleCap("prod", "max_samples", 2)

        def count() -> None:
            for start in range(0, len(text), size):
                cap(text[start : start + size])

        with pytest.raises(QueryTooLarge) as caught:
            count()
        assert caught.value.asked == 3

    def test_more_than_the_limit_is_not_read_to_its_end(self) -> None:
        limits = Limits(max_samples=2, max_values=1)
        points = [(10, "1"), (20, "1"), (30, "1")]
        with answering(lambda _: success(matrix(({"a": "1"}, points)))) as server:
            for leaf, limit in ((Leaf("a", "x[1m]", AT), "max_samples"), (Leaf("a", "x", RANGE), "max_values")):
                with pytest.raises(QueryTooLarge) as caught:
                    connector(server).fetch(leaf, scope_of(["prod"], limits), FAR_DEADLINE)
                assert caught.value.limit == limit

    @pytest.mark.parametrize("key", ["histogram", "histograms"])
    def test_native_histograms_are_refused_by_name(self, key: str) -> None:
        data = {"resultType": "vector", "result": [{"metric": {}, key: [1, {}]}]}
        with answering(lambda _: success(data)) as server, pytest.raises(UnsupportedQuery, match="native histograms"):
            connector(server).fetch(Leaf("a", "x", AT), SCOPE, FAR_DEADLINE)


class TestRefusals:
    @pytest.mark.parametrize(
        ("reply", "error", "said"),
        [
            (failure(422, "execution", "many-to-many matching"), QueryExecutionError, "many-to-many matching"),
            (failure(422, "execution", "query processing would load too many samples"), Rejected, "too many samples"),
            (failure(422, "execution", "it exceeded the maximum (err-mimir-max-chunks)"), Rejected, "err-mimir"),
            (failure(422, "execution", "expanding series: rpc error: code = Aborted"), Rejected, "expanding series"),
            (failure(422, "execution", 'duplicate series {a="limit exceeded"}'), QueryExecutionError, "duplicate"),
            (failure(422, "422", "cannot evaluate"), Rejected, "cannot evaluate"),
            (failure(503, "timeout", "query timed out"), TimedOut, "query timed out"),
            (failure(503, "canceled", "x"), Unreachable, "answers 503: x"),
            (failure(500, "internal", "disk"), Unreachable, "answers 500: disk"),
            (failure(400, "bad_data", "parse error"), Malformed, "answers 400: parse error"),
            (failure(429, "bad_data", "at gw.ns:80"), Rejected, "no more requests now: at <address>$"),
            (failure(413, "bad_data", "at 10.1.2.3"), Rejected, "too large for the backend: at <address>$"),
            (failure(400, "bad_data", "what is a:80"), Malformed, "answers 400: what is a:80$"),
            (failure(401, "", ""), Rejected, "refuses our credentials"),
            (failure(403, "", ""), Rejected, "refuses our credentials"),
            (failure(413, "", ""), Rejected, "too large"),
            (Reply(b"<html>", 404), Malformed, "answers 404, which is none"),
            (Reply(b"<html>", 502), Unreachable, "answers 502"),
            (Reply(b"", 504), TimedOut, "gave up"),
            (Reply(b"<html>"), Malformed, "not one of Prometheus' API"),
            (Reply(b"[]"), Malformed, "not one of Prometheus' API"),
            (Reply(status=302), Malformed, "answers 302"),
            (success(None), Malformed, "not an answer"),
            (success([]), Malformed, "not an answer"),
            (success(matrix()), Malformed, "an instant with a range"),
            (success(vector(({}, "1"), at_s=1)), Malformed, "not on the grid"),
            (success(vector(({}, "one"))), Malformed, "not an answer"),
        ],
    )  # fmt: skip
    def test_each_has_its_error(self, reply: Reply, error: type[FederationError], said: str) -> None:
        with answering(lambda _: reply) as server, pytest.raises(error, match=said) as caught:
            connector(server).fetch(Leaf("a", "x", AT), SCOPE, FAR_DEADLINE)
        assert type(caught.value) is error
        assert caught.value.cluster == "prod"

    def test_when_to_ask_again_is_kept(self) -> None:
        reply = Reply(b"", 429, {"Retry-After": "7"})
        with answering(lambda _: reply) as server, pytest.raises(Rejected) as caught:
            connector(server).fetch(Leaf("a", "x", AT), SCOPE, FAR_DEADLINE)
        assert caught.value.retry_after_s == 7

    def test_the_engines_own_error_comes_before_that_of_a_backend_in_trouble(self) -> None:
        def reply(request: Request) -> Reply:
            many = request.path.endswith("query_range")
            return failure(422, "execution", "many-to-many") if many else failure(500, "internal", "x")

        leaves = [Leaf("a", "x", AT), Leaf("b", "y", RANGE)]
        with answering(reply) as server, pytest.raises(QueryExecutionError):
            connector(server).fetch_all(leaves, SCOPE, FAR_DEADLINE)

    def test_the_engines_own_error_waits_for_no_other_leaf(self) -> None:
        waited = threading.Event()

        def hang_and_tell(handler: BaseHTTPRequestHandler) -> None:
            hang(handler)
            waited.set()

        def reply(request: Request) -> Reply:
            many = request.path.endswith("query_range")
            return failure(422, "execution", "many-to-many") if many else Reply(act=hang_and_tell)

        leaves = [Leaf("a", "x", AT), Leaf("b", "y", RANGE)]
        with answering(reply) as server:
            with pytest.raises(QueryExecutionError):
                connector(server).fetch_all(leaves, SCOPE, FAR_DEADLINE)
            assert not waited.is_set()

    @pytest.mark.parametrize("said", [b"5", b'"x"', b'{"a":1}'])
    def test_warnings_that_are_no_list_are_malformed(self, said: bytes) -> None:
        reply = Reply(b'{"status":"success","warnings":' + said + b',"data":{"resultType":"vector","result":[]}}')
        with answering(lambda _: reply) as server, pytest.raises(Malformed, match="warnings"):
            connector(server).fetch(Leaf("a", "x", AT), SCOPE, FAR_DEADLINE)

    def test_a_backend_that_warns_can_answer(self) -> None:
        warned = success(vector(({}, "1"), at_s=0), warnings=["a", "b"])
        with answering(lambda _: warned) as server:
            connector(server).ping(FAR_DEADLINE)

    def test_a_backend_that_hangs_is_given_up_at_the_deadline(self) -> None:
        deadline = Deadline(time.time_ns() // 1_000_000 + 300, lambda: time.time_ns() // 1_000_000)
        shard = Shard("q", "prod", "metrics", (Leaf("a", "x", AT), Leaf("b", "x", RANGE)), SCOPE, deadline.at_ms)
        with answering(backend_of(query=lambda _: Reply(act=hang))) as server, pytest.raises(TimedOut):
            KIND.run(connector(server), shard, deadline)


class TestEngine:
    @pytest.mark.parametrize(
        ("build", "engine", "exact", "on_grids"),
        [
            (PROMETHEUS_2, "Prometheus", True, True),
            (PROMETHEUS_3 | {"version": "v3.1.0-rc.1"}, "Prometheus", True, True),
            ({"version": "0.36.1", "goVersion": "go1.22"}, "Thanos", True, True),
            ({"application": "Grafana Mimir", "version": "2.14.0", "goVersion": "go1.22"}, "Mimir", True, True),
            # What only speaks the API names a release of Prometheus, or none.
            ({"version": "2.24.0"}, "unknown", False, True),
            ({}, "unknown", False, True),
            ({"version": "", "goVersion": "go1.22"}, "unknown", False, True),
            ({"application": "Another", "version": "2.0.0", "goVersion": "go1.22"}, "unknown", False, True),
            ("text", "unknown", False, True),
        ],
    )
    def test_it_is_what_the_build_says(self, build: Any, engine: str, exact: bool, on_grids: bool) -> None:
        found = dialect_of(build)
        assert (found.engine, found.exact, found.on_grids, found.nan_is_stale) == (engine, exact, on_grids, False)

    @pytest.mark.parametrize("build", [{}, {"version": "2.24.0"}, None])
    def test_victoria_metrics_is_known_by_its_header(self, build: Any) -> None:
        found = dialect_of(build, {"x-server-hostname": "vm-0"})
        assert found == Dialect("VictoriaMetrics", nan_is_stale=True)

    def test_it_is_asked_once(self) -> None:
        with answering(backend_of()) as server:
            opened = connector(server)
            assert {opened.dialect(FAR_DEADLINE).version for _ in range(3)} == {(2, 42)}
        assert len(server.asked) == 1

    @pytest.mark.parametrize("status", [404, 405, 403])
    def test_one_that_does_not_tell_evaluates_nothing_but_selectors(self, status: int) -> None:
        with answering(backend_of(Reply(b"", status))) as server:
            run(server, "sum(x)")
        assert server.queries() == ["x"]

    def test_one_that_cannot_be_reached_is_the_clusters_error(self) -> None:
        with answering(backend_of(Reply(b"", 502))) as server, pytest.raises(Unreachable):
            run(server, "sum(x)")


class TestRungs:
    def test_an_engine_of_prometheus_is_given_the_leaf(self) -> None:
        with answering(backend_of(query=lambda _: success(vector(({}, "7"))))) as server:
            frame = run(server, "sum(rate(x[5m]))")["a"]
        assert server.queries() == ["sum by (cluster) (rate(x[5m]))"]
        assert frame.values.tolist() == [[7.0]]

    @pytest.mark.parametrize("build", [{"version": "2.24.0"}, {}, {"version": "main-abc", "goVersion": "go1.22"}])
    def test_an_engine_that_is_not_known_is_asked_where_series_are(self, build: Any) -> None:
        # Its raw samples would not tell where a series has ended.
        with answering(backend_of(build, lambda _: success(vector(({NAME: "x", "a": "1"}, "3"))))) as server:
            frame = run(server, "sum(x)")["a"]
        assert server.queries() == ["x"]
        assert frame.values.tolist() == [[3.0]]

    def test_victoria_metrics_is_asked_for_raw_samples(self) -> None:
        build = Reply({"status": "success", "data": {}}, headers={"X-Server-Hostname": "vm-0"})
        with answering(backend_of(build, lambda _: success(matrix(({NAME: "x", "a": "1"}, [(60, "3")]))))) as server:
            frame = run(server, "sum(x)")["a"]
        assert server.queries() == ["x[5m]"]
        assert frame.values.tolist() == [[3.0]]

    def test_pushdown_off_is_selectors_and_samples_only(self) -> None:
        def query(request: Request) -> Reply:
            raw = "[" in request.field("query")
            return success(matrix(({NAME: "x"}, [(60, "3")])) if raw else vector(({NAME: "x"}, "3")))

        with answering(backend_of(query=query)) as server:
            run(server, "sum(x) + count(count_over_time(x[1m]))", pushdown="off")
        assert sorted(server.queries()) == ["x", "x[1m]"]

    def test_approximate_says_so_with_every_answer(self) -> None:
        with answering(backend_of({"version": "2.24.0"})) as server:
            leaf = Leaf("a", "sum(rate(x[5m]))", AT)
            shard = Shard("q", "prod", "metrics", (leaf,), SCOPE, FAR_DEADLINE.at_ms)
            fetched = KIND.run(connector(server, "approximate"), shard, FAR_DEADLINE)["a"]
        assert server.queries() == ["sum by (cluster) (rate(x[5m]))"]
        assert fetched.warnings == ("cluster prod: unknown has evaluated by its own rules: approximate",)

    @pytest.mark.parametrize("pushdown", ["exact", "off"])
    def test_more_series_than_the_scope_allows_are_refused(self, pushdown: str) -> None:
        rows = vector(*(({NAME: "x", "a": str(number)}, "1") for number in range(11)))
        shard = Shard("q", "prod", "metrics", (Leaf("a", "x", AT),), scope_of(["prod"], Limits(max_series=10)), 10**15)
        with answering(backend_of(query=lambda _: success(rows))) as server, pytest.raises(QueryTooLarge) as caught:
            KIND.run(connector(server, pushdown), shard, FAR_DEADLINE)
        assert (caught.value.limit, caught.value.asked, caught.value.allowed) == ("max_series", 11, 10)

    def test_functions_are_spelled_as_the_backend_does(self) -> None:
        with answering(backend_of()) as server:
            run(server, "double_exponential_smoothing(x[5m], 0.5, 0.5)")
        assert server.queries() == ["holt_winters(x[5m], 0.5, 0.5)"]

    @pytest.mark.parametrize(
        ("build", "text"),
        [
            (PROMETHEUS_2, "mad_over_time(x[5m])"), (PROMETHEUS_3, "mad_over_time(x[5m])"),
            (PROMETHEUS_2, "ts_of_max_over_time(x[5m])"),
            (PROMETHEUS_3, "double_exponential_smoothing(x[5m], 0.5, 0.5)"),
            (PROMETHEUS_2 | {"version": "2.20.0"}, "rate(x[5m] @ 60)"),
        ],
    )  # fmt: skip
    def test_what_a_release_may_not_know_is_not_tried(self, build: Any, text: str) -> None:
        with answering(backend_of(build, lambda _: success(matrix()))) as server:
            run(server, text)
        assert server.queries() == ["x[5m]"]

    def test_an_engine_that_cannot_read_the_leaf_leaves_the_next_rung(self) -> None:
        def query(request: Request) -> Reply:
            if "sgn" in request.field("query"):
                return failure(400, "bad_data", 'parse error: unknown function with name "sgn"')
            return success(vector(({NAME: "x", "a": "1"}, "-3")))

        with answering(backend_of(query=query)) as server:
            assert run(server, "sgn(x)")["a"].values.tolist() == [[-1.0]]
        assert server.queries() == ["sgn(x)", "x"]

    def test_one_that_cannot_read_a_selector_either_is_malformed(self) -> None:
        refusing = backend_of(query=lambda _: failure(400, "bad_data", "no"))
        with answering(refusing) as server, pytest.raises(Malformed, match="answers 400: no"):
            run(server, "sum(x)")

    def test_more_steps_than_one_query_may_have_are_several(self) -> None:
        def query(request: Request) -> Reply:
            return success(matrix(({NAME: "x"}, [(float(request.field("end")), "1")])))

        week = 7 * 86_400_000
        with answering(backend_of(query=query)) as server:
            frame = run(server, "count_over_time(x[1w:30s])", asked=TimeRange(week, week), pushdown="off")["a"]
        assert frame.values.tolist() == [[2.0]]
        times = [(float(r.field("start")), float(r.field("end"))) for r in server.asked if r.path.endswith("_range")]
        assert sorted(times) == [(30.0, 330_030.0), (330_060.0, 604_800.0)]


class TestTheLabelCluster:
    def test_what_was_found_is_remembered_for_the_same_series_and_nearly_the_same_time(self) -> None:
        with answering(backend_of()) as server:
            opened = connector(server)
            for end_ms in (600_001, 600_002, 1_200_000, 1_200_001):
                assert opened.is_cluster_free([Selector((Matcher(NAME, MatchOp.EQ, "x"),))], 0, end_ms, FAR_DEADLINE)
        assert [request.field("end") for request in server.asked] == ["1200.000", "1800.000"]

    def test_the_conditions_of_the_leaf_are_those_that_are_asked_with(self) -> None:
        with answering(backend_of(values=["prod"])) as server:
            run(server, 'sum(x{namespace="shop"}) / sum(y{namespace="shop"})')
        asked = [(r.path, [v for n, v in r.fields if n == "match[]"]) for r in server.asked if "/label/" in r.path]
        assert asked == [
            ("/api/v1/label/cluster/values", ['x{namespace="shop"}', 'y{namespace="shop"}']),
            ("/api/v1/label/__name__/values", ['x{namespace="shop",cluster=""}', 'y{namespace="shop",cluster=""}']),
        ]

    @pytest.mark.parametrize("build", [PROMETHEUS_2, {}, Reply(b"", 404)], ids=["pushed", "samples", "selectors"])
    def test_nothing_is_asked_without_them(self, build: Any) -> None:
        def query(request: Request) -> Reply:
            return success(matrix() if re.match(r"[^(]*\[", request.field("query")) else vector())

        with answering(backend_of(build, query, ["prod"])) as server:
            run(server, 'sum(x{ns="a"}) / sum(rate(y{ns="a"}[5m])) or absent(timestamp(z{ns="a"}))')
        asked = [value for r in server.asked for name, value in r.fields if name in ("query", "match[]")]
        assert len(asked) >= 2
        for text in asked:
            assert len(re.findall(r"\b[xyz]\b", text)) == text.count('ns="a"') > 0

    @pytest.mark.parametrize("text", ['sum(x{exported_cluster="eu"})', "count by (exported_cluster) (x)"])
    def test_a_leaf_that_names_what_is_made_here_is_not_pushed(self, text: str) -> None:
        with answering(backend_of()) as server:
            run(server, text)
        assert server.queries() == ["x"]

    def test_a_backend_that_does_not_tell_is_not_trusted_with_leaves(self) -> None:
        def reply(request: Request) -> Reply:
            refused = "/label/" in request.path
            return failure(400, "bad_data", "x") if refused else backend_of()(request)

        with answering(reply) as server:
            run(server, "sum(x)")
        assert server.queries() == ["x"]

    def test_it_is_moved_aside_in_whatever_comes(self) -> None:
        with answering(backend_of(query=lambda _: success(vector(({NAME: "x", CLUSTER: "prod"}, "1"))))) as server:
            assert run(server, "x")["a"].labels == (Labels.of({NAME: "x"}),)

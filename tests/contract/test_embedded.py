"""The embedded store keeps the contract of a connector, for every signal, on telemetry that came in over OTLP."""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest

from federation_core import federate, tenancy
from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, Fetched, connect
from federation_core.connectors.backends import embedded
from federation_core.connectors.otlp import Ingest
from federation_core.connectors.stores.segments import SegmentStore
from federation_core.connectors.stores.segments_read import SegmentReader
from federation_core.errors import ClusterError, InvalidConfig, QueryCanceled, TimedOut, Unreachable
from federation_core.labels import NAME, Labels, Matcher, MatchOp
from federation_core.plan import Leaf, Shard
from federation_core.query import Deadline, Direction, TimeRange
from federation_core.signals import kind_named
from federation_core.signals.logs.payload import Entries
from federation_core.signals.metrics.frame import STALE_BITS, SampleColumns
from federation_core.signals.traces.payload import FoundTraces, SpanKind, SpanStatus, TracePart
from federation_core.tenancy import Limits, Scope
from tests.support.otlp_requests import (
    T0_MS,
    attributes,
    gauge,
    log,
    logs,
    metrics,
    point,
    resource,
    span,
    traces,
)
from workers.cancelling import ShardCancellation

SIGNALS = ("metrics", "traces", "logs", "inventory")
FOREVER = Deadline(2**62)
OPEN = Scope("t", {"prod": ()})
WEB, ORDERS = resource("web"), resource("orders", namespace="payments")


def cluster_at(path: Path) -> Cluster:
    backends = tuple(Backend(signal, "embedded", path=str(path), origin="clusters.yaml:1") for signal in SIGNALS)
    return Cluster("prod", "prod", backends)


def connector(path: Path, signal: str) -> Connector:
    cluster = cluster_at(path)
    backend = cluster.backend_for(signal)
    assert backend is not None
    return connect(cluster, backend)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two traces, a few log lines and samples, written in several segments."""
    folder = tmp_path_factory.mktemp("stores") / "prod"
    with SegmentStore(folder, cluster="prod") as store:
        ingest = Ingest(store, lag_ms=0)
        ingest.add(metrics(WEB, gauge("depth", point(1.0, at_s=10), point(2.0, at_s=20), point(3.0, at_s=30))))
        ingest.add(metrics(WEB, gauge("depth", point(at_s=40, flags=1))))
        ingest.add(metrics(ORDERS, gauge("depth", point(9.0, at_s=30))))
        ingest.add(metrics(ORDERS, gauge("height", point("NaN", at_s=30))))
        ingest.add(
            traces(
                (WEB, [span(1, 1, end_s=5, name="GET /cart", kind=2), span(1, 2, 1, end_s=4, name="call", kind=3)]),
                (
                    ORDERS,
                    [
                        span(
                            1, 3, 2, end_s=4, duration_s=0.5, name="POST /orders", kind=2,
                            status={"code": 2, "message": "no stock"}, attributes=attributes({"http.status": 500}),
                            events=[{"timeUnixNano": str(T0_MS * 1_000_000), "name": "exception"}],
                            links=[{"traceId": f"{7:032x}", "spanId": f"{8:016x}"}],
                        )
                    ],
                ),
            )
        )  # fmt: skip
        ingest.flush(T0_MS)
        ingest.add(traces((WEB, [span(2, 1, end_s=60, name="GET /cart", kind=2)])))
        ingest.add(
            logs(
                (WEB, [log("cart opened", at_s=1), log("pay now", at_s=2), log("pay again", at_s=2)]),
                (ORDERS, [log("no stock for x", at_s=3, severityText="ERROR", traceId=f"{1:032x}",
                              attributes=attributes({"order.id": 17}))]),
            )
        )  # fmt: skip
        ingest.flush()
    return folder


def asked(
    path: Path,
    signal: str,
    text: str,
    *,
    from_s: float = 0,
    to_s: float = 100,
    limit: int = 0,
    direction: Direction = "backward",
    scope: Scope = OPEN,
) -> Fetched:
    time_range = TimeRange(T0_MS + round(from_s * 1000), T0_MS + round(to_s * 1000))
    return connector(path, signal).fetch(Leaf("l", text, time_range, limit, direction), scope, FOREVER)


def raw(path: Path, text: str, at_s: float, scope: Scope = OPEN) -> dict[Labels, list[tuple[float, float]]]:
    found = asked(path, "metrics", text, from_s=at_s, to_s=at_s, scope=scope).payload
    assert isinstance(found, SampleColumns)
    times, values = (found.t_ms - T0_MS) / 1000, found.values
    return {
        labels: list(zip(times[a:b].tolist(), values[a:b].tolist(), strict=True))
        for labels, a, b in zip(found.labels, found.offsets[:-1].tolist(), found.offsets[1:].tolist(), strict=True)
    }


class TestMetrics:
    def test_the_window_is_open_at_its_start_and_closed_at_its_end(self, path: Path) -> None:
        (samples,) = raw(path, 'depth{service="web"}[20s]', 30).values()
        assert samples == [(20, 2.0), (30, 3.0)]

    def test_a_series_carries_all_its_labels(self, path: Path) -> None:
        (labels,) = raw(path, 'depth{service="orders"}[1m]', 30)
        assert labels == Labels.of(
            {NAME: "depth", "service": "orders", "namespace": "payments", "pod": "orders-0", "job": "orders",
             "instance": "orders-0"}
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("text", "services"),
        [
            ('depth{service=~"w.*"}[1m]', {"web"}), ('depth{service!="web"}[1m]', {"orders"}),
            ('depth{service!~"w.*|orders"}[1m]', set()), ('depth{absent=""}[1m]', {"web", "orders"}),
            ('{__name__=~"de.*",namespace="shop"}[1m]', {"web"}), ("other[1m]", set()),
        ],
    )  # fmt: skip
    def test_matchers_choose_series(self, path: Path, text: str, services: set[str]) -> None:
        assert {labels.get("service") for labels in raw(path, text, 30)} == services

    def test_an_offset_looks_into_the_past(self, path: Path) -> None:
        (samples,) = raw(path, 'depth{service="web"}[20s] offset 30s', 60).values()
        assert samples == [(20, 2.0), (30, 3.0)]

    def test_a_stale_marker_and_a_nan_keep_their_bits(self, path: Path) -> None:
        stale = asked(path, "metrics", 'depth{service="web"}[10s]', from_s=40, to_s=40).payload
        nan = asked(path, "metrics", "height[1m]", from_s=40, to_s=40).payload
        assert stale.values.view(np.uint64).tolist() == [STALE_BITS]
        assert nan.values.view(np.uint64).tolist() == [struct.unpack("<Q", struct.pack("<d", float("nan")))[0]]

    def test_derived_metrics_are_there_like_any_other(self, path: Path) -> None:
        found = raw(path, 'traces_service_graph_request_total{server="orders"}[5m]', 60)
        assert {labels.get("client"): samples[-1][1] for labels, samples in found.items()} == {"web": 1}

    def test_what_exceeds_the_samples_allowed_arrives_one_above_the_limit(self, path: Path) -> None:
        small = Scope("t", {"prod": ()}, limits=Limits(max_samples=2))
        assert asked(path, "metrics", "depth[1m]", from_s=40, to_s=40, scope=small).payload.sample_count == 3

    def test_a_sample_written_twice_counts_once(self, tmp_path: Path) -> None:
        with SegmentStore(tmp_path) as store:
            ingest = Ingest(store)
            for _ in range(2):
                ingest.add(metrics(WEB, gauge("x", point(1.0, at_s=10))))
                ingest.flush()
        assert list(raw(tmp_path, "x[1m]", 30).values()) == [[(10, 1.0)]]

    def test_the_watermark_is_the_newest_telemetry(self, path: Path) -> None:
        assert asked(path, "metrics", "other[1m]").watermark_ms == T0_MS + 60_000


class TestTraces:
    def test_a_trace_comes_with_all_its_spans_whatever_the_time_asked(self, path: Path) -> None:
        part = asked(path, "traces", f"{1:032x}", from_s=5000, to_s=5000).payload
        assert isinstance(part, TracePart)
        assert [s.span_id for s in part.spans] == [f"{n:016x}" for n in (3, 2, 1)]

    def test_a_span_is_kept_whole(self, path: Path) -> None:
        (found,) = (s for s in asked(path, "traces", f"{1:032x}").payload.spans if s.service == "orders")
        assert (found.operation, found.kind, found.namespace, found.pod) == (
            "POST /orders", SpanKind.SERVER, "payments", "orders-0",
        )  # fmt: skip
        assert (found.status, found.status_message, found.duration_ns) == (SpanStatus.ERROR, "no stock", 500_000_000)
        assert found.attributes == {"http.status": 500}
        assert found.resource["k8s.pod.name"] == "orders-0"
        assert [event.name for event in found.events] == ["exception"]
        assert [(link.trace_id, link.span_id) for link in found.links] == [(f"{7:032x}", f"{8:016x}")]

    def test_an_unknown_trace_is_an_empty_part(self, path: Path) -> None:
        assert asked(path, "traces", f"{99:032x}").payload == TracePart(f"{99:032x}")

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("{ }", [2, 1]), ('{ service = "orders" }', [1]), ('{ service =~ "w.*" }', [2, 1]),
            ('{ name != "GET /cart" }', [1]), ('{ namespace = "payments" && duration > 400ms }', [1]),
            ("{ duration > 1s }", []), ("{ status = error }", [1]), ("{ kind = client }", [1]),
            ("{ span.http.status = 500 }", [1]), ("{ span.http.status != 500 }", []),
            ('{ resource.service.instance.id = "web-0" }', [2, 1]), ('{ statusMessage =~ "no.*" }', [1]),
            ('{ name =~ "nothing" }', []), ('{ service = "" }', []),
        ],
    )  # fmt: skip
    def test_a_search_finds_traces_newest_first(self, path: Path, text: str, found: list[int]) -> None:
        payload = asked(path, "traces", text, limit=10).payload
        assert isinstance(payload, FoundTraces)
        assert [int(part.trace_id, 16) for part in payload.parts] == found
        assert not payload.more

    def test_a_found_trace_has_also_the_spans_that_do_not_match(self, path: Path) -> None:
        (part,) = asked(path, "traces", "{ status = error }", limit=10).payload.parts
        assert len(part.spans) == 3

    def test_a_limit_says_that_there_are_more(self, path: Path) -> None:
        payload = asked(path, "traces", "{ }", limit=1, direction="forward").payload
        assert [int(part.trace_id, 16) for part in payload.parts] == [1]
        assert payload.more

    def test_a_search_keeps_to_spans_that_start_in_its_time(self, path: Path) -> None:
        assert asked(path, "traces", "{ }", from_s=6, to_s=59, limit=5).payload.parts == ()
        assert len(asked(path, "traces", "{ }", from_s=59.9, to_s=59.901, limit=5).payload.parts) == 1


class TestLogs:
    def lines(self, path: Path, text: str, **more: Any) -> list[str]:
        payload = asked(path, "logs", text, **more).payload
        assert isinstance(payload, Entries)
        return [entry.line for entry in payload.entries]

    def test_entries_come_newest_first_or_oldest_first(self, path: Path) -> None:
        newest = ["no stock for x", "pay again", "pay now", "cart opened"]
        assert self.lines(path, "{}", limit=10) == newest
        assert self.lines(path, "{}", limit=10, direction="forward") == newest[::-1]

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ('{service="web"} |= "pay"', ["pay again", "pay now"]), ('{service="web"} != "pay"', ["cart opened"]),
            ('{service=~".+"} |~ "^(no|cart)"', ["no stock for x", "cart opened"]),
            ('{level="error"}', ["no stock for x"]), ('{namespace="shop"} !~ "pay"', ["cart opened"]),
            ('{} | trace_id=~"0*1"', ["no stock for x"]), ('{} | order_id="17"', ["no stock for x"]),
            ('{} | trace_id=~"0*2"', []), ('{service="none"}', []), ('{} |= "%" ', []),
        ],
    )  # fmt: skip
    def test_streams_and_filters_choose_entries(self, path: Path, text: str, found: list[str]) -> None:
        assert self.lines(path, text, limit=10) == found

    def test_an_entry_has_its_streams_labels_and_its_own_metadata(self, path: Path) -> None:
        (entry,) = asked(path, "logs", '{service="orders"}').payload.entries
        assert entry.labels == Labels.of(
            {"service": "orders", "namespace": "payments", "pod": "orders-0", "instance": "orders-0", "level": "error"}
        )
        assert entry.metadata == Labels.of({"trace_id": f"{1:032x}", "order_id": "17"})

    def test_a_limit_within_one_nanosecond_keeps_the_order_of_arrival(self, path: Path) -> None:
        payload = asked(path, "logs", '{service="web"}', from_s=2, limit=1).payload
        assert ([entry.line for entry in payload.entries], payload.more) == (["pay again"], True)
        assert self.lines(path, '{service="web"}', from_s=2, limit=1, direction="forward") == ["pay now"]

    def test_the_end_of_the_range_is_outside(self, path: Path) -> None:
        assert self.lines(path, "{}", from_s=1, to_s=2) == ["cart opened"]

    def test_no_limit_means_as_much_as_the_tenant_may_see_and_says_more(self, path: Path) -> None:
        payload = asked(path, "logs", "{}", scope=Scope("t", {"prod": ()}, limits=Limits(max_entries=3))).payload
        assert (len(payload.entries), payload.more) == (3, True)


class TestEverySignal:
    def test_the_inventory_lists_services_pods_metrics_labels_and_time(self, path: Path) -> None:
        found = connector(path, "inventory").inventory(FOREVER)
        assert found.services == {("shop", "web"): ("web-0",), ("payments", "orders"): ("orders-0",)}
        assert {"depth", "http_requests_total", "log_records_total"} <= set(found.metric_names)
        assert {"namespace", "le", "client"} <= set(found.label_names)
        assert found.newest_ms == T0_MS + 60_000
        assert found.oldest_ms is not None
        assert found.oldest_ms <= T0_MS + 1000

    @pytest.mark.parametrize("signal", SIGNALS)
    def test_a_passed_deadline_is_a_timeout_that_names_the_cluster(self, path: Path, signal: str) -> None:
        with pytest.raises(TimedOut) as caught:
            connector(path, signal).ping(Deadline(0))
        assert caught.value.cluster == "prod"

    @pytest.mark.parametrize(("signal", "text"), [("metrics", "x[1m]"), ("traces", "{ }"), ("logs", "{}")])
    def test_without_a_store_the_cluster_is_unreachable(self, tmp_path: Path, signal: str, text: str) -> None:
        with pytest.raises(Unreachable, match="no embedded store") as caught:
            asked(tmp_path / "none", signal, text)
        assert caught.value.cluster == "prod"

    @pytest.mark.parametrize(("signal", "text"), [("metrics", "x[1m]"), ("traces", "{ }"), ("logs", "{}")])
    def test_where_a_store_lies_is_for_the_log(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, signal: str, text: str
    ) -> None:
        for manifest in (None, b"{", b'{"format": 99}'):
            if manifest is not None:
                (tmp_path / "manifest.json").write_bytes(manifest)
            with pytest.raises(ClusterError) as caught:
                asked(tmp_path, signal, text)
            assert str(tmp_path) not in f"{caught.value.to_wire()}"
        assert {str(tmp_path) in record.why for record in caplog.records} == {True}

    def test_a_backend_without_a_path_is_a_mistake_with_its_place(self) -> None:
        backend = Backend("metrics", "embedded", origin="clusters.yaml:7")
        with pytest.raises(InvalidConfig, match=r"clusters\.yaml:7: .*needs `path`"):
            connect(Cluster("prod", "prod", (backend,)), backend)

    @pytest.mark.parametrize(("signal", "text"), [("metrics", "depth"), ("traces", "{ }"), ("logs", "{}")])
    def test_a_tenants_conditions_hold_through_a_whole_shard(self, path: Path, signal: str, text: str) -> None:
        """As a worker runs it: enforced text, verified, fetched, redacted."""
        scope = Scope("t", {"prod": (Matcher("namespace", MatchOp.EQ, "payments"),)})
        start_ms, end_ms = (T0_MS + 30_000,) * 2 if signal == "metrics" else (T0_MS, T0_MS + 90_000)
        time_range = TimeRange(start_ms, end_ms)
        leaf = Leaf("l", tenancy.enforce(kind_named(signal), text, scope, "prod"), time_range, 10)
        shard = Shard("q", "prod", signal, (leaf,), scope, 2**62)
        partial = federate.run_shard(shard, connector(path, signal), lambda: T0_MS)
        assert partial.error is None
        payload = partial.payloads["l"]
        if signal == "metrics":
            assert {labels.get("namespace") for labels in payload.labels} == {"payments"}
        elif signal == "traces":
            assert [(t.services, len(t.spans)) for t in payload.traces] == [(("orders",), 1)]
        else:
            assert [entry.line for entry in payload.entries] == ["no stock for x"]

    def test_six_threads_may_ask_at_once(self, path: Path) -> None:
        answers: list[int] = []

        def ask() -> None:
            for _ in range(10):
                answers.append(asked(path, "metrics", "depth[1m]", from_s=40, to_s=40).payload.sample_count)
                answers.append(len(asked(path, "logs", "{}").payload.entries))
                answers.append(len(asked(path, "traces", f"{1:032x}").payload.spans))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == sorted([5, 4, 3] * 60)


def test_a_cancelled_query_ends_in_the_middle_of_a_statement(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, cancellation = Event(), ShardCancellation()

    def endless(reader: SegmentReader, *_: Any) -> Fetched:
        began.set()
        statement = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE (a.range * b.range) % 7 = 3"
        return reader.attempt(lambda _: Fetched(list(reader.rows(statement))))

    monkeypatch.setitem(embedded._FETCH, "metrics", endless)  # type: ignore[arg-type]

    def cancel_until_it_ends() -> None:
        began.wait()
        while not ended.wait(0.05):
            cancellation.cancel()

    ended = Event()
    canceller = Thread(target=cancel_until_it_ends)
    canceller.start()
    leaf = Leaf("a", "depth[1m]", TimeRange(0, 60_000))
    with pytest.raises(QueryCanceled):
        connector(path, "metrics").fetch(leaf, OPEN, Deadline(2**62, cancellation=cancellation))
    ended.set()
    canceller.join()
    assert connector(path, "logs").inventory(FOREVER).services

"""What counts as an entry span, and what an entry span counts."""

from __future__ import annotations

import json
from pathlib import Path

from federation_core.connectors.otlp import Ingest
from federation_core.connectors.stores.segments import SegmentStore
from tests.support.otlp_requests import T0_MS, log, logs, resource, samples_of, span, totals_of, traces

REQUESTS = "http_requests_total"
EDGES = "traces_service_graph_request_total"


def test_a_root_counts_as_a_request_and_makes_no_edge(ingest: Ingest, path: Path) -> None:
    ingest.add(traces((resource("web"), [span(1, 1, name="GET /cart")])))
    ingest.flush()
    assert list(samples_of(path, REQUESTS)) == [
        '{"namespace":"shop","operation":"GET /cart","pod":"web-0","service":"web"}'
    ]
    assert samples_of(path, EDGES) == {}


def test_a_child_in_the_same_instance_does_not_count(ingest: Ingest, path: Path) -> None:
    ingest.add(traces((resource("web"), [span(1, 1), span(1, 2, 1, name="render")])))
    ingest.flush()
    assert totals_of(path, REQUESTS, "operation") == {("GET /",): 1}


def test_a_child_in_another_pod_counts_and_makes_an_edge(ingest: Ingest, path: Path) -> None:
    ingest.add(traces((resource("web"), [span(1, 1)]), (resource("orders"), [span(1, 2, 1)])))
    ingest.flush()
    assert totals_of(path, REQUESTS, "service") == {("web",): 1, ("orders",): 1}
    assert totals_of(path, EDGES, "client", "server") == {("web", "orders"): 1}


def test_a_call_between_two_services_of_one_pod_counts_without_an_edge(ingest: Ingest, path: Path) -> None:
    ingest.add(
        traces((resource("web", pod="p-0", instance="a"), [span(1, 1)]),
               (resource("proxy", pod="p-0", instance="b"), [span(1, 2, 1)]))
    )  # fmt: skip
    ingest.flush()
    assert totals_of(path, REQUESTS, "service") == {("web",): 1, ("proxy",): 1}
    assert samples_of(path, EDGES) == {}


def test_pods_of_equal_name_in_two_namespaces_are_two_pods(ingest: Ingest, path: Path) -> None:
    ingest.add(
        traces((resource("web", pod="p-0", namespace="a"), [span(1, 1)]),
               (resource("web", pod="p-0", namespace="b"), [span(1, 2, 1)]))
    )  # fmt: skip
    ingest.flush()
    assert totals_of(path, EDGES, "client", "server") == {("web", "web"): 1}


def test_a_parent_that_is_in_no_batch_is_remote(ingest: Ingest, path: Path) -> None:
    ingest.add(traces((resource("orders"), [span(1, 2, 99)])))
    ingest.flush()
    assert totals_of(path, EDGES, "client", "server") == {("(remote)", "orders"): 1}
    assert totals_of(path, REQUESTS, "service") == {("orders",): 1}


def test_children_may_come_before_their_parents_in_any_order(store: SegmentStore, path: Path) -> None:
    ingest = Ingest(store, lag_ms=0)
    ingest.add(traces((resource("stock"), [span(1, 3, 2, end_s=1)])))
    ingest.spill()
    ingest.add(traces((resource("orders"), [span(1, 2, 1, end_s=2)])))
    ingest.spill()
    ingest.add(traces((resource("web"), [span(1, 1, end_s=3)])))
    ingest.flush()
    assert totals_of(path, EDGES, "client", "server") == {("web", "orders"): 1, ("orders", "stock"): 1}


def test_an_internal_span_waits_for_its_parent_while_live(ingest: Ingest, path: Path) -> None:
    """Its parent is surely of the same process and ends later; judged at once it would be counted as a request."""
    ingest.add(traces((resource("web"), [span(1, 2, 1, end_s=1, kind=1, name="render")])))
    ingest.flush(T0_MS + 30_000)
    ingest.add(traces((resource("web"), [span(1, 1, end_s=31, kind=2, name="GET /slow")])))
    ingest.flush(T0_MS + 60_000)
    assert totals_of(path, REQUESTS, "operation") == {("GET /slow",): 1}


def test_an_internal_span_waits_a_minute_and_then_counts_as_called_from_elsewhere(ingest: Ingest, path: Path) -> None:
    ingest.add(traces((resource("web"), [span(1, 2, 1, end_s=1, kind=1)])))
    ingest.flush(T0_MS + 45_000)
    assert totals_of(path, EDGES, "client") == {}
    ingest.flush(T0_MS + 90_000)
    assert totals_of(path, EDGES, "client") == {("(remote)",): 1}


def test_a_server_span_without_its_parent_is_remote_when_its_step_closes(ingest: Ingest, path: Path) -> None:
    ingest.add(traces((resource("orders"), [span(1, 2, 99, kind=2)])))
    ingest.flush(T0_MS + 15_000)
    assert totals_of(path, EDGES, "client") == {("(remote)",): 1}


def test_a_span_sent_twice_counts_and_is_kept_once(ingest: Ingest, path: Path) -> None:
    for _ in range(2):
        ingest.add(traces((resource("web"), [span(1, 1)])))
        ingest.flush(T0_MS + 15_000)
    ingest.flush()
    assert totals_of(path, REQUESTS) == {(): 1}
    assert (ingest.report.spans, ingest.report.duplicates) == (1, 1)


def test_a_span_sent_again_after_a_restart_counts_once(path: Path) -> None:
    for _ in range(2):
        with SegmentStore(path) as store:
            ingest = Ingest(store)
            ingest.add(traces((resource("web"), [span(1, 1)])))
            ingest.flush()
    assert totals_of(path, REQUESTS) == {(): 1}
    assert ingest.report.duplicates == 1


def test_two_spans_that_share_an_id_and_differ_both_count(ingest: Ingest, path: Path) -> None:
    ingest.add(traces((resource("web"), [span(1, 1)]), (resource("orders"), [span(1, 1, name="POST /")])))
    ingest.flush()
    assert totals_of(path, REQUESTS, "service") == {("web",): 1, ("orders",): 1}


def test_a_parent_stored_before_a_restart_is_found(path: Path) -> None:
    with SegmentStore(path) as store:
        first = Ingest(store, lag_ms=0)
        first.add(traces((resource("web"), [span(1, 1, end_s=1)])))
        first.flush(T0_MS)
    with SegmentStore(path) as store:
        second = Ingest(store, lag_ms=0)
        second.add(traces((resource("orders"), [span(1, 2, 1, end_s=2)])))
        second.flush()
    assert totals_of(path, EDGES, "client", "server") == {("web", "orders"): 1}


def test_a_span_that_waits_for_its_parent_goes_on_waiting_after_a_restart(path: Path) -> None:
    with SegmentStore(path) as store:
        first = Ingest(store, lag_ms=0)
        first.add(traces((resource("orders"), [span(1, 2, 1, end_s=1)])))
        first.flush(T0_MS)
    with SegmentStore(path) as store:
        second = Ingest(store, lag_ms=0)
        second.add(traces((resource("web"), [span(1, 1, end_s=2)])))
        second.flush()
    assert totals_of(path, EDGES, "client", "server") == {("web", "orders"): 1}


def test_cumulative_counts_survive_a_restart(path: Path) -> None:
    for run in range(3):
        with SegmentStore(path) as store:
            ingest = Ingest(store, lag_ms=0)
            ingest.add(traces((resource("web"), [span(run + 1, 1, end_s=1 + 15 * run)])))
            ingest.flush(T0_MS + 15_000 * (run + 1))
    (values,) = samples_of(path, REQUESTS).values()
    assert values == [(0, 0), (15, 1), (30, 2), (45, 3)]


def test_errors_are_counted_for_requests_and_edges(ingest: Ingest, path: Path) -> None:
    failed = {"status": {"code": 2, "message": "no stock"}}
    ingest.add(traces((resource("web"), [span(1, 1)]), (resource("orders"), [span(1, 2, 1, **failed)])))
    ingest.flush()
    assert totals_of(path, "http_requests_errors_total", "service") == {("web",): 0, ("orders",): 1}
    assert totals_of(path, "traces_service_graph_request_failed_total", "server") == {("orders",): 1}


def test_durations_fall_into_buckets_that_include_their_bound(ingest: Ingest, path: Path) -> None:
    spans = [span(1, 1, duration_s=0.1), span(2, 2, duration_s=0.100000001), span(3, 3, duration_s=11)]
    ingest.add(traces((resource("web"), spans)))
    ingest.flush()
    buckets = {
        bound: count for (bound,), count in totals_of(path, "http_request_duration_seconds_bucket", "le").items()
    }
    assert (buckets["0.05"], buckets["0.1"], buckets["0.25"], buckets["10"], buckets["+Inf"]) == (0, 1, 2, 2, 3)
    assert totals_of(path, "http_request_duration_seconds_count") == {(): 3}
    assert totals_of(path, "http_request_duration_seconds_sum") == {(): 11.200000001}


def test_an_edge_has_the_callees_duration(ingest: Ingest, path: Path) -> None:
    ingest.add(traces((resource("web"), [span(1, 1)]), (resource("orders"), [span(1, 2, 1, duration_s=0.25)])))
    ingest.flush()
    assert totals_of(path, "traces_service_graph_request_server_seconds_sum", "client", "server") == {
        ("web", "orders"): 0.25
    }


def test_log_records_are_counted_by_service_and_level_alone(ingest: Ingest, path: Path) -> None:
    ingest.add(
        logs(
            (resource("web", pod="web-0"), [log("a"), log("b", severityText="ERROR")]),
            (resource("web", pod="web-1"), [log("c")]),
        )
    )
    ingest.flush()
    found = {
        tuple(sorted(json.loads(text).items())): v[-1][1] for text, v in samples_of(path, "log_records_total").items()
    }
    assert found == {(("level", "info"), ("service", "web")): 2, (("level", "error"), ("service", "web")): 1}


def test_logs_imported_after_traces_of_the_same_time_lie_in_their_own_steps(path: Path) -> None:
    with SegmentStore(path) as store:
        first = Ingest(store)
        first.add(traces((resource("web"), [span(1, 1, end_s=100)])))
        first.flush()
        second = Ingest(store)
        second.add(logs((resource("web"), [log("a", at_s=1)])))
        second.flush()
    (values,) = samples_of(path, "log_records_total").values()
    assert values[:2] == [(0, 0), (15, 1)]

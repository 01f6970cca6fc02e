"""The simulated shop: the same telemetry for the same seed and time, in the form OTLP JSON asks for."""

import itertools
import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.webapp.cli.demo.emitted import HOUR_MS, ORIGIN_MS, Emitted, duration_ms, emitted, plain, service
from webapp.cli.demo.landscape import SITES
from webapp.cli.demo.shop import SLOT_MS, Shop

TEN_MINUTES_MS = 600_000


def _sorted(items: list[dict[str, Any]]) -> list[str]:
    return sorted(repr(sorted(item.items(), key=lambda pair: pair[0])) for item in items)


@pytest.mark.parametrize("chunk_ms", [SLOT_MS, 7_001, 61_000])
def test_any_cut_of_time_gives_the_same_telemetry(chunk_ms: int) -> None:
    whole = emitted(Shop(7, ORIGIN_MS), ORIGIN_MS, ORIGIN_MS + TEN_MINUTES_MS)
    cut = emitted(Shop(7, ORIGIN_MS), ORIGIN_MS, ORIGIN_MS + TEN_MINUTES_MS, chunk_ms)
    assert whole.spans
    assert whole.records
    assert whole.points
    assert _sorted(cut.spans) == _sorted(whole.spans)
    assert _sorted(cut.records) == _sorted(whole.records)
    assert _sorted(cut.points) == _sorted(whole.points)


def test_another_seed_gives_other_traces() -> None:
    one, other = (emitted(Shop(seed, ORIGIN_MS), ORIGIN_MS, ORIGIN_MS + TEN_MINUTES_MS) for seed in (1, 2))
    assert one.by_id().keys().isdisjoint(other.by_id().keys())


def test_a_later_start_of_the_shop_changes_counters_only() -> None:
    later_ms = ORIGIN_MS + TEN_MINUTES_MS
    early, late = (emitted(Shop(7, at), later_ms, later_ms + TEN_MINUTES_MS) for at in (ORIGIN_MS, later_ms))
    assert _sorted(early.spans) == _sorted(late.spans)


def test_nothing_is_emitted_from_before_the_shop_opened() -> None:
    with pytest.raises(ValueError, match="nothing to emit from"):
        Shop(7, ORIGIN_MS).emit(ORIGIN_MS - 1, ORIGIN_MS)


def test_a_stretch_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="must not end before it begins"):
        Shop(7, ORIGIN_MS).emit(ORIGIN_MS + 2, ORIGIN_MS + 1)


def test_an_empty_stretch_emits_nothing() -> None:
    assert Shop(7, ORIGIN_MS).emit(ORIGIN_MS, ORIGIN_MS) == {}


def test_every_cluster_sends_spans_logs_and_samples(two_hours: Emitted) -> None:
    names = {site.name for site in SITES}
    assert {span["cluster"] for span in two_hours.spans} == names
    assert {record["cluster"] for record in two_hours.records} == names
    assert {point["cluster"] for point in two_hours.points} == names


def test_two_hours_stay_within_the_budget(two_hours: Emitted) -> None:
    assert 25_000 < len(two_hours.spans) < 42_000
    assert 18_000 < len(two_hours.records) < 32_000
    assert 40_000 < len(two_hours.points) < 72_000


def test_ids_are_hex_of_their_length_and_unique(two_hours: Emitted) -> None:
    assert all(re.fullmatch("[0-9a-f]{32}", span["traceId"]) for span in two_hours.spans)
    assert all(re.fullmatch("[0-9a-f]{16}", span["spanId"]) for span in two_hours.spans)
    assert len({span["spanId"] for span in two_hours.spans}) == len(two_hours.spans)


def test_64_bit_integers_travel_as_strings(two_hours: Emitted) -> None:
    times = ("startTimeUnixNano", "endTimeUnixNano", "timeUnixNano", "observedTimeUnixNano")
    for item in (*two_hours.spans, *two_hours.records, *two_hours.points):
        assert all(isinstance(item[key], str) and item[key].isdigit() for key in times if key in item)
    for span in two_hours.spans:
        assert all(
            isinstance(entry["value"]["intValue"], str) for entry in span["attributes"] if "intValue" in entry["value"]
        )


def test_every_parent_is_in_the_same_trace(two_hours: Emitted) -> None:
    spans = two_hours.by_id()
    assert all((span["traceId"], span["parentSpanId"]) in spans for span in two_hours.spans if span.get("parentSpanId"))


def test_every_trace_has_one_root(two_hours: Emitted) -> None:
    roots: dict[str, int] = defaultdict(int)
    for span in two_hours.spans:
        roots[span["traceId"]] += not span.get("parentSpanId")
    assert set(roots.values()) == {1}


def test_a_server_span_lies_in_a_client_span_of_its_caller(two_hours: Emitted) -> None:
    spans = two_hours.by_id()
    inner = [span for span in two_hours.spans if span["kind"] == 2 and span["parentSpanId"]]
    for span in inner:
        caller = spans[span["traceId"], span["parentSpanId"]]
        assert caller["kind"] == 3
        assert plain(caller["attributes"])["server.address"] == service(span)
        assert duration_ms(span) < duration_ms(caller)


def test_requests_cross_the_three_clusters_of_production(two_hours: Emitted) -> None:
    clusters: dict[str, set[str]] = defaultdict(set)
    for span in two_hours.spans:
        clusters[span["traceId"]].add(span["cluster"])
    production = {"prod", "app-prod", "shared-services"}
    assert sum(found == production for found in clusters.values()) > 200
    assert all(found <= production or len(found) == 1 for found in clusters.values())


def test_a_span_lies_in_the_cluster_its_resource_names(two_hours: Emitted) -> None:
    for item in (*two_hours.spans, *two_hours.records, *two_hours.points):
        assert item["resource"]["k8s.cluster.name"] == item["cluster"]


def test_log_records_of_a_request_name_a_span_of_their_pod(two_hours: Emitted) -> None:
    spans = two_hours.by_id()
    joined = [record for record in two_hours.records if "traceId" in record]
    assert len(joined) > 0.8 * len(two_hours.records)
    for record in joined:
        span = spans[record["traceId"], record["spanId"]]
        assert span["resource"] == record["resource"]


def test_there_are_spans_of_every_kind(two_hours: Emitted) -> None:
    assert {span["kind"] for span in two_hours.spans} == {1, 2, 3, 4, 5}


def test_internal_and_client_spans_lie_within_the_span_of_their_service(two_hours: Emitted) -> None:
    spans = two_hours.by_id()
    for span in two_hours.spans:
        if span["kind"] in (1, 3, 4):
            parent = spans[span["traceId"], span["parentSpanId"]]
            assert parent["resource"] == span["resource"]
            assert int(parent["startTimeUnixNano"]) <= int(span["startTimeUnixNano"])
            assert int(span["endTimeUnixNano"]) <= int(parent["endTimeUnixNano"])


def test_consumers_link_to_the_span_that_sent_the_message(two_hours: Emitted) -> None:
    spans = two_hours.by_id()
    consumers = [span for span in two_hours.spans if span["kind"] == 5]
    assert {service(span) for span in consumers} == {"invoices", "ledger", "notifications"}
    for span in consumers:
        (link,) = span["links"]
        sender = spans[link["traceId"], link["spanId"]]
        assert sender["kind"] == 4
        assert sender["traceId"] != span["traceId"]
        assert int(sender["endTimeUnixNano"]) < int(span["startTimeUnixNano"]) + 41_000_000


def test_a_service_that_fails_by_itself_reports_the_exception_with_its_stack(two_hours: Emitted) -> None:
    failed = [span for span in two_hours.spans if span.get("events")]
    assert failed
    for span in failed:
        assert span["status"] == {"code": 2}
        (event,) = span["events"]
        assert "\n    at shop." in plain(event["attributes"])["exception.stacktrace"]
        assert event["timeUnixNano"] == span["endTimeUnixNano"]


def test_statuses_agree_with_codes(two_hours: Emitted) -> None:
    for span in two_hours.spans:
        code = plain(span["attributes"]).get("http.response.status_code")
        if code is not None:
            bad = int(code) >= (500 if span["kind"] == 2 else 400)
            assert span["status"] == ({"code": 2} if bad else {})


def _counters(found: Emitted) -> dict[tuple[str, str], list[tuple[int, float]]]:
    series: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for point in found.points:
        if point["kind"] == "sum":
            key = (point["cluster"], point["resource"]["k8s.pod.name"])
            series[key].append((int(point["timeUnixNano"]), point["asDouble"]))
    return series


def test_counters_only_rise_and_begin_at_zero(two_hours: Emitted) -> None:
    for points in _counters(two_hours).values():
        values = [value for _, value in sorted(points)]
        assert values[0] == 0
        assert all(before < after for before, after in itertools.pairwise(values))


def test_samples_lie_on_their_clusters_grid() -> None:
    found = emitted(Shop(7, ORIGIN_MS), ORIGIN_MS, ORIGIN_MS + TEN_MINUTES_MS, 20_000)
    step_ns = {site.name: site.sample_step_ms * 1_000_000 for site in SITES}
    for (cluster, _), points in _counters(found).items():
        times = sorted(at for at, _ in points)
        assert {after - before for before, after in itertools.pairwise(times)} == {step_ns[cluster]}
        assert times[0] % step_ns[cluster] == 0


def test_a_counter_does_not_depend_on_how_often_it_was_read() -> None:
    until_ms = ORIGIN_MS + HOUR_MS
    shop = Shop(7, ORIGIN_MS)
    shop.emit(ORIGIN_MS, until_ms)
    read: Callable[[Shop], Emitted] = lambda each: emitted(each, until_ms, until_ms + SLOT_MS)  # noqa: E731
    assert _counters(read(shop)) == _counters(read(Shop(7, ORIGIN_MS)))


def test_a_failed_call_leaves_no_line_about_work_done(two_hours: Emitted) -> None:
    failed = {
        (span["traceId"], span["spanId"]) for span in two_hours.spans if span["kind"] == 2 and span["status"] != {}
    }
    levels = {
        record["severityText"]
        for record in two_hours.records
        if (record.get("traceId"), record.get("spanId")) in failed
    }
    assert {"ERROR"} <= levels <= {"ERROR", "WARN"}

"""Incidents run by the timetable, and leave in the telemetry what somebody would look for."""

import itertools
from collections import Counter
from statistics import median

import pytest

from tests.unit.webapp.cli.demo.emitted import HOUR_MS, MINUTE_MS, ORIGIN_MS, Emitted, duration_ms, plain, service
from webapp.cli.demo.incidents import TIMETABLE, Incident, Kind, conditions, incidents


def _the(kind: Kind) -> Incident:
    return next(each for each in incidents(ORIGIN_MS, ORIGIN_MS + HOUR_MS) if each.kind is kind)


def _during(incident: Incident, span: dict[str, object], key: str = "startTimeUnixNano") -> bool:
    """Say whether something happened in the incident, in the first or the second hour."""
    # Whatever begins with the incident's first seconds may still belong to a slot before it, and so at its end.
    at_ms = int(str(span[key])) / 1e6
    return any(
        incident.start_ms + later_ms + 6_000 <= at_ms < incident.end_ms + later_ms - 6_000 for later_ms in (0, HOUR_MS)
    )


@pytest.mark.parametrize("minute", range(0, 60, 7))
def test_any_two_hours_hold_a_finished_incident_of_every_kind(minute: int) -> None:
    now_ms = ORIGIN_MS + 5 * HOUR_MS + minute * MINUTE_MS
    found = incidents(now_ms - 2 * HOUR_MS, now_ms)
    assert {each.kind for each in found if each.end_ms <= now_ms} == set(Kind)


def test_incidents_are_listed_by_start_and_only_within_the_stretch() -> None:
    found = incidents(ORIGIN_MS + 6 * MINUTE_MS, ORIGIN_MS + 30 * MINUTE_MS)
    assert [each.kind for each in found] == [Kind.SLOW_SERVICE, Kind.ERROR_BURST]


def test_an_incident_ends_before_its_last_moment() -> None:
    slow = _the(Kind.SLOW_SERVICE)
    assert conditions(slow.end_ms - 1).slowdowns
    assert not conditions(slow.end_ms).slowdowns
    assert not conditions(slow.start_ms - 1).slowdowns
    assert incidents(slow.end_ms, slow.end_ms + 1) == []


def test_incidents_do_not_overlap() -> None:
    spans = sorted((entry.first_minute, entry.first_minute + entry.minutes) for entry in TIMETABLE)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


def test_the_slow_service_takes_eight_times_as_long(two_hours: Emitted) -> None:
    incident = _the(Kind.SLOW_SERVICE)
    stock = [
        span
        for span in two_hours.spans
        if span["cluster"] == "shared-services" and service(span) == "stock" and span["kind"] == 2
    ]
    slow = [duration_ms(span) for span in stock if _during(incident, span)]
    usual = [
        duration_ms(span)
        for span in stock
        if incident.end_ms < int(span["startTimeUnixNano"]) / 1e6 < incident.start_ms + HOUR_MS
    ]
    assert len(slow) >= 10
    assert median(slow) == pytest.approx(8 * median(usual), rel=0.2)


def test_whoever_asks_the_slow_service_waits(two_hours: Emitted) -> None:
    incident = _the(Kind.SLOW_SERVICE)
    spans = two_hours.by_id()
    for span in two_hours.spans:
        if span["cluster"] == "shared-services" and service(span) == "stock" and span["kind"] == 2:
            caller = spans[span["traceId"], span["parentSpanId"]]
            if _during(incident, span):
                assert duration_ms(caller) > 40


def test_stage_stays_healthy(two_hours: Emitted) -> None:
    incident = _the(Kind.SLOW_SERVICE)
    stock = [
        span
        for span in two_hours.spans
        if span["cluster"] == "stage" and service(span) == "stock" and span["kind"] == 2
    ]
    assert all(duration_ms(span) < 80 for span in stock if _during(incident, span))


def test_the_error_burst_shows_in_statuses(two_hours: Emitted) -> None:
    incident = _the(Kind.ERROR_BURST)
    payments = [
        span
        for span in two_hours.spans
        if span["cluster"] == "app-prod" and service(span) == "payments" and span["kind"] == 2
    ]
    codes = Counter(
        plain(span["attributes"])["http.response.status_code"] for span in payments if _during(incident, span)
    )
    assert codes.total() >= 10
    assert codes["503"] / codes.total() == pytest.approx(incident.size, abs=0.2)
    usual = [span for span in payments if int(span["startTimeUnixNano"]) / 1e6 < incident.start_ms]
    assert sum(span["status"] == {"code": 2} for span in usual) / len(usual) < 0.1


def test_the_error_burst_shows_in_log_lines_with_a_stack_trace(two_hours: Emitted) -> None:
    incident = _the(Kind.ERROR_BURST)
    lines = [
        record
        for record in two_hours.records
        if record["cluster"] == "app-prod"
        and record["severityText"] == "ERROR"
        and service(record) == "payments"
        and _during(incident, record, "timeUnixNano")
    ]
    assert lines
    assert all(line["severityNumber"] == 17 for line in lines)
    assert all("card acquirer gave no answer" in line["body"]["stringValue"] for line in lines)


def test_the_error_burst_reaches_the_gateway_as_502(two_hours: Emitted) -> None:
    incident = _the(Kind.ERROR_BURST)
    codes = {
        plain(span["attributes"])["http.response.status_code"]
        for span in two_hours.spans
        if span["cluster"] == "prod" and service(span) == "gateway" and span["kind"] == 2 and _during(incident, span)
    }
    assert "502" in codes


def _starts_before_its_caller(found: Emitted, cluster: str, parent_cluster: str, incident: Incident) -> list[bool]:
    spans = found.by_id()
    early = []
    for span in found.spans:
        if span["kind"] != 2 or span["cluster"] != cluster or not span["parentSpanId"]:
            continue
        parent = spans[span["traceId"], span["parentSpanId"]]
        if parent["cluster"] == parent_cluster and _during(incident, span):
            early.append(int(span["startTimeUnixNano"]) < int(parent["startTimeUnixNano"]))
    return early


def test_the_skewed_clock_lets_calls_start_before_their_callers(two_hours: Emitted) -> None:
    early = _starts_before_its_caller(two_hours, "shared-services", "app-prod", _the(Kind.SKEWED_CLOCK))
    assert early
    assert all(early)


def test_without_a_skewed_clock_no_call_starts_before_its_caller(two_hours: Emitted) -> None:
    early = _starts_before_its_caller(two_hours, "shared-services", "app-prod", _the(Kind.SLOW_SERVICE))
    assert early
    assert not any(early)


def test_the_silent_cluster_sends_nothing_while_others_do(two_hours: Emitted) -> None:
    incident = _the(Kind.SILENT_CLUSTER)
    start_ns, end_ns = incident.start_ms * 10**6, incident.end_ms * 10**6

    def within(cluster: str) -> int:
        # A request of the slot before may leave spans a few seconds into the silence.
        return sum(
            start_ns + 10 * 10**9 <= int(item.get("timeUnixNano") or item["startTimeUnixNano"]) < end_ns
            for item in (*two_hours.spans, *two_hours.records, *two_hours.points)
            if item["cluster"] == cluster
        )

    assert within("dev") == 0
    assert within("test") > 0


def test_a_counter_of_the_silent_cluster_goes_on_counting(two_hours: Emitted) -> None:
    incident = _the(Kind.SILENT_CLUSTER)
    series: dict[str, dict[int, float]] = {}
    for point in two_hours.points:
        if point["cluster"] == "dev" and point["kind"] == "sum":
            pod = series.setdefault(point["resource"]["k8s.pod.name"], {})
            pod[int(point["timeUnixNano"]) // 10**6] = point["asDouble"]
    for points in series.values():
        assert points[incident.end_ms] > points[incident.start_ms - MINUTE_MS]

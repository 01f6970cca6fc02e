"""Defaults and limits of the fields that every query has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from federation_core.config import Backend, Settings
from federation_core.errors import InvalidRequest
from federation_core.query import TimeRange
from federation_core.tenancy import Scope
from tests.unit.webapp.conftest import NOW_MS, SETTINGS, TRACE_ID
from webapp.schemas.queries import is_trace_id, query_from

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


SCOPE = Scope("team-a", {"app-prod": (), "prod": ()})


def query(signal: str, text: str = "{}", settings: Settings = SETTINGS, **fields: Any) -> Any:
    return query_from(fields, signal, text, SCOPE, settings, NOW_MS)


def test_metrics_without_times_are_asked_for_now() -> None:
    assert query("metrics").time_range == TimeRange(NOW_MS, NOW_MS)


def test_a_time_is_an_instant() -> None:
    assert query("metrics", time="-5m").time_range == TimeRange(NOW_MS - 5 * MINUTE_MS, NOW_MS - 5 * MINUTE_MS)


@pytest.mark.parametrize(
    ("fields", "start_ms", "end_ms"),
    [
        ({"start": "-2h"}, NOW_MS - 2 * HOUR_MS, NOW_MS),
        ({"end": "-1h"}, NOW_MS - 2 * HOUR_MS, NOW_MS - HOUR_MS),
        ({"step": "15s"}, NOW_MS - HOUR_MS, NOW_MS),
        ({"start": "1000", "end": "2000.5", "step": "15"}, 1_000_000, 2_000_500),
    ],
)
def test_any_field_of_a_range_makes_metrics_a_range(fields: dict[str, str], start_ms: int, end_ms: int) -> None:
    found = query("metrics", **fields).time_range
    assert (found.start_ms, found.end_ms) == (start_ms, end_ms)
    assert found.step_ms > 0


@pytest.mark.parametrize(
    ("start", "step_ms"),
    [
        ("-1s", 15_000),
        ("-1h", 15_000),
        ("-62m30s", 15_000),
        ("-62m31s", 30_000),
        ("-1d", 360_000),
        ("-30d", 10_380_000),
    ],
)
def test_the_default_step_is_a_250th_in_multiples_of_15_s(start: str, step_ms: int) -> None:
    found = query("metrics", start=start).time_range
    assert found.step_ms == step_ms
    assert found.steps <= 251


@pytest.mark.parametrize(
    ("fields", "step_ms"),
    [({}, 40_000), ({"clusters": ("app-prod",)}, 15_000), ({"step": "5s"}, 5_000), ({"start": "-1d"}, 360_000)],
)
def test_the_default_step_is_not_below_the_longest_interval_that_is_scraped_by_who_is_asked(
    fields: dict[str, Any], step_ms: int
) -> None:
    """A stated step is never changed; nor does a cluster outside the scope, here stage, change an answer."""
    intervals = {"prod": 40_000, "stage": 60_000}
    scraped = tuple(
        replace(one, backends=(Backend("metrics", "x", scrape_interval_ms=intervals.get(one.name)),))
        for one in SETTINGS.clusters
    )
    settings = replace(SETTINGS, clusters=scraped)
    assert query("metrics", settings=settings, **{"start": "-1h", **fields}).time_range.step_ms == step_ms


@pytest.mark.parametrize("signal", ["logs", "traces"])
def test_logs_and_traces_default_to_the_last_hour(signal: str) -> None:
    assert query(signal).time_range == TimeRange(NOW_MS - HOUR_MS, NOW_MS)


def test_a_trace_by_id_is_looked_for_at_all_times() -> None:
    found = query("traces", TRACE_ID).time_range
    assert (found.start_ms, found.end_ms > NOW_MS) == (0, True)


def test_a_range_that_is_given_holds_for_a_trace_by_id_too() -> None:
    assert query("traces", TRACE_ID, start="-1h").time_range == TimeRange(NOW_MS - HOUR_MS, NOW_MS)


@pytest.mark.parametrize(
    ("text", "is_id"), [(TRACE_ID, True), (" " + TRACE_ID, True), ("{}", False), ("", False), ("a" * 33, False)]
)
def test_ids_are_told_from_searches(text: str, is_id: bool) -> None:
    assert is_trace_id(text) is is_id


def test_the_deadline_is_30_s_unless_asked() -> None:
    assert query("metrics").timeout_ms == 30_000
    assert query("metrics", timeout="10m").timeout_ms == 600_000
    assert query("metrics", timeout="0.25").timeout_ms == 250


@pytest.mark.parametrize(
    ("signal", "field", "value"),
    [
        ("metrics", "limit", 5),
        ("metrics", "direction", "forward"),
        ("logs", "time", "-1h"),
        ("logs", "step", "15s"),
        ("traces", "time", "-1h"),
    ],
)
def test_a_field_the_signal_would_ignore_is_refused(signal: str, field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"{field} means nothing for {signal}"):
        query(signal, **{field: value})

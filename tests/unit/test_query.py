"""Time ranges, deadlines and coverage requirements."""

from __future__ import annotations

import json

import pytest

from federation_core.errors import InvalidRequest, TimedOut
from federation_core.query import MAX_STEPS, Deadline, Query, Requirement, TimeRange, cluster_deadline_ms

SIX = frozenset({"dev", "test", "stage", "prod", "app-prod", "shared-services"})


def test_an_instant_is_one_step_at_its_end() -> None:
    assert (TimeRange(0, 5000).steps, TimeRange(0, 5000).first_ms) == (1, 5000)


def test_a_range_includes_its_end_when_the_step_meets_it() -> None:
    assert TimeRange(0, 60_000, 15_000).steps == 5
    assert TimeRange(0, 59_999, 15_000).steps == 4


def test_end_before_start_is_refused_naming_end() -> None:
    with pytest.raises(InvalidRequest) as caught:
        TimeRange(10, 9)
    assert caught.value.field == "end"


def test_more_steps_than_prometheus_allows_are_refused_with_a_step_that_would_do() -> None:
    assert TimeRange(0, MAX_STEPS - 1, 1).steps == MAX_STEPS
    with pytest.raises(InvalidRequest) as caught:
        TimeRange(0, MAX_STEPS * 10, 1)
    suggested = int(caught.value.expected.split()[2])
    assert TimeRange(0, MAX_STEPS * 10, suggested).steps <= MAX_STEPS


@pytest.mark.parametrize("timeout_ms", [100, 500, 501, 2000, 30_000, 600_000])
def test_a_cluster_must_answer_before_the_query_ends(timeout_ms: int) -> None:
    assert 0 < cluster_deadline_ms(0, timeout_ms) < timeout_ms


def test_more_time_for_a_query_is_never_less_for_its_clusters() -> None:
    deadlines = [cluster_deadline_ms(0, timeout_ms) for timeout_ms in range(100, 6000)]
    assert deadlines == sorted(deadlines)


def test_a_deadline_raises_once_it_has_passed() -> None:
    Deadline(1000).check(999)
    assert Deadline(1000).remaining_s(5000) == 0
    with pytest.raises(TimedOut):
        Deadline(1000).check(1000, "stage")


@pytest.mark.parametrize(
    "text", ["all", "best_effort", "quorum:4", "quorum:0.8", "quorum:1.0", "quorum:0.000001", "critical:prod,app-prod"]
)
def test_a_requirement_prints_what_it_was_read_from(text: str) -> None:
    assert str(Requirement.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "most", "quorum", "quorum:0", "quorum:-1", "quorum:" + "9" * 5000, "quorum:x", "critical:", "all:1"),
        *("quorum:0.0", "quorum:1.1", "quorum:.5", "quorum:0.", "quorum:0." + "1" * 5000, "quorum:1e-1", "quorum:80%"),
    ],
)
def test_a_requirement_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="require"):
        Requirement.parse(text)


@pytest.mark.parametrize(
    ("text", "silent", "unmet"),
    [
        ("best_effort", SIX, ()),
        ("all", {"stage"}, ("stage",)),
        ("all", set(), ()),
        ("quorum:5", {"stage"}, ()),
        ("quorum:6", {"stage"}, ("stage",)),
        ("critical:prod", {"stage"}, ()),
        ("critical:prod,stage", {"stage"}, ("stage",)),
    ],
)
def test_a_requirement_names_the_clusters_that_break_it(text: str, silent: set[str], unmet: tuple[str, ...]) -> None:
    assert Requirement.parse(text).unmet_by(SIX, SIX - silent) == unmet


def test_a_quorum_above_the_clusters_asked_is_never_met() -> None:
    assert Requirement.parse("quorum:7").unmet_by(SIX, SIX)


@pytest.mark.parametrize(
    ("text", "silent", "unmet"),
    [
        ("quorum:0.8", {"dev"}, ()),
        ("quorum:0.8", {"dev", "test"}, ()),
        ("quorum:0.8", {"dev", "test", "stage"}, ("dev", "stage", "test")),
        ("quorum:0.8", {"prod"}, ("prod",)),
        ("quorum:1.0", {"dev"}, ("dev",)),
        ("quorum:1.0", set(), ()),
    ],
)
def test_a_share_counts_weights_not_clusters(text: str, silent: set[str], unmet: tuple[str, ...]) -> None:
    weights = {"prod": 5.0, "dev": 1.0, "test": 1.0, "stage": 1.0, "app-prod": 1.0, "shared-services": 1.0}
    assert Requirement.parse(text).unmet_by(SIX, SIX - silent, weights) == unmet


def test_a_share_of_weights_that_add_up_in_floating_point_is_met_exactly() -> None:
    three = frozenset({"a", "b", "c"})
    weights = {"a": 0.1, "b": 0.2, "c": 0.7}
    assert Requirement.parse("quorum:0.3").unmet_by(three, frozenset({"a", "b"}), weights) == ()


def test_a_share_of_nothing_asked_is_met_since_nothing_is_missing() -> None:
    assert Requirement.parse("quorum:0.8").unmet_by(frozenset(), frozenset(), {}) == ()


def test_a_critical_cluster_that_is_not_asked_counts_as_silent() -> None:
    assert Requirement.parse("critical:mars").unmet_by(SIX, SIX) == ("mars",)


def test_a_query_survives_the_wire() -> None:
    query = Query(
        "metrics",
        "up",
        TimeRange(0, 60_000, 15_000),
        "team-a",
        clusters=("prod",),
        environments=("prod",),
        limit=7,
        direction="forward",
        requirement=Requirement.parse("critical:prod"),
        timeout_ms=1234,
    )
    assert Query.from_wire(json.loads(json.dumps(query.to_wire()))) == query

"""The judge finds what a run is there to find, and nothing where there is nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from federation_core.plan import Plan
from federation_core.query import Requirement
from tests.integration.chaos.clients import Notes, Refused, Told
from tests.integration.chaos.episodes import EVERYONE, Episode, Episodes
from tests.integration.chaos.faults import WEIGHTS, schedule
from tests.integration.chaos.judge import Ended, clusters_within, judge
from tests.support.plans import plan_of
from tests.support.stack import CLUSTERS, COUNTS

T0 = 1_000_000
EVERYTHING = float(sum(COUNTS.values()))
ALL_OK = dict.fromkeys(CLUSTERS, "ok")
WITHOUT_STAGE = Told(
    "q1", "partial", {**ALL_OK, "stage": "timed_out"}, 7 * (EVERYTHING - COUNTS["stage"]), "", T0 + 500
)
WHOLE = Told("q1", "complete", ALL_OK, 7 * EVERYTHING, "", T0 + 500)


def plan(require: str = "best_effort") -> Plan:
    planned = plan_of(clusters=CLUSTERS, now_ms=T0, timeout_ms=1_000, pruned=())
    return replace(planned, query=replace(planned.query, text="sum(x) * 7", requirement=Requirement.parse(require)))


def found(told: Told, *episodes: Episode, finished_ms: int = T0 + 500, notes: Notes | None = None) -> list[str]:
    truth = Episodes(lambda: T0, list(episodes))
    return sorted(judge([Ended(plan(), finished_ms, told)], notes or Notes(), truth).wrong)


def held(from_ms: float, until_ms: float, kind: str = "held") -> Episode:
    return Episode(kind, "stage", from_ms, from_ms + 1, until_ms - 1, until_ms)


def test_a_complete_answer_without_faults_is_fine() -> None:
    assert found(WHOLE) == []


def test_a_complete_answer_that_lacks_a_cluster_is_found() -> None:
    assert "looks complete and is not" in found(replace(WHOLE, value=WITHOUT_STAGE.value))


def test_a_cluster_that_is_there_twice_is_found() -> None:
    assert "a cluster counted twice" in found(replace(WHOLE, value=WHOLE.value + 7 * COUNTS["dev"]))


def test_the_answer_of_another_query_is_found() -> None:
    assert found(replace(WHOLE, value=8 * (EVERYTHING - COUNTS["app-prod"]))) == ["an answer made of something else"]


def test_a_ledger_that_says_ok_of_what_is_not_there_is_found() -> None:
    told = replace(WITHOUT_STAGE, verdicts=ALL_OK)
    assert "the ledger says ok and nothing is there" in found(told)


def test_a_ledger_that_denies_what_is_there_is_found() -> None:
    assert "the ledger denies what is there" in found(replace(WITHOUT_STAGE, value=WHOLE.value))


def test_a_ledger_that_forgets_a_cluster_is_found() -> None:
    verdicts = {name: "ok" for name in CLUSTERS if name != "stage"}
    told = replace(WITHOUT_STAGE, verdicts=verdicts, status="complete")
    assert "looks complete and is not" in found(told)


def test_a_held_cluster_must_have_timed_out() -> None:
    assert found(WITHOUT_STAGE, held(T0 - 1_000, T0 + 900)) == []
    failed = replace(WITHOUT_STAGE, verdicts={**ALL_OK, "stage": "failed"})
    assert found(failed, held(T0 - 1_000, T0 + 900)) == ["the ledger differs from the truth"]


def test_a_cluster_that_nothing_happened_to_must_be_there() -> None:
    failed = replace(WITHOUT_STAGE, verdicts={**ALL_OK, "stage": "failed"})
    assert found(failed) == ["the ledger differs from the truth"]
    assert found(WITHOUT_STAGE) == ["slow without a fault"]


def test_of_a_fault_that_began_meanwhile_nothing_is_claimed() -> None:
    assert found(WITHOUT_STAGE, held(T0 + 100, T0 + 900)) == []
    assert found(WHOLE, held(T0 + 100, T0 + 900)) == []


def test_a_fault_may_have_begun_a_moment_earlier_than_our_clock_says() -> None:
    failed = replace(WITHOUT_STAGE, verdicts={**ALL_OK, "stage": "failed"})
    assert found(failed, held(T0 + 700, T0 + 900), finished_ms=T0 + 500) == []
    assert found(failed, held(T0 + 751, T0 + 900), finished_ms=T0 + 500) == ["the ledger differs from the truth"]


def test_two_faults_at_once_leave_the_verdict_open() -> None:
    failed = replace(WITHOUT_STAGE, verdicts={**ALL_OK, "stage": "failed"})
    both = (held(T0 - 1_000, T0 + 900), Episode("redis slow", EVERYONE, T0, until_ms=T0 + 100))
    assert found(failed, *both) == []


def test_of_a_dead_worker_only_the_planning_matters() -> None:
    told = replace(WITHOUT_STAGE, verdicts={**ALL_OK, "stage": "no_worker"})
    assert found(told, held(T0 - 1_000, T0 + 300, "killed")) == []
    assert found(WITHOUT_STAGE, held(T0 - 1_000, T0 + 300, "killed")) == ["slow without a fault"]


def test_a_job_that_ends_too_late_is_found_unless_redis_stood_still() -> None:
    assert found(WHOLE, finished_ms=T0 + 3_000) == []
    assert found(WHOLE, finished_ms=T0 + 3_001) == ["late"]
    paused = Episode("redis paused", "redis", T0 + 900, until_ms=T0 + 1_900)
    assert found(WHOLE, paused, finished_ms=T0 + 3_001) == []
    assert found(WHOLE, paused, finished_ms=T0 + 4_001) == ["late"]


def test_a_busy_machine_has_more_time_and_is_slow_by_itself() -> None:
    busy = Episodes(lambda: T0, stretches=[(T0 + 10, 1.0), (T0 + 20, 3.0)])
    assert busy.stretch(T0, T0 + 5_000) == 2.0
    assert not judge([Ended(plan(), T0 + 5_000, WHOLE)], Notes(), busy).wrong
    assert list(judge([Ended(plan(), T0 + 5_001, WHOLE)], Notes(), busy).wrong) == ["late"]
    assert not judge([Ended(plan(), T0 + 500, WITHOUT_STAGE)], Notes(), busy).wrong


def test_a_job_without_an_end_is_found() -> None:
    assert list(judge([Ended(plan(), None, None)], Notes(), Episodes(lambda: T0)).wrong) == ["a job did not end"]


def test_an_answer_that_changes_is_found() -> None:
    assert found(WHOLE, notes=Notes(told=[WHOLE])) == []
    assert "an answer changed" in found(WHOLE, notes=Notes(told=[WITHOUT_STAGE]))


def test_a_cancelled_job_must_end_within_a_second() -> None:
    told = Told("q1", "failed", ALL_OK, 0.0, "QueryCanceled", T0 + 500)
    assert found(told, finished_ms=T0 + 1_000, notes=Notes(cancelled={"q1": T0})) == []
    assert found(told, finished_ms=T0 + 1_001, notes=Notes(cancelled={"q1": T0})) == ["cancelled too late"]


def test_a_bug_is_no_honest_failure() -> None:
    assert found(replace(WHOLE, status="failed", error="CoverageTooLow")) == []
    assert found(replace(WHOLE, status="failed", error="InternalError")) == ["failed for no good reason"]


def test_an_answer_below_its_requirement_is_found() -> None:
    truth = Episodes(lambda: T0, [held(T0 - 1_000, T0 + 900)])
    wrong = judge([Ended(plan("critical:stage"), T0 + 500, WITHOUT_STAGE)], Notes(), truth).wrong
    assert list(wrong) == ["answered though the requirement is not met"]


def test_a_refusal_needs_a_reason() -> None:
    notes = Notes(refused=[Refused("direct", "StoreUnavailable", T0)])
    assert list(judge([], notes, Episodes(lambda: T0)).wrong) == ["refused without a reason"]
    slow = Episode("redis slow", EVERYONE, T0 - 100, until_ms=T0 + 100)
    assert not judge([], notes, Episodes(lambda: T0, [slow])).wrong


@pytest.mark.parametrize("value", [7.5, -7.0, 7.0 * 10**6, 8.0])
def test_a_value_that_no_clusters_add_up_to_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not 7 times"):
        clusters_within(value, 7)


def test_the_schedule_is_the_same_for_a_seed_and_has_every_fault() -> None:
    one, other = schedule(1, 0.5), schedule(2, 0.5)
    first = [next(one) for _ in range(500)]
    again = schedule(1, 0.5)
    assert first == [next(again) for _ in range(500)]
    assert first != [next(other) for _ in range(500)]
    assert {planned.kind for planned in first} == set(WEIGHTS)

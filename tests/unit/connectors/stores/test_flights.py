"""Who joins whose execution, and who is left to want it, in a real Redis."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from federation_core.connectors.stores.flights import Flights
from federation_core.connectors.stores.jobs import Jobs, JobState
from federation_core.connectors.stores.redis import connect
from federation_core.errors import QueryNotFound
from federation_core.outcome import ClusterVerdict, Verdict
from tests.support.plans import NOW_MS, plan_of

LEDGER = tuple(ClusterVerdict(name, Verdict.OK) for name in ("dev", "prod"))
TTL_MS = 60_000


@pytest.fixture
def jobs(redis_url: str) -> Jobs:
    return Jobs(redis_url, TTL_MS, clock=lambda: NOW_MS + 50)


@pytest.fixture
def flights(redis_url: str) -> Flights:
    return Flights(redis_url, TTL_MS, clock=lambda: NOW_MS + 50)


def enter(jobs: Jobs, flights: Flights, query_id: str, **how: str) -> str:
    plan = replace(plan_of(query_id, how.get("tenant_id", "acme")), fingerprint=how.get("fingerprint", "f"))
    jobs.create(plan)
    return flights.enter(plan)


def test_the_second_of_a_kind_follows_the_first(jobs: Jobs, flights: Flights) -> None:
    assert [enter(jobs, flights, name) for name in ("q1", "q2", "q3")] == ["q1", "q1", "q1"]
    job = jobs.job("acme", "q2")
    assert (job.query_id, job.follows, job.plan.query_id) == ("q2", "q1", "q1")


@pytest.mark.parametrize("other", [{"fingerprint": "g"}, {"tenant_id": "bank"}])
def test_another_question_or_tenant_does_not_join(jobs: Jobs, flights: Flights, other: dict[str, str]) -> None:
    enter(jobs, flights, "q1")
    assert enter(jobs, flights, "q2", **other) == "q2"


def test_of_twenty_at_once_one_leads_and_all_others_follow_it(jobs: Jobs, flights: Flights) -> None:
    with ThreadPoolExecutor(20) as threads:
        leaders = set(threads.map(lambda i: enter(jobs, flights, f"q{i}"), range(20)))
    assert len(leaders) == 1
    assert {jobs.job("acme", f"q{i}").plan.query_id for i in range(20)} == leaders


def test_nobody_joins_what_has_ended(jobs: Jobs, flights: Flights) -> None:
    enter(jobs, flights, "q1")
    jobs.put_result("acme", "q1", b"data", JobState.COMPLETE, LEDGER)
    assert enter(jobs, flights, "q2") == "q2"
    assert enter(jobs, flights, "q3") == "q2"


def test_a_flight_is_open_for_half_of_its_time(jobs: Jobs, flights: Flights, redis_url: str) -> None:
    enter(jobs, flights, "q1")
    (name,) = connect(redis_url).keys("flight:*")
    assert 0 < connect(redis_url).pttl(name) <= 2_500


def test_a_follower_shows_the_progress_and_the_end_of_what_it_follows(jobs: Jobs, flights: Flights) -> None:
    enter(jobs, flights, "q1")
    enter(jobs, flights, "q2")
    jobs.parts.put("acme", "q1", "prod", b"data", ClusterVerdict("prod", Verdict.OK))
    assert {row.cluster: row.state for row in jobs.job("acme", "q2").progress}["prod"] == "ok"
    jobs.put_result("acme", "q1", b"data", JobState.PARTIAL, LEDGER)
    assert jobs.job("acme", "q2").state is JobState.PARTIAL
    assert [job.query_id for job in jobs.recent("acme")] in (["q1", "q2"], ["q2", "q1"])


def test_a_follower_is_never_reaped_for_itself(jobs: Jobs, flights: Flights) -> None:
    enter(jobs, flights, "q1")
    enter(jobs, flights, "q2")
    assert jobs.overdue(NOW_MS + 60_000) == (("acme", "q1"),)


def test_one_who_withdraws_leaves_the_work_to_the_others(jobs: Jobs, flights: Flights) -> None:
    for name in ("q1", "q2", "q3"):
        enter(jobs, flights, name)
    assert flights.withdraw("acme", "q1", "q1") is False
    assert flights.withdraw("acme", "q3", "q1") is False
    states = {name: jobs.job("acme", name).state for name in ("q1", "q2", "q3")}
    assert states == {"q1": JobState.CANCELLED, "q2": JobState.QUEUED, "q3": JobState.CANCELLED}
    assert flights.withdraw("acme", "q2", "q1") is True


def test_withdrawing_twice_counts_once(jobs: Jobs, flights: Flights) -> None:
    enter(jobs, flights, "q1")
    enter(jobs, flights, "q2")
    assert [flights.withdraw("acme", "q2", "q1") for _ in range(2)] == [False, False]
    assert flights.withdraw("acme", "q1", "q1") is True


def test_who_withdraws_keeps_his_cancelled_job_when_the_others_are_answered(jobs: Jobs, flights: Flights) -> None:
    enter(jobs, flights, "q1")
    enter(jobs, flights, "q2")
    flights.withdraw("acme", "q1", "q1")
    jobs.put_result("acme", "q1", b"data", JobState.COMPLETE, LEDGER)
    job = jobs.job("acme", "q1")
    assert (job.state, job.withdrawn, job.finished_ms) == (JobState.CANCELLED, True, NOW_MS + 50)
    assert jobs.job("acme", "q2").state is JobState.COMPLETE


def test_nobody_joins_what_nobody_wants(jobs: Jobs, flights: Flights) -> None:
    enter(jobs, flights, "q1")
    assert flights.withdraw("acme", "q1", "q1") is True
    assert enter(jobs, flights, "q2") == "q2"


def test_what_has_ended_cannot_be_withdrawn_from(jobs: Jobs, flights: Flights) -> None:
    enter(jobs, flights, "q1")
    jobs.put_result("acme", "q1", b"data", JobState.COMPLETE, LEDGER)
    assert flights.withdraw("acme", "q1", "q1") is None
    assert jobs.job("acme", "q1").state is JobState.COMPLETE
    with pytest.raises(QueryNotFound):
        flights.withdraw("acme", "q9", "q9")


def test_every_key_of_a_flight_has_a_time_to_live(jobs: Jobs, flights: Flights, redis_url: str) -> None:
    enter(jobs, flights, "q1")
    enter(jobs, flights, "q2")
    redis = connect(redis_url)
    assert {name for name in redis.keys("*") if redis.pttl(name) < 0} == set()


class TestKeeping:
    """How long a job and its result rest."""

    def test_an_ended_job_is_kept_from_now_and_never_shorter(self, jobs: Jobs, redis_url: str) -> None:
        jobs.create(plan_of())
        jobs.put_result("acme", "q1", b"data", JobState.COMPLETE, LEDGER)
        assert jobs.job("acme", "q1").expires_ms == NOW_MS + 50 + TTL_MS
        assert jobs.keep("acme", "q1", "q1", 10 * TTL_MS)
        assert jobs.job("acme", "q1").expires_ms == NOW_MS + 50 + 10 * TTL_MS
        assert jobs.keep("acme", "q1", "q1", TTL_MS)
        assert jobs.job("acme", "q1").expires_ms == NOW_MS + 50 + 10 * TTL_MS
        redis = connect(redis_url)
        assert all(redis.pttl(f"{kind}:acme:q1") > 9 * TTL_MS for kind in ("job", "result", "wake"))

    def test_a_running_job_is_kept_from_its_end(self, jobs: Jobs, flights: Flights, redis_url: str) -> None:
        enter(jobs, flights, "q1")
        enter(jobs, flights, "q2")
        assert jobs.keep("acme", "q2", "q1", 10 * TTL_MS)
        jobs.put_result("acme", "q1", b"data", JobState.COMPLETE, LEDGER)
        assert jobs.job("acme", "q2").expires_ms == NOW_MS + 50 + 10 * TTL_MS
        redis = connect(redis_url)
        assert all(redis.pttl(f"job:acme:{name}") > 9 * TTL_MS for name in ("q1", "q2"))

    def test_a_job_that_is_gone_cannot_be_kept(self, jobs: Jobs) -> None:
        assert not jobs.keep("acme", "q1", "q1", TTL_MS)

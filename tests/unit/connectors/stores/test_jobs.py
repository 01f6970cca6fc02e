from threading import Thread

import pytest

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.jobs import Job, Jobs, JobState
from federation_core.connectors.stores.redis import connect
from federation_core.errors import QueryExpired, QueryNotFound, StoreUnavailable, TimedOut
from federation_core.outcome import ClusterVerdict, Stats, Verdict
from tests.support.plans import NOW_MS, plan_of

OK = ClusterVerdict("prod", Verdict.OK, elapsed_ms=12, stats=Stats(series=3, rows=40, bytes=9))
LEDGER = (
    ClusterVerdict("dev", Verdict.TIMED_OUT, "no answer within 5000 ms", TimedOut("late", cluster="dev"), 5000),
    OK,
    ClusterVerdict("stage", Verdict.PRUNED, "not asked for"),
)


@pytest.fixture
def now() -> list[int]:
    return [NOW_MS]


@pytest.fixture
def jobs(redis_url: str, now: list[int]) -> Jobs:
    return Jobs(redis_url, clock=lambda: now[0])


def states(job: Job) -> dict[str, str]:
    return {row.cluster: row.state for row in job.progress}


def test_a_new_job_is_queued_and_shows_every_cluster_of_its_plan(jobs: Jobs) -> None:
    plan = plan_of()
    jobs.create(plan)
    job = jobs.job("acme", "q1")
    assert (job.state, job.plan, job.finished_ms) == (JobState.QUEUED, plan, None)
    assert states(job) == {"dev": "queued", "prod": "queued", "stage": "pruned"}


def test_a_job_runs_from_the_first_start_of_a_part(jobs: Jobs, now: list[int]) -> None:
    jobs.create(plan_of())
    jobs.parts.start("acme", "q1", "prod", NOW_MS)
    now[0] += 70
    job = jobs.job("acme", "q1")
    assert job.state is JobState.RUNNING
    assert [(row.state, row.elapsed_ms) for row in job.progress] == [
        ("queued", None),
        ("running", 70),
        ("pruned", None),
    ]


def test_a_part_shows_its_verdict_and_counts_before_the_job_ends(jobs: Jobs) -> None:
    jobs.create(plan_of())
    jobs.parts.put("acme", "q1", "prod", b"data", OK)
    row = jobs.job("acme", "q1").progress[1]
    assert (row.state, row.elapsed_ms, row.series, row.rows, row.bytes) == ("ok", 12, 3, 40, 9)


def test_a_start_that_arrives_after_its_part_takes_nothing_back(jobs: Jobs) -> None:
    jobs.create(plan_of())
    jobs.parts.put("acme", "q1", "prod", b"data", OK)
    jobs.parts.start("acme", "q1", "prod", NOW_MS)
    assert states(jobs.job("acme", "q1"))["prod"] == "ok"
    assert jobs.parts.read("acme", "q1", ("prod",)) == {"prod": b"data"}


@pytest.mark.parametrize("head", [b"junk", b"{}", b"[]", b'{"cluster": 1}', b"\xff"])
def test_a_verdict_that_cannot_be_read_shows_as_failed(jobs: Jobs, redis_url: str, head: bytes) -> None:
    jobs.create(plan_of())
    connect(redis_url).hset(keys.part("prod", "acme", "q1"), "head", head)
    assert states(jobs.job("acme", "q1"))["prod"] == "failed"


def test_a_verdict_never_speaks_for_another_cluster(jobs: Jobs) -> None:
    jobs.create(plan_of())
    jobs.parts.put("acme", "q1", "dev", b"data", OK)
    assert states(jobs.job("acme", "q1")) == {"dev": "ok", "prod": "queued", "stage": "pruned"}


def test_parts_are_only_those_that_were_written(jobs: Jobs) -> None:
    jobs.create(plan_of())
    jobs.parts.start("acme", "q1", "dev", NOW_MS)
    jobs.parts.put("acme", "q1", "prod", b"data", OK)
    assert jobs.parts.read("acme", "q1", ("dev", "prod", "stage")) == {"prod": b"data"}


def test_the_first_part_stays_and_so_does_its_verdict(jobs: Jobs) -> None:
    jobs.create(plan_of())
    jobs.parts.put("acme", "q1", "prod", b"first", OK)
    jobs.parts.put("acme", "q1", "prod", b"second", ClusterVerdict("prod", Verdict.FAILED, "lost twice"))
    assert jobs.parts.read("acme", "q1", ("prod",)) == {"prod": b"first"}
    assert states(jobs.job("acme", "q1"))["prod"] == "ok"


def test_a_result_ends_the_job_with_its_ledger(jobs: Jobs, now: list[int]) -> None:
    jobs.create(plan_of())
    now[0] += 900
    assert jobs.put_result("acme", "q1", b"answer", JobState.PARTIAL, LEDGER)
    job = jobs.job("acme", "q1")
    assert (job.state, job.finished_ms) == (JobState.PARTIAL, NOW_MS + 900)
    assert states(job) == {"dev": "timed_out", "prod": "ok", "stage": "pruned"}
    assert jobs.result("acme", "q1") == b"answer"


def test_the_first_result_stays(jobs: Jobs) -> None:
    jobs.create(plan_of())
    assert jobs.put_result("acme", "q1", b"first", JobState.COMPLETE)
    assert not jobs.put_result("acme", "q1", b"second", JobState.PARTIAL)
    assert jobs.result("acme", "q1") == b"first"
    assert jobs.job("acme", "q1").state is JobState.COMPLETE


def test_a_result_removes_the_parts_and_a_late_part_changes_nothing(jobs: Jobs) -> None:
    jobs.create(plan_of())
    jobs.parts.put("acme", "q1", "prod", b"data", OK)
    jobs.put_result("acme", "q1", b"answer", JobState.PARTIAL, LEDGER)
    assert jobs.parts.read("acme", "q1", ("prod",)) == {}
    jobs.parts.put("acme", "q1", "dev", b"late", OK)
    assert states(jobs.job("acme", "q1"))["dev"] == "timed_out"
    assert jobs.result("acme", "q1") == b"answer"


def test_a_start_that_arrives_after_the_result_leaves_nothing(jobs: Jobs, redis_url: str) -> None:
    jobs.create(plan_of())
    jobs.parts.start("acme", "q1", "prod", NOW_MS)
    assert jobs.put_result("acme", "q1", b"answer", JobState.PARTIAL, LEDGER)
    jobs.parts.start("acme", "q1", "prod", NOW_MS)
    jobs.parts.start("acme", "nobody", "prod", NOW_MS)
    assert connect(redis_url).keys("part:*") == []


def test_a_result_needs_a_job(jobs: Jobs) -> None:
    with pytest.raises(QueryNotFound):
        jobs.put_result("acme", "nobody", b"answer", JobState.COMPLETE)
    assert jobs.result("acme", "nobody") is None


@pytest.mark.parametrize("timeout_s", [-1, 0, 0.0001, 0.001, 0.0019, 0.05])
def test_wait_says_that_time_is_up(jobs: Jobs, timeout_s: float) -> None:
    jobs.create(plan_of())
    assert not jobs.wait("acme", "q1", timeout_s)


def test_wait_returns_at_once_after_the_result(jobs: Jobs) -> None:
    jobs.create(plan_of())
    jobs.put_result("acme", "q1", b"answer", JobState.COMPLETE)
    assert jobs.wait("acme", "q1", 30)
    assert jobs.wait("acme", "q1", 0)


def test_every_waiter_wakes(jobs: Jobs) -> None:
    jobs.create(plan_of())
    woken: list[bool] = []
    waiters = [Thread(target=lambda: woken.append(jobs.wait("acme", "q1", 20))) for _ in range(40)]
    for waiter in waiters:
        waiter.start()
    jobs.put_result("acme", "q1", b"answer", JobState.COMPLETE)
    for waiter in waiters:
        waiter.join(20)
    assert woken == [True] * 40


def test_one_settler_at_a_time_and_the_claim_ends_by_itself(jobs: Jobs, redis_url: str) -> None:
    jobs.create(plan_of())
    assert jobs.claim("acme", "q1") == (True, plan_of(), None)
    assert jobs.claim("acme", "q1") == (False, plan_of(), None)
    assert jobs.job("acme", "q1").state is JobState.MERGING
    assert 0 < connect(redis_url).pttl(keys.claim("acme", "q1")) <= keys.CLAIM_MS


def test_a_claim_after_the_result_gets_the_result(jobs: Jobs) -> None:
    jobs.create(plan_of())
    jobs.put_result("acme", "q1", b"answer", JobState.COMPLETE)
    assert jobs.claim("acme", "q1") == (False, None, b"answer")


def test_another_tenants_job_does_not_exist(jobs: Jobs) -> None:
    jobs.create(plan_of())
    jobs.put_result("acme", "q1", b"answer", JobState.COMPLETE)
    with pytest.raises(QueryNotFound):
        jobs.job("rival", "q1")
    with pytest.raises(QueryNotFound):
        jobs.claim("rival", "q1")
    assert jobs.result("rival", "q1") is None
    assert not jobs.wait("rival", "q1", 0)
    assert jobs.recent("rival") == ()


@pytest.mark.parametrize(
    ("owner", "query_id", "thief", "forged"),
    [("a:b", "c", "a", "b:c"), ("a", "b:c", "a:b", "c"), ("a", "%3A", "a", ":"), ("a*", "q", "a", "*q")],
)
def test_no_spelling_of_a_name_reaches_another_tenants_job(
    jobs: Jobs, owner: str, query_id: str, thief: str, forged: str
) -> None:
    jobs.create(plan_of(query_id, owner))
    jobs.put_result(owner, query_id, b"secret", JobState.COMPLETE)
    with pytest.raises(QueryNotFound):
        jobs.job(thief, forged)
    assert jobs.result(thief, forged) is None


def test_a_job_whose_time_is_over_is_expired_for_its_owner_only(redis_url: str) -> None:
    jobs = Jobs(redis_url, result_ttl_ms=1)
    jobs.create(plan_of(timeout_ms=1))
    client = connect(redis_url)
    while client.exists(keys.job("acme", "q1")):
        pass
    with pytest.raises(QueryExpired):
        jobs.job("acme", "q1")
    with pytest.raises(QueryNotFound):
        jobs.job("rival", "q1")


def test_recent_jobs_come_newest_first(jobs: Jobs) -> None:
    for number in range(5):
        jobs.create(plan_of(f"q{number}", now_ms=NOW_MS + number))
    jobs.put_result("acme", "q3", b"answer", JobState.COMPLETE)
    assert [(job.query_id, job.state.value) for job in jobs.recent("acme", 3)] == [
        ("q4", "queued"),
        ("q3", "complete"),
        ("q2", "queued"),
    ]


def test_overdue_jobs_are_those_past_their_deadline_without_a_result(jobs: Jobs) -> None:
    jobs.create(plan_of("early", timeout_ms=1_000))
    jobs.create(plan_of("ended", timeout_ms=1_000))
    jobs.create(plan_of("later", "te:nant", timeout_ms=2_000))
    jobs.put_result("acme", "ended", b"answer", JobState.COMPLETE)
    assert jobs.overdue(NOW_MS + 999) == ()
    assert jobs.overdue(NOW_MS + 1_000) == (("acme", "early"),)
    assert jobs.overdue(NOW_MS + 9_000) == (("acme", "early"), ("te:nant", "later"))


def test_every_key_has_a_time_to_live_at_every_stage(jobs: Jobs, redis_url: str) -> None:
    client = connect(redis_url)

    def without_ttl() -> list[bytes]:
        return [key for key in client.scan_iter() if client.pttl(key) == -1]

    jobs.create(plan_of())
    jobs.create(plan_of("other"))
    jobs.parts.start("acme", "q1", "dev", NOW_MS)
    jobs.parts.put("acme", "q1", "prod", b"data", OK)
    jobs.claim("acme", "q1")
    jobs.beats.beat(("prod",), "w", NOW_MS)
    assert without_ttl() == []
    jobs.put_result("acme", "q1", b"answer", JobState.COMPLETE, LEDGER)
    jobs.wait("acme", "q1", 1)
    jobs.parts.start("acme", "q1", "dev", NOW_MS)
    assert without_ttl() == []


def test_every_key_of_a_job_carries_its_tenant(jobs: Jobs, redis_url: str) -> None:
    jobs.create(plan_of())
    jobs.parts.put("acme", "q1", "prod", b"data", OK)
    jobs.claim("acme", "q1")
    shared = {keys.DEADLINES.encode()}
    assert all(b"acme" in key for key in connect(redis_url).scan_iter() if key not in shared)


def test_a_redis_that_is_not_there_is_store_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        Jobs("redis://127.0.0.1:1/0").job("acme", "q1")
    with pytest.raises(StoreUnavailable):
        Jobs("redis://127.0.0.1:1/0").wait("acme", "q1", 1)

"""Admission: caps that hold, places that come back, and no cluster below its share."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from federation_core.config import Backend, Cluster, RateLimit, Settings
from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.admission import LEASE_MARGIN_MS, Admission
from federation_core.connectors.stores.admission_script import LEND_AFTER_MS
from federation_core.connectors.stores.jobs import Jobs, JobState
from federation_core.connectors.stores.redis import connect
from federation_core.errors import QuotaExceeded, Rejected, StoreUnavailable
from federation_core.outcome import ClusterVerdict, Verdict
from federation_core.plan import Plan
from federation_core.tenancy import Limits
from federation_core.topology.shares import shares
from tests.support.plans import plan_of

MANY = Limits(max_running_jobs=1_000)
OFTEN = RateLimit(requests_per_second=10_000, burst=10_000)


def cluster(name: str, weight: float = 1.0, rate_limit: RateLimit = OFTEN) -> Cluster:
    return Cluster(name, "prod", (Backend("metrics", "memory"),), weight=weight, rate_limit=rate_limit)


class Places:
    """An admission over its own clusters, and what Redis holds of it."""

    def __init__(self, url: str, *clusters: Cluster, cap: int = 1_000) -> None:
        self.admission = Admission(Settings(clusters, redis_url=url, max_shards_in_flight=cap))
        self.redis: Any = connect(url)
        self.names = tuple(c.name for c in clusters)

    def ask(
        self,
        query_id: str,
        names: Iterable[str] = (),
        tenant: str = "acme",
        limits: Limits = MANY,
        timeout_ms: int = 60_000,
    ) -> tuple[Plan, dict[str, str]]:
        """Admit a query; return its plan and the reasons of the clusters that refuse."""
        plan = plan_of(query_id, tenant, tuple(names or self.names), timeout_ms=timeout_ms)
        rows = self.admission.admit(plan, limits)
        assert all(row.verdict is Verdict.THROTTLED for row in rows)
        return plan, {row.cluster: row.reason for row in rows}

    def in_flight(self, name: str) -> int:
        return int(self.redis.zcard(keys.in_flight(name)))


def test_a_tenant_above_its_cap_is_refused_and_may_come_back_when_a_job_ends(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod"))
    two = Limits(max_running_jobs=2)
    first, _ = places.ask("q1", limits=two)
    places.ask("q2", limits=two)
    with pytest.raises(QuotaExceeded, match="2 queries of this tenant are running") as caught:
        places.ask("q3", limits=two)
    assert 1 <= caught.value.retry_after_s <= 5
    assert places.in_flight("prod") == 2
    places.admission.release(first)
    assert places.ask("q3", limits=two)[1] == {}


def test_another_tenant_has_a_cap_of_its_own(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod"))
    one = Limits(max_running_jobs=1)
    places.ask("q1", limits=one)
    assert places.ask("q1", tenant="bank", limits=one)[1] == {}


def test_a_cluster_takes_no_more_than_may_run_and_wait(redis_url: str) -> None:
    full = cluster("prod", rate_limit=replace(OFTEN, max_concurrent=2, max_queued=1))
    places = Places(redis_url, full, cluster("dev"))
    for number in range(3):
        assert places.ask(f"q{number}", tenant=f"t{number}")[1] == {}
    _, refused = places.ask("q3", tenant="t3")
    assert refused == {"prod": "3 shards are on their way to it, as many as it takes"}
    assert (places.in_flight("prod"), places.in_flight("dev")) == (3, 4)


def test_a_refusal_says_when_to_come_back(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod", rate_limit=replace(OFTEN, max_concurrent=1, max_queued=0)))
    places.ask("q1", timeout_ms=60_000)
    (row,) = places.admission.admit(plan_of("q2", "bank", ("prod",)), MANY)
    assert isinstance(row.error, Rejected)
    assert row.error.retry_after_s == 5


def test_what_lies_in_a_queue_counts_though_nobody_waits_for_it_any_more(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod", rate_limit=replace(OFTEN, max_concurrent=2, max_queued=2)))
    places.redis.rpush("cluster.prod", *["a dead query's message"] * 4)
    assert places.ask("q1")[1] == {"prod": "its queue holds 4 shards, as many as it may"}
    places.redis.lpop("cluster.prod")
    assert places.ask("q1")[1] == {}


def test_one_tenant_leaves_others_a_quarter_of_a_cluster(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod", rate_limit=replace(OFTEN, max_concurrent=4, max_queued=4)))
    refused = [places.ask(f"q{number}")[1] for number in range(8)]
    assert [bool(row) for row in refused] == [False] * 6 + [True] * 2
    assert refused[6]["prod"] == "6 shards of this tenant are on their way to it, as many as may be"
    assert places.ask("q1", tenant="bank")[1] == {}


def test_a_cluster_that_hangs_leaves_a_tenant_a_quarter_of_its_jobs_for_the_others(redis_url: str) -> None:
    places = Places(redis_url, cluster("dev"), cluster("hangs"), cluster("prod"))
    eight = Limits(max_running_jobs=8)
    for number in range(6):
        assert places.ask(f"q{number}", limits=eight)[1] == {}
        for name in ("dev", "prod"):
            places.redis.zrem(keys.in_flight(name), keys.member("acme", f"q{number}"))
            places.redis.zrem(keys.in_flight(name, "acme"), keys.member("acme", f"q{number}"))
    for number in range(100):
        plan, refused = places.ask(f"later-{number}", limits=eight)
        assert set(refused) == {"hangs"}
        places.admission.release(plan)


def test_a_cluster_is_asked_as_often_as_its_burst_and_its_rate_allow(redis_url: str) -> None:
    slow = cluster("prod", rate_limit=RateLimit(requests_per_second=0.01, burst=3))
    places = Places(redis_url, slow, cluster("dev"))
    assert [set(places.ask(f"q{number}")[1]) for number in range(5)] == [set()] * 3 + [{"prod"}] * 2
    assert places.ask("q9")[1]["prod"] == "it is asked 0.01 times a second, as often as it may"


def test_a_burst_comes_back_with_time_and_never_grows_above_itself(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod", rate_limit=RateLimit(requests_per_second=1, burst=2)))
    seconds, _ = places.redis.time()
    places.redis.hset(keys.RATES, "prod", f"0.000000 {(seconds - 600) * 1000}")
    assert [set(places.ask(f"q{number}")[1]) for number in range(3)] == [set(), set(), {"prod"}]


def test_leaves_are_counted_not_shards(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod", rate_limit=RateLimit(requests_per_second=0.01, burst=4)))
    plan = plan_of("q1", clusters=("prod",))
    three = replace(plan.shards[0], leaves=plan.shards[0].leaves * 3)
    assert places.admission.admit(replace(plan, shards=(three,)), MANY) == ()
    again = replace(plan, query_id="q2", shards=(three,))
    assert [row.cluster for row in places.admission.admit(again, MANY)] == ["prod"]


def test_more_leaves_than_a_burst_are_let_through_once_and_owed(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod", rate_limit=RateLimit(requests_per_second=0.01, burst=2)))
    plan = plan_of("q1", clusters=("prod",))
    many = replace(plan.shards[0], leaves=plan.shards[0].leaves * 5)
    assert places.admission.admit(replace(plan, shards=(many,)), MANY) == ()
    assert places.ask("q2")[1].keys() == {"prod"}


def test_asking_twice_for_one_job_takes_one_place(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod", rate_limit=replace(OFTEN, max_concurrent=1, max_queued=0)))
    one = Limits(max_running_jobs=1)
    for _ in range(3):
        assert places.ask("q1", limits=one)[1] == {}
    assert places.in_flight("prod") == 1


def test_nothing_keeps_a_place_beyond_its_lease(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod", rate_limit=replace(OFTEN, max_concurrent=1, max_queued=0)))
    one = Limits(max_running_jobs=1)
    places.ask("q1", limits=one, timeout_ms=60_000)
    seconds, micros = places.redis.time()
    now_ms = seconds * 1000 + micros // 1000
    for key in (keys.running("acme"), keys.in_flight("prod"), keys.in_flight("prod", "acme")):
        ((member, ends_ms),) = places.redis.zrange(key, 0, -1, withscores=True)
        assert abs(ends_ms - now_ms - 60_000 - LEASE_MARGIN_MS) < 30_000
        # As if the web role had died and a minute had passed.
        places.redis.zadd(key, {member: now_ms - 1})
    assert places.ask("q2", limits=one)[1] == {}
    assert places.in_flight("prod") == 1


def test_every_key_has_a_time_to_live(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod"), cluster("dev"))
    places.ask("q1")
    found = places.redis.keys()
    assert len(found) == 6
    assert all(places.redis.pttl(key) > 0 for key in found)


def test_rates_are_forgotten_when_every_burst_is_whole_again(redis_url: str) -> None:
    slow = cluster("prod", rate_limit=RateLimit(requests_per_second=0.5, burst=100))
    Places(redis_url, slow, cluster("dev")).ask("q1")
    # 100 leaves at one in two seconds, and as many that may be owed.
    assert 300_000 < connect(redis_url).pttl(keys.RATES) <= 400_000


def test_a_longer_lease_is_not_cut_by_a_shorter_one_after_it(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod"))
    places.ask("q1", timeout_ms=600_000)
    places.ask("q2", timeout_ms=1_000)
    assert all(places.redis.pttl(key) > 500_000 for key in (keys.running("acme"), keys.in_flight("prod")))


def test_a_query_that_asks_no_cluster_takes_a_job_s_place_only(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod"))
    plan = replace(plan_of("q1"), shards=())
    assert places.admission.admit(plan, MANY) == ()
    assert places.redis.keys() == [keys.running("acme").encode()]


def test_release_gives_back_every_place(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod"), cluster("dev"))
    plan, _ = places.ask("q1")
    places.admission.release(plan)
    assert places.redis.keys() == [keys.RATES.encode()]


def test_a_part_gives_back_its_cluster_s_place_and_a_result_all_others(redis_url: str) -> None:
    places, jobs = Places(redis_url, cluster("prod"), cluster("dev")), Jobs(redis_url)
    plan, _ = places.ask("q1")
    jobs.create(plan)
    jobs.parts.put("acme", "q1", "prod", b"data", ClusterVerdict("prod", Verdict.OK))
    assert (places.in_flight("prod"), places.in_flight("dev")) == (0, 1)
    assert places.redis.zcard(keys.running("acme")) == 1
    rows = [ClusterVerdict(name, Verdict.TIMED_OUT, "late") for name in places.names]
    jobs.put_result("acme", "q1", b"result", JobState.PARTIAL, rows)
    left = places.redis.keys("inflight:*") + places.redis.keys("running:*")
    assert left == []


def test_a_tenant_s_name_cannot_name_another_key(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod"))
    places.ask("q1", tenant="a:b*")
    assert keys.in_flight("prod", "a:b*").encode() in places.redis.keys("inflight:prod:a%3Ab%2A")


def test_a_redis_that_refuses_is_the_store_s_failure(redis_url: str) -> None:
    places = Places(redis_url, cluster("prod"))
    places.redis.set(keys.in_flight("prod"), "not a sorted set")
    with pytest.raises(StoreUnavailable, match="Redis refuses"):
        places.ask("q1")


def test_a_redis_that_is_gone_is_said() -> None:
    places = Places("redis://127.0.0.1:1/0", cluster("prod"))
    with pytest.raises(StoreUnavailable, match="does not answer"):
        places.ask("q1")


def test_under_saturation_clusters_have_their_share_by_weight(redis_url: str) -> None:
    places = Places(redis_url, cluster("dev", 1.0), cluster("prod", 3.0), cap=20)
    for number in range(40):
        places.ask(f"q{number}")
    assert (places.in_flight("dev"), places.in_flight("prod")) == (5, 15)
    _, refused = places.ask("more")
    assert refused["dev"] == "all 20 places for shards are taken, and it has its share of 5 or lent of it"


def test_a_cluster_that_nobody_asks_lends_half_of_its_share(redis_url: str) -> None:
    places = Places(redis_url, cluster("dev", 1.0), cluster("prod", 3.0), cap=20)
    for number in range(40):
        places.ask(f"q{number}", ["dev"])
    # Of prod's 15 places 8 are always free for it.
    assert places.in_flight("dev") == 12
    for number in range(40):
        places.ask(f"p{number}", ["prod"])
    assert places.in_flight("prod") == 8


def test_a_cluster_that_is_asked_by_the_same_query_lends_nothing_to_it(redis_url: str) -> None:
    places = Places(redis_url, cluster("dev", 1.0), cluster("prod", 3.0), cap=20)
    for number in range(5):
        places.ask(f"q{number}", ["dev"])
    assert places.ask("both", ["dev", "prod"])[1].keys() == {"dev"}


def test_what_is_lent_comes_back_when_its_owner_is_asked(redis_url: str) -> None:
    places = Places(redis_url, cluster("dev", 1.0), cluster("prod", 3.0), cap=20)
    lent = [places.ask(f"q{number}", ["dev"])[0] for number in range(12)]
    for number in range(8):
        assert places.ask(f"p{number}", ["prod"])[1] == {}
    for place, plan in enumerate(lent[:7]):
        places.admission.release(plan)
        # The place that came free is the owner's, though the borrower asks first.
        assert set(places.ask(f"again-{place}", ["dev"])[1]) == {"dev"}
        assert places.ask(f"back-{place}", ["prod"])[1] == {}
    assert (places.in_flight("dev"), places.in_flight("prod")) == (5, 15)


def test_a_cluster_lends_again_when_it_has_not_been_asked_for_a_while(redis_url: str) -> None:
    places = Places(redis_url, cluster("dev", 1.0), cluster("prod", 3.0), cap=20)
    plan, _ = places.ask("p", ["prod"])
    places.admission.release(plan)
    for number in range(9):
        places.ask(f"q{number}", ["dev"])
    assert places.in_flight("dev") == 5
    seconds, _ = places.redis.time()
    places.redis.hset(keys.RATES, "prod", f"1.000000 {seconds * 1000 - LEND_AFTER_MS - 2_000}")
    for number in range(9):
        places.ask(f"r{number}", ["dev"])
    assert places.in_flight("dev") == 12


@pytest.mark.parametrize("seed", range(4))
def test_random_asking_never_exceeds_a_cap_nor_starves_a_cluster_below_its_share(redis_url: str, seed: int) -> None:
    chance = random.Random(seed)
    weights = {name: chance.choice((0.5, 1.0, 2.0, 5.0)) for name in ("a", "b", "c", "d")}
    cap = chance.randint(30, 60)
    most = {name: chance.randint(5, 60) for name in weights}
    clusters = [
        cluster(name, weights[name], replace(OFTEN, max_concurrent=most[name], max_queued=0)) for name in weights
    ]
    places, own = Places(redis_url, *clusters, cap=cap), shares(weights, cap)
    running: dict[str, Plan] = {}
    for step in range(400):
        if chance.random() < 0.2:
            # As if nobody had asked it for a while: it lends, and wants back when it is asked.
            places.redis.hdel(keys.RATES, chance.choice(sorted(weights)))
        if running and chance.random() < (0.2 if step < 300 else 0.5):
            places.admission.release(running.pop(chance.choice(sorted(running))))
            continue
        tenant, before = f"t{chance.randint(0, 9)}", {name: places.in_flight(name) for name in weights}
        asked = sorted(chance.sample(sorted(weights), chance.choice((1, 1, 2, 4))))
        plan, refused = places.ask(f"q{step}", asked, tenant=tenant)
        running[plan.query_id] = plan
        after = {name: places.in_flight(name) for name in weights}
        assert sum(after.values()) <= cap
        assert all(after[name] <= most[name] for name in weights)
        for name in asked:
            assert after[name] == before[name] + (name not in refused)
            if before[name] < -(-own[name] // 2):
                assert "places for shards" not in refused.get(name, "")


def test_a_cluster_below_its_share_is_never_refused_while_all_are_asked(redis_url: str) -> None:
    chance = random.Random(7)
    weights = {"a": 1.0, "b": 2.0, "c": 5.0}
    places, own = Places(redis_url, *(cluster(n, w) for n, w in weights.items()), cap=24), shares(weights, 24)
    running = [places.ask("first")[0]]
    for step in range(300):
        if len(running) > 1 and chance.random() < 0.3:
            places.admission.release(running.pop(chance.randrange(len(running))))
        before = {name: places.in_flight(name) for name in weights}
        plan, refused = places.ask(f"q{step}", [chance.choice("abc")])
        running.append(plan)
        assert not any(before[name] < own[name] for name in refused)

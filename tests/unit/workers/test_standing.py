"""What one process says of its clusters' backends, and what it takes from the answer."""

import json

import pytest

from federation_core.connectors.stores.breakers import Sighting
from federation_core.connectors.stores.jobs_beats import ALIVE_MS, Told
from federation_core.errors import (
    FederationError,
    Malformed,
    QueryCanceled,
    QueryExecutionError,
    QueryTooLarge,
    Rejected,
    TimedOut,
    TooLarge,
    Unreachable,
)
from federation_core.health import About, BackendBreaker, BackendHealth, Breaker
from workers.standing import ROW_EVERY_S, WELL_FOR_S, Standing

METRICS = ("prod", "metrics")
GONE = Unreachable("no connection to the backend: Connection refused")
UP = BackendHealth("metrics", "prometheus", True, latency_ms=3)
DOWN = BackendHealth("metrics", "prometheus", False, error="refused (401)")


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def standing(clock: Clock) -> Standing:
    return Standing(monotonic=clock)


def sighted(standing: Standing) -> Sighting | None:
    """Return what the next beat says of the backend, if anything."""
    seen = standing.report({"prod"}).seen
    return seen["prod"].sightings.get("metrics") if seen else None


def told(state: Breaker, *to_probe: str) -> dict[str, Told]:
    breaker = BackendBreaker(state, 1, 2, 3, "dead")
    return {"prod": Told(1, 0, {"metrics": breaker}, frozenset(to_probe))}


def test_of_the_queries_that_reach_nobody_one_counts_between_two_probes(standing: Standing) -> None:
    for _ in range(5):
        standing.query_ended("prod", "metrics", GONE)
    assert sighted(standing) == Sighting(failed=1)
    standing.query_ended("prod", "series", GONE)
    assert sighted(standing) is None
    standing.probed(DOWN, "prod")
    standing.query_ended("prod", "metrics", GONE)
    # What was answered to a query may be its tenant's own, and is told to nobody.
    assert sighted(standing) == Sighting(failed=2, words=DOWN.error)


BUSY = BackendHealth("metrics", "prometheus", True, error="the backend takes no more requests now")


def test_a_probe_that_finds_a_backend_busy_ends_a_row_of_failures(standing: Standing) -> None:
    for _ in range(3):
        standing.query_ended("prod", "metrics", GONE)
        standing.probed(BUSY, "prod")
        assert sighted(standing) == Sighting(answered=True)


def test_the_probe_that_decides_decides_whatever_it_finds(standing: Standing) -> None:
    """A folder that is not there does not hang: it may be asked, as ever."""
    standing.heard(standing.report(set()), told(Breaker.HALF_OPEN, "metrics"))
    standing.probed(DOWN, "prod", counts=False)
    assert sighted(standing) == Sighting(answered=True)


def failing_elsewhere(standing: Standing, since_ms: int) -> bool:
    """Tell whether a beat that is told of it brings the next probe forward."""
    breaker = BackendBreaker(Breaker.CLOSED, since_ms, since_ms, 1, "dead")
    standing.heard(standing.report(set()), {"prod": Told(2, 0, {"metrics": breaker}, frozenset())})
    return METRICS in standing.wanted()[1]


def test_what_fails_elsewhere_brings_a_probe_forward_once_in_a_row_of_failures(
    standing: Standing, clock: Clock
) -> None:
    assert failing_elsewhere(standing, 7)
    for _ in range(20):
        standing.probed(UP, "prod")
        clock.now_s += WELL_FOR_S
        assert not failing_elsewhere(standing, 7)
    assert failing_elsewhere(standing, 8)


def test_what_was_well_just_now_is_probed_a_little_later_when_it_fails_elsewhere(
    standing: Standing, clock: Clock
) -> None:
    standing.probed(UP, "prod")
    assert not failing_elsewhere(standing, 7)
    clock.now_s += WELL_FOR_S
    assert failing_elsewhere(standing, 7)


def test_what_is_known_here_to_fail_is_probed_no_sooner_for_others_nor_for_queries(
    standing: Standing, clock: Clock
) -> None:
    standing.probed(DOWN, "prod")
    clock.now_s += WELL_FOR_S
    assert not failing_elsewhere(standing, 7)
    standing.query_ended("prod", "metrics", GONE)
    assert standing.wanted()[1] == frozenset()


@pytest.mark.parametrize(
    "error",
    [TimedOut("late"), Malformed("nonsense"), TooLarge("much"), Rejected("401"), Rejected("x", retry_after_s=1)],
)
def test_what_may_be_the_querys_own_doing_only_brings_the_next_probe_forward(
    standing: Standing, error: FederationError
) -> None:
    for _ in range(5):
        standing.query_ended("prod", "metrics", error)
    assert sighted(standing) is None
    assert standing.wanted() == (frozenset(), {METRICS})
    assert standing.awakened.is_set()
    standing.probed(UP, "prod")
    assert standing.wanted() == (frozenset(), frozenset())


@pytest.mark.parametrize("error", [QueryCanceled("no"), QueryTooLarge("much")])
def test_what_says_nothing_of_a_backend_is_not_noted(standing: Standing, error: FederationError) -> None:
    standing.query_ended("prod", "metrics", error)
    assert (sighted(standing), standing.wanted()) == (None, (frozenset(), frozenset()))


@pytest.mark.parametrize("error", [None, QueryExecutionError("many-to-many")])
def test_a_query_that_was_answered_says_that_the_backend_lives(
    standing: Standing, error: FederationError | None
) -> None:
    standing.probed(DOWN, "prod")
    standing.query_ended("prod", "metrics", error)
    assert sighted(standing) == Sighting(answered=True)
    standing.query_ended("prod", "metrics", error)
    standing.probed(DOWN, "prod")
    standing.probed(DOWN, "prod")
    assert sighted(standing) == Sighting(answered=True, failed=2, words=DOWN.error)


def test_what_a_lost_beat_carried_is_not_said_again(standing: Standing) -> None:
    standing.probed(DOWN, "prod")
    standing.report({"prod"})
    assert sighted(standing) is None


def test_what_is_seen_of_a_cluster_waits_for_a_beat_of_it(standing: Standing) -> None:
    standing.probed(DOWN, "prod")
    assert standing.report({"dev"}).seen == {}
    assert sighted(standing) == Sighting(failed=1, words=DOWN.error)


def test_a_row_is_sent_until_it_is_heard_and_then_when_it_says_something_new_or_is_old(
    standing: Standing, clock: Clock
) -> None:
    def rows() -> dict[str, tuple[int, str]]:
        seen = standing.report({"prod"}).seen
        return dict(seen["prod"].rows) if seen else {}

    standing.probed(UP, "prod")
    clock.now_s += 0.5
    ((age_ms, row),) = rows().values()
    assert (age_ms, json.loads(row)["up"]) == (500, True)
    assert rows() != {}
    standing.heard(standing.report({"prod"}), {})
    assert rows() == {}
    standing.probed(UP, "prod")
    assert rows() == {}
    clock.now_s += ROW_EVERY_S
    assert rows()["metrics"][0] == ROW_EVERY_S * 1000
    standing.heard(standing.report({"prod"}), {})
    standing.probed(DOWN, "prod")
    assert json.loads(rows()["metrics"][1])["error"] == DOWN.error


def test_what_a_backend_tells_of_itself_comes_to_the_row_of_its_probe(standing: Standing, clock: Clock) -> None:
    standing.probed(UP, "prod")
    standing.heard(standing.report({"prod"}), {})
    clock.now_s += 1
    standing.describe("prod", "metrics", About("Prometheus 2.42.0", 7))
    age_ms, row = standing.report({"prod"}).seen["prod"].rows["metrics"]
    assert (age_ms, json.loads(row)["version"], json.loads(row)["newest_ms"]) == (1_000, "Prometheus 2.42.0", 7)


def test_a_row_that_changes_while_a_beat_is_under_way_is_in_the_next_one(standing: Standing) -> None:
    standing.probed(UP, "prod")
    under_way = standing.report({"prod"})
    standing.probed(DOWN, "prod")
    standing.heard(under_way, {})
    assert json.loads(standing.report({"prod"}).seen["prod"].rows["metrics"][1])["up"] is False


@pytest.mark.parametrize(
    ("state", "refuses"), [(Breaker.CLOSED, False), (Breaker.OPEN, True), (Breaker.HALF_OPEN, True)]
)
def test_queries_are_kept_from_a_backend_whose_breaker_is_not_closed(
    standing: Standing, state: Breaker, refuses: bool
) -> None:
    assert standing.shut("prod", "metrics") is None
    standing.heard(standing.report(set()), told(state))
    assert (standing.shut("prod", "metrics") is not None) is refuses
    assert (standing.shut("prod", "series") is not None) is refuses
    assert (standing.shut("prod", "logs"), standing.shut("dev", "metrics")) == (None, None)


def test_nobody_is_refused_on_old_news(standing: Standing, clock: Clock) -> None:
    standing.heard(standing.report(set()), told(Breaker.OPEN))
    clock.now_s += ALIVE_MS / 1000 + 0.1
    assert standing.shut("prod", "metrics") is None


def test_who_is_told_to_probe_does_so_once_however_often_he_is_told_meanwhile(standing: Standing) -> None:
    for _ in range(2):
        standing.heard(standing.report(set()), told(Breaker.HALF_OPEN, "metrics"))
    assert standing.wanted()[0] == {METRICS}
    assert standing.awakened.is_set()
    standing.probed(DOWN, "prod")
    assert standing.wanted()[0] == frozenset()


def test_a_failure_that_does_not_count_is_shown_all_the_same(standing: Standing) -> None:
    standing.probed(DOWN, "prod", counts=False)
    seen = standing.report({"prod"}).seen["prod"]
    assert (seen.sightings, set(seen.rows)) == ({}, {"metrics"})


def test_listeners_hear_how_many_processes_there_are(standing: Standing) -> None:
    heard: list[tuple[str, int, int]] = []
    standing.listen(lambda cluster, answer: heard.append((cluster, answer.processes, answer.rank)))
    standing.heard(standing.report(set()), {"prod": Told(3, 2, {}, frozenset())})
    assert heard == [("prod", 3, 2)]


def test_who_is_about_to_refuse_on_older_news_has_the_next_beat_sent_at_once(standing: Standing, clock: Clock) -> None:
    standing.heard(standing.report(set()), told(Breaker.OPEN))
    clock.now_s += 0.5
    assert standing.refuses("prod", "metrics", clock.now_s - 0.6, 0) is not None
    assert not standing.hurried.is_set()
    assert standing.refuses("prod", "metrics", clock.now_s, 0) is None
    assert standing.hurried.is_set()
    assert standing.refuses("prod", "logs", clock.now_s, 0) is None
    under_way = standing.report(set())
    clock.now_s += 0.5
    standing.heard(under_way, told(Breaker.OPEN))
    assert standing.refuses("prod", "metrics", clock.now_s - 0.5, 0) is not None
    assert standing.refuses("prod", "metrics", clock.now_s, 0) is None


def test_what_a_worker_was_told_to_find_out_does_not_wait_for_the_next_beat(standing: Standing) -> None:
    standing.probed(DOWN, "prod")
    assert not standing.hurried.is_set()
    standing.heard(standing.report(set()), told(Breaker.HALF_OPEN, "metrics"))
    standing.probed(UP, "prod")
    assert standing.hurried.is_set()


def test_what_fails_for_another_process_is_probed_from_here_too(standing: Standing) -> None:
    standing.heard(standing.report(set()), told(Breaker.OPEN))
    assert standing.wanted() == (frozenset(), frozenset())
    standing.heard(standing.report(set()), told(Breaker.CLOSED))
    assert standing.wanted() == (frozenset(), {METRICS})
    assert standing.awakened.is_set()


def test_a_folder_that_is_not_there_yet_is_looked_for_again_and_counts_as_no_failure(clock: Clock) -> None:
    standing = Standing(frozenset({METRICS}), clock)
    standing.query_ended("prod", "series", Unreachable("no store"))
    assert sighted(standing) is None
    assert standing.wanted() == (frozenset(), {METRICS})
    standing.query_ended("prod", "logs", GONE)
    assert standing.report({"prod"}).seen["prod"].sightings["logs"].failed == 1

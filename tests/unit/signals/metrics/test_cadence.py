"""What is said of windows and steps that do not fit how often clusters are scraped; nothing of the query is changed."""

from __future__ import annotations

import pytest

from federation_core.config import Backend, Cluster
from federation_core.federate import combine, explain, plan, run_shard
from federation_core.plan import Plan
from federation_core.query import Query, TimeRange
from tests.support.federations import scope_over
from tests.support.sample_store import MemoryConnector, as_dict, every, series

HOUR_MS = 3_600_000
ASKED = TimeRange(HOUR_MS, 2 * HOUR_MS, 15_000)
#: dev is scraped as often as prod; of stage nobody has said anything.
INTERVALS = {"dev": 30_000, "prod": 30_000, "stage": None, "test": 60_000}


def planned(text: str, when: TimeRange = ASKED) -> Plan:
    clusters = [
        Cluster(name, "e", (Backend("metrics", "memory", origin="t:1", scrape_interval_ms=interval),))
        for name, interval in INTERVALS.items()
    ]
    query = Query("metrics", text, when, "team-a")
    return plan(query, scope_over(INTERVALS), clusters, query_id="q", served=INTERVALS, now_ms=3 * HOUR_MS)


def test_a_rate_over_less_than_two_scrapes_is_a_warning_with_what_would_do() -> None:
    assert planned("sum(rate(x[20s]))").warnings == (
        "dev, prod are scraped every 30s: rate over [20s] has no two samples, over [1m] it has",
        "test is scraped every 1m: rate over [20s] has no two samples, over [2m] it has",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate(x[1m])", ["test is scraped every 1m: rate over [1m] at times has no two samples, over [2m] it has"]),
        ("rate(x[2m])", []),
        ("max_over_time(x[1m])", []),
        ("max_over_time(x[45s])", ["test is scraped every 1m: max_over_time over [45s] at times has no sample,"]),
        ('rate(x{cluster=~"stage|dev"}[2m]) / rate(x{cluster="stage"}[10s])', []),
        ("max_over_time(rate(x[2m])[10s:5s])", []),
        ("x", []),
    ],
)
def test_windows_are_judged_by_what_their_function_needs_of_the_clusters_they_are_asked_of(
    text: str, said: list[str]
) -> None:
    warnings = planned(text).warnings
    assert len(warnings) == len(said)
    for warning, begins in zip(warnings, said, strict=True):
        assert warning.startswith(begins)


def test_a_step_below_the_interval_is_a_note_alone_and_stays_what_it_is() -> None:
    made = planned("x")
    assert made.warnings == ()
    notes = [note for note in explain(made)["notes"] if "scraped" in note]
    assert notes == [
        "dev, prod are scraped every 30s: at a step of 15s their values are repeated",
        "test is scraped every 1m: at a step of 15s their values are repeated",
    ]
    assert {leaf.time_range.step_ms for shard in made.shards for leaf in shard.leaves} == {15_000}


def test_the_answer_carries_the_warning_and_no_other_number() -> None:
    made = planned('rate(x{cluster="prod"}[20s])')
    store = [series("x", every(30_000, [float(step) for step in range(240)]))]
    parts = {s.cluster_name: run_shard(s, MemoryConnector(store), lambda: 3 * HOUR_MS) for s in made.shards}
    found = combine(made, parts, INTERVALS)
    assert (as_dict(found.payload), found.status) == ({}, "complete")
    assert found.warnings == made.warnings == Plan.from_wire(made.to_wire()).warnings != ()

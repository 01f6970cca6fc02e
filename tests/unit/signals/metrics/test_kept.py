"""Clusters that keep less than a query looks at: a step is answered with all of a cluster's samples or with none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from federation_core.config import Backend, Cluster
from federation_core.errors import CoverageTooLow
from federation_core.federate import combine, explain, plan, run_shard, without
from federation_core.outcome import Result, Verdict
from federation_core.plan import Plan
from federation_core.query import Query, Requirement, TimeRange
from federation_core.signals.metrics.frame import Frame
from federation_core.signals.metrics.moments import resolve
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.printer import to_text
from federation_core.times import format_time
from tests.support.federations import scope_over
from tests.support.sample_store import MemoryConnector, Series, as_dict, every, series

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
#: Somewhere off every grid, so that nothing is right by chance.
NOW_MS = 400 * HOUR_MS + 17_345
ASKED = TimeRange(NOW_MS - 3 * HOUR_MS, NOW_MS, 10 * MINUTE_MS)
NAMES = ("dev", "prod", "stage")


def stores(seed: int = 7) -> Mapping[str, Sequence[Series]]:
    """Return six hours of counters and gauges, with a gap each and a series that ends."""
    random = np.random.default_rng(seed)
    begin_ms = NOW_MS // MINUTE_MS * MINUTE_MS - 6 * HOUR_MS

    def of(cluster: str) -> list[Series]:
        found = []
        for job in ("api", "dns") if cluster != "stage" else ("api",):
            rising = random.integers(0, 50, 360).cumsum().astype(float)
            level = random.integers(-20, 90, 360).astype(float)
            for name, values in (("rises", rising), ("x", level), ("y", level[::-1])):
                labels, times, kept = series(f'{name}{{job="{job}"}}', every(MINUTE_MS, list(values), begin_ms))
                hole = int(random.integers(20, 300))
                found.append((labels, times[:hole] + times[hole + 12 :], kept[:hole] + kept[hole + 12 :]))
        return found

    return {name: of(name) for name in NAMES}


STORES = stores()


def planned(text: str, kept_ms: Mapping[str, int], when: TimeRange = ASKED, require: str = "best_effort") -> Plan:
    clusters = [
        Cluster(name, "prod", (Backend("metrics", "memory", origin="t:1", retention_ms=kept_ms.get(name)),))
        for name in NAMES
    ]
    query = Query("metrics", text, when, "team-a", requirement=Requirement.parse(require))
    return plan(query, scope_over(NAMES), clusters, query_id="q", served=NAMES, now_ms=NOW_MS)


def answered(made: Plan, silent: Sequence[str] = ()) -> Result:
    partials = {
        shard.cluster_name: run_shard(shard, MemoryConnector(STORES[shard.cluster_name]), lambda: NOW_MS)
        for shard in made.shards
        if shard.cluster_name not in silent
    }
    return combine(made, partials, NAMES)


def asked_from(made: Plan, cluster: str) -> int | None:
    return made.cuts[cluster].from_ms


QUERIES = [
    "x",
    "sum by (job) (x)",
    "avg(x) - avg(x offset 50m)",
    "rate(rises[30m])",
    "sum(rate(rises[30m])) / count(x)",
    "max_over_time(sum(x)[40m:5m])",
    "max_over_time(rate(rises[10m])[40m:7m])",
    "quantile_over_time(scalar(count(x)) / 10, x[25m])",
    "histogram_quantile(0.5, x) or sum by (job) (x > 60)",
    "topk(2, x - on (cluster, job) y)",
    'sum(x{cluster="prod"} offset 1h) / sum(x{cluster!="prod"})',
    'absent(x{job="dns"} > 40)',
    "absent_over_time(sum(x > 70)[20m:5m])",
    "sum(x > 75) or vector(0)",
    "x unless on (job) (y > 60)",
    "count(x) * scalar(sum(y))",
    "scalar(sum(x > 80) or vector(-1)) + 0 * time()",
    "max_over_time(sum(x)[40m:10m] @ end()) + sum(x)",
    "sum(x) + sum(min_over_time(x[20m] offset -10m))",
]


@pytest.mark.parametrize("text", QUERIES)
@pytest.mark.parametrize("kept_h", [{"prod": 2.1}, {"prod": 1.4, "stage": 2.33}, dict.fromkeys(NAMES, 1.9)])
def test_a_step_is_answered_with_all_of_a_cluster_or_as_if_it_were_silent(text: str, kept_h: dict[str, float]) -> None:
    """The whole answer where nothing is missing; before, that of a federation in which the cluster does not answer."""
    made = planned(text, {name: int(hours * HOUR_MS) for name, hours in kept_h.items()})
    found = answered(made)
    begins = {name: cut.from_ms for name, cut in made.cuts.items()}
    for step, at_ms in enumerate(range(ASKED.start_ms, ASKED.end_ms + 1, ASKED.step_ms)):
        silent = [name for name, from_ms in begins.items() if from_ms is None or at_ms < from_ms]
        whole = planned(to_text(resolve(parse(text), ASKED)), {}, TimeRange(at_ms, at_ms, ASKED.step_ms))
        want = answered(whole, silent)
        if want.payload is None:
            # Nobody is there: a federation of that step alone refuses, and this one has a gap, or no number.
            assert set(at_step(found, step).values()) <= {"nan"}
        else:
            assert at_step(found, step) == at_step(want, 0), (step, silent)


def at_step(result: Result, step: int) -> dict[str, float]:
    frame = result.payload
    assert isinstance(frame, Frame)
    rows = np.flatnonzero(frame.present[:, step])
    return {str(frame.labels[row]): frame.values[row, step].hex() for row in rows.tolist()}


class TestWhereItBegins:
    @pytest.mark.parametrize(
        ("text", "looks_back_ms"),
        [
            ("x", 5 * MINUTE_MS),
            ("x offset 20m", 25 * MINUTE_MS),
            ("rate(rises[30m])", 30 * MINUTE_MS),
            ("rate(rises[30m] offset 10m) + x", 40 * MINUTE_MS),
            ("sum(x) / sum(x offset 1h)", 65 * MINUTE_MS),
            ("max_over_time(x[1h:1m])", 64 * MINUTE_MS),
        ],
    )
    def test_at_the_first_step_of_the_grid_that_looks_at_nothing_older(self, text: str, looks_back_ms: int) -> None:
        made = planned(text, {"prod": 2 * HOUR_MS})
        begins = asked_from(made, "prod")
        assert begins is not None
        assert (begins - ASKED.start_ms) % ASKED.step_ms == 0
        assert 0 <= begins - (NOW_MS - 2 * HOUR_MS + looks_back_ms) < ASKED.step_ms + MINUTE_MS
        assert {leaf.time_range.start_ms for leaf in made.shard_for("prod").leaves} == {begins}
        assert {leaf.time_range.start_ms for leaf in made.shard_for("dev").leaves} == {ASKED.start_ms}

    def test_who_keeps_all_that_is_looked_at_is_asked_the_whole(self) -> None:
        made = planned("rate(rises[30m])", {"prod": 4 * HOUR_MS})
        assert not made.cuts
        assert made.shard_for("prod").leaves == made.shard_for("dev").leaves

    def test_raw_samples_are_asked_for_as_far_back_as_the_first_whole_step_looks(self) -> None:
        made = planned("quantile_over_time(scalar(count(y)) / 10, x[30m])", {"prod": 2 * HOUR_MS})
        raw = next(leaf for leaf in made.shard_for("prod").leaves if "[" in leaf.text)
        begins = asked_from(made, "prod")
        assert begins is not None
        assert parse(raw.text).window_ms == ASKED.end_ms - begins + 30 * MINUTE_MS  # type: ignore[union-attr]

    def test_samples_that_are_the_answer_are_shown_as_far_back_as_they_go(self) -> None:
        now = TimeRange(NOW_MS, NOW_MS)
        found = answered(planned("x[3h]", {"prod": 2 * HOUR_MS}, now))
        oldest = {labels.get("cluster"): min(points) for labels, points in as_dict(found.payload).items()}
        assert oldest["dev"] < NOW_MS - 2 * HOUR_MS <= oldest["prod"] < NOW_MS - 2 * HOUR_MS + 15 * MINUTE_MS
        assert found.status == "partial"

    def test_a_window_that_reaches_further_back_than_a_cluster_keeps_has_no_value_of_it(self) -> None:
        now = TimeRange(NOW_MS, NOW_MS)
        made = planned("increase(rises[3h])", {"prod": 2 * HOUR_MS}, now)
        assert "prod" not in {shard.cluster_name for shard in made.shards}
        found = answered(made)
        assert {labels.get("cluster") for labels in as_dict(found.payload)} == {"dev", "stage"}
        (row,) = found.coverage.missing
        assert (row.cluster, row.verdict) == ("prod", Verdict.PARTIAL)
        assert row.reason.endswith("and all that is asked for reaches further back")

    def test_what_rejects_a_cluster_takes_nothing_of_it_away(self) -> None:
        made = planned('x{cluster="dev"} offset 30d or x', {"prod": 3 * HOUR_MS + 10 * MINUTE_MS})
        assert not made.cuts


class TestAllThatIsAskedForIsOlder:
    """What a cluster has dropped it had: it may not be said that it has nothing, on neither side of the bound."""

    @pytest.mark.parametrize("back_h", [1.95, 2.05, 5.5])
    @pytest.mark.parametrize(
        "text",
        [
            'absent(nosuch{cluster="prod"})',
            "absent(nosuch)",
            "sum(nosuch) or vector(0)",
            'x unless on (job) x{cluster="prod"}',
        ],
    )
    def test_what_is_undecided_without_it_stays_undecided(self, text: str, back_h: float) -> None:
        at_ms = NOW_MS - int(back_h * HOUR_MS)
        found = answered(planned(text, {"prod": 2 * HOUR_MS}, TimeRange(at_ms, at_ms)))
        assert (found.status, as_dict(found.payload)) == ("partial", {})
        assert any("is undecided" in words and words.endswith("without prod") for words in found.warnings)

    @pytest.mark.parametrize(
        ("text", "back_h"),
        [
            ("count(x)", 1.95),
            ("count(x)", 2.05),
            ("x[5m]", 3.0),
            ("count(x offset 3h)", 0.0),
            ("scalar(count(x offset 3h))", 0.0),
            ("count(x @ 100)", 0.0),
            ("x[30m] offset 3h", 0.0),
            ("quantile_over_time(scalar(count(x offset 3h)) / 10, x[25m] offset 4h)", 0.0),
        ],
    )
    def test_it_is_missing_from_the_answer_and_who_requires_it_is_refused(self, text: str, back_h: float) -> None:
        at = TimeRange(NOW_MS - int(back_h * HOUR_MS), NOW_MS - int(back_h * HOUR_MS))
        made = planned(text, {"prod": 2 * HOUR_MS}, at)
        assert {shard.cluster_name for shard in made.shards} == {"dev", "stage"}
        found = answered(made)
        (row,) = found.coverage.missing
        bound = format_time(NOW_MS - 2 * HOUR_MS)
        reason = f"keeps 2h: nothing before {bound}, and all that is asked for reaches further back"
        assert (row.cluster, row.verdict, row.reason) == ("prod", Verdict.PARTIAL, reason)
        assert f"cluster prod is incomplete (partial): {reason}" in found.warnings
        for require in ("all", "critical:prod", "quorum:3"):
            with pytest.raises(CoverageTooLow) as caught:
                without(planned(text, {"prod": 2 * HOUR_MS}, at, require), [])
            assert (caught.value.clusters, caught.value.retry_after_s) == (["prod"], None)

    def test_a_range_before_the_bound_is_as_one_across_it(self) -> None:
        before = TimeRange(NOW_MS - 4 * HOUR_MS, NOW_MS - 3 * HOUR_MS, 30 * MINUTE_MS)
        found = answered(planned("count(x)", {"prod": 2 * HOUR_MS}, before))
        assert (found.status, found.coverage.header()) == ("partial", "2/3;missing=prod")

    def test_a_selector_that_rejects_the_cluster_is_proof_at_any_time(self) -> None:
        old = TimeRange(NOW_MS - 40 * HOUR_MS, NOW_MS - 40 * HOUR_MS)
        found = answered(planned('absent(nosuch{cluster="dev"})', {"prod": 2 * HOUR_MS}, old))
        assert (found.status, found.coverage.header()) == ("complete", "1/1")
        assert len(as_dict(found.payload)) == 1


class TestTheLedger:
    def test_the_row_says_what_is_kept_and_from_when_on_it_was_asked(self) -> None:
        made = planned("x", {"prod": 2 * HOUR_MS})
        found = answered(made)
        bound, begins = format_time(NOW_MS - 2 * HOUR_MS), format_time(asked_from(made, "prod") or 0)
        (row,) = found.coverage.missing
        assert (row.cluster, row.verdict) == ("prod", Verdict.PARTIAL)
        assert row.reason == f"keeps 2h: nothing before {bound}; asked from {begins}"
        assert found.status == "partial"
        assert f"cluster prod is incomplete (partial): {row.reason}" in found.warnings

    def test_a_cluster_that_failed_has_failed(self) -> None:
        found = answered(planned("x", {"prod": 2 * HOUR_MS}), silent=["prod"])
        assert [row.verdict for row in found.coverage.missing] == [Verdict.TIMED_OUT]

    def test_who_requires_all_clusters_is_refused_before_anything_is_sent(self) -> None:
        made = planned("x", {"prod": 2 * HOUR_MS}, require="all")
        with pytest.raises(CoverageTooLow, match="lacks prod"):
            without(made, [])
        assert isinstance(answered(made).error, CoverageTooLow)

    def test_what_is_undecided_is_so_until_the_cluster_takes_part(self) -> None:
        made = planned('absent(y{job="nosuch"})', {"prod": 2 * HOUR_MS})
        found = answered(made)
        (points,) = as_dict(found.payload).values()
        assert min(points) == asked_from(made, "prod")
        said = "absent is undecided: whether there is no series cannot be known without prod, before "
        assert f"{said}{format_time(min(points))}" in found.warnings

    def test_the_plan_names_who_is_asked_less_and_survives_the_wire(self) -> None:
        made = planned("x", {"prod": 2 * HOUR_MS, "dev": 2 * HOUR_MS})
        notes = [note for note in explain(made)["notes"] if note.startswith("retention of dev, prod: keeps 2h")]
        assert len(notes) == 1
        assert Plan.from_wire(made.to_wire()) == made

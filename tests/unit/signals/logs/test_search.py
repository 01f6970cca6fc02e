"""A log search from plan to answer, over stores in memory."""

from __future__ import annotations

import json

from federation_core.connectors import Fetched
from federation_core.outcome import Verdict
from federation_core.query import Query, TimeRange
from federation_core.signals.logs import KIND
from federation_core.signals.logs.payload import Entries
from tests.support.federations import ask
from tests.support.log_stores import LogStore, entry

STORES = {
    "prod": LogStore.of([entry(t, f"prod {t}", app="web", level="info") for t in range(0, 100, 2)]),
    "stage": LogStore.of([entry(t, f"stage {t}", app="web", level="error") for t in range(1, 100, 2)]),
}


def lines(result: object) -> list[str]:
    return [e.line for e in result.payload.entries]  # type: ignore[attr-defined]


def test_the_newest_entries_of_all_clusters_come_first() -> None:
    result = ask(STORES, "logs", '{app="web"}', limit=3)
    assert lines(result) == ["stage 99", "prod 98", "stage 97"]
    assert result.status == "complete"
    assert result.warnings == ("limit 3 reached, older entries exist",)


def test_forward_begins_with_the_oldest() -> None:
    assert lines(ask(STORES, "logs", "{}", limit=3, direction="forward")) == ["prod 0", "stage 1", "prod 2"]


def test_the_start_of_the_range_is_inside_and_its_end_outside() -> None:
    assert lines(ask(STORES, "logs", "{}", start_ms=4, end_ms=6)) == ["stage 5", "prod 4"]


def test_a_silent_cluster_is_named_and_the_others_answer() -> None:
    result = ask(STORES, "logs", "{}", silent=["stage"], limit=2)
    assert lines(result) == ["prod 98", "prod 96"]
    assert result.status == "partial"
    assert any("stage is missing" in warning for warning in result.warnings)


def test_a_cluster_the_query_excludes_is_left_out_with_its_reason() -> None:
    result = ask(STORES, "logs", '{cluster!="stage"}', limit=2)
    assert lines(result) == ["prod 98", "prod 96"]
    assert result.status == "complete"
    stage = next(row for row in result.coverage.clusters if row.cluster == "stage")
    assert (stage.verdict, stage.reason) == (Verdict.PRUNED, 'the query asks for cluster!="stage"')


def test_a_clusters_lower_limit_does_not_pass_for_the_whole() -> None:
    stores = {**STORES, "prod": LogStore(STORES["prod"].entries, cap=5)}
    result = ask(stores, "logs", "{}", limit=1000)
    assert len(result.payload.entries) == 55
    assert any("prod stopped at 1970-01-01T00:00:00.090Z; its older entries" in warning for warning in result.warnings)


def test_more_entries_than_asked_from_a_backend_are_put_in_order_and_cut() -> None:
    class Generous(LogStore):
        def fetch(self, leaf: object, scope: object, deadline: object) -> Fetched:
            return Fetched(Entries.of(self.entries))

    result = ask({"prod": Generous(STORES["prod"].entries)}, "logs", "{}", limit=2)
    assert lines(result) == ["prod 98", "prod 96"]


def test_something_else_than_entries_is_the_clusters_fault() -> None:
    class Wrong(LogStore):
        def fetch(self, leaf: object, scope: object, deadline: object) -> Fetched:
            return Fetched("text")

    result = ask({"prod": Wrong(()), "stage": STORES["stage"]}, "logs", "{}", limit=1)
    prod = next(row for row in result.coverage.clusters if row.cluster == "prod")
    assert (prod.verdict, type(prod.error).__name__) == (Verdict.FAILED, "Malformed")


def test_the_json_answer_has_nanoseconds_as_text() -> None:
    store = LogStore.of([entry(1, "a\nb", app="web", meta_trace_id="ab")])
    result = ask({"prod": store}, "logs", "{}")
    answer = KIND.to_json(result.payload, Query("logs", "{}", TimeRange(0, 1), "team-a"))
    assert json.loads(json.dumps(answer)) == {
        "entries": [
            {
                "timeUnixNano": "1000000",
                "cluster": "prod",
                "labels": {"app": "web", "cluster": "prod"},
                "line": "a\nb",
                "metadata": {"trace_id": "ab"},
            }
        ],
        "cursor": None,
    }


def test_the_size_counts_streams_and_entries() -> None:
    payload = ask(STORES, "logs", "{}", limit=10).payload
    assert KIND.size(payload) == (2, 10)

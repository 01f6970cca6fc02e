"""How a cluster is, from what its workers have said: every status, and words for whatever is not well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from federation_core.config import Backend, Cluster
from federation_core.connectors.stores.jobs import WorkerBeat
from federation_core.health import About, BackendHealth, Breaker
from webapp.schemas.health import SEEN_MS, errors_of, health_json, status_of

NOW_MS = 1_795_496_400_000
CLUSTER = Cluster("prod", "live", (Backend("metrics", "prometheus"), Backend("logs", "loki")))
BEAT = WorkerBeat("prod", "w1", True, NOW_MS - 300, 2)
LEFT = WorkerBeat("prod", "w1", False, NOW_MS - 70_000, 2, left=True)
UP = BackendHealth("metrics", "prometheus", True, NOW_MS - 4_000, 12, about=About("Prometheus 2.42.0", NOW_MS - 9_000))
LOGS_UP = BackendHealth("logs", "loki", True, NOW_MS - 4_000, 5)
REFUSED = "the backend refuses our credentials (401)"
DOWN = BackendHealth("logs", "loki", False, NOW_MS - 4_000, 5, REFUSED, failures=2)
OPENED = {"breaker": Breaker.OPEN, "breaker_since_ms": NOW_MS - 8_000, "retry_ms": NOW_MS + 2_500, "failures": 4}
WELL = {"metrics": UP, "logs": LOGS_UP}


def health(healths: Mapping[str, BackendHealth], beat: WorkerBeat | None = BEAT) -> dict[str, Any]:
    return health_json(CLUSTER, beat, healths, NOW_MS)


def logs(healths: Mapping[str, BackendHealth]) -> dict[str, Any]:
    (found,) = (row for row in health(healths)["backends"] if row["signal"] == "logs")
    return found


def errors(healths: Mapping[str, BackendHealth], beat: WorkerBeat | None = BEAT) -> dict[str, str]:
    return errors_of(CLUSTER, beat, healths, NOW_MS)


def seen(health: BackendHealth, ago_ms: int) -> BackendHealth:
    return replace(health, checked_ms=NOW_MS - ago_ms)


def test_a_backend_is_told_as_it_was_seen() -> None:
    assert health(WELL)["backends"][0] == {
        "signal": "metrics",
        "kind": "prometheus",
        "status": "up",
        "checkedAgeMs": 4_000,
        "latencyMs": 12,
        "version": "Prometheus 2.42.0",
        "newestMs": NOW_MS - 9_000,
        "newestAgeMs": 9_000,
        "breaker": {"state": "closed", "sinceMs": None, "retryInMs": None, "failures": 0},
        "error": "",
    }


def test_backends_come_in_the_order_of_the_configuration_and_no_others_do() -> None:
    derived = BackendHealth("series", "prometheus", False, NOW_MS, 1, "no")
    found = health({"series": derived, **WELL})
    assert [row["signal"] for row in found["backends"]] == ["metrics", "logs"]
    assert found["status"] == "healthy"


def test_a_backend_that_is_down_says_why() -> None:
    assert logs({**WELL, "logs": DOWN})["status"] == "down"
    assert logs({**WELL, "logs": DOWN})["error"] == REFUSED
    assert errors({**WELL, "logs": DOWN}) == {"logs": REFUSED}


def test_a_backend_that_is_down_is_never_without_words() -> None:
    assert errors({**WELL, "logs": replace(DOWN, error="")}) == {"logs": "the backend does not answer"}


def test_a_backend_of_which_nobody_has_spoken_is_unknown_and_not_missing() -> None:
    row = logs({"metrics": UP})
    assert (row["kind"], row["status"], row["checkedAgeMs"]) == ("loki", "unknown", None)
    assert row["error"] == "no worker has probed it yet"


@pytest.mark.parametrize(("ago_ms", "status"), [(SEEN_MS, "up"), (SEEN_MS + 1, "unknown")])
def test_what_was_well_a_minute_ago_is_not_well_now(ago_ms: int, status: str) -> None:
    assert logs({**WELL, "logs": seen(LOGS_UP, ago_ms)})["status"] == status


def test_an_old_sight_says_when_and_how_it_was() -> None:
    ago_ms = 3_600_000
    assert logs({"logs": seen(LOGS_UP, ago_ms)})["error"] == (
        "last seen up at 2026-11-24T04:00:00.000Z; no worker has probed it since"
    )
    assert f"last seen down ({REFUSED}) at " in logs({"logs": seen(DOWN, ago_ms)})["error"]


def test_an_open_breaker_says_since_when_and_when_it_is_tried_again() -> None:
    row = logs({**WELL, "logs": replace(DOWN, **OPENED)})
    assert row["breaker"] == {"state": "open", "sinceMs": NOW_MS - 8_000, "retryInMs": 2_500, "failures": 4}
    assert row["error"] == REFUSED


def test_a_retry_that_is_due_is_due_now_and_not_in_the_past() -> None:
    late = replace(DOWN, **{**OPENED, "retry_ms": NOW_MS - 5})
    assert logs({"logs": late})["breaker"]["retryInMs"] == 0


def test_a_backend_that_answers_probes_and_is_not_asked_says_so() -> None:
    row = logs({**WELL, "logs": replace(LOGS_UP, **OPENED)})
    assert (row["status"], row["error"]) == ("up", "not asked after 4 failures in a row")


def test_data_of_a_clock_that_is_ahead_are_not_of_negative_age() -> None:
    ahead = replace(LOGS_UP, about=About("Loki 3.7.6", NOW_MS + 2_000))
    assert (logs({"logs": ahead})["newestMs"], logs({"logs": ahead})["newestAgeMs"]) == (NOW_MS + 2_000, 0)


@pytest.mark.parametrize(
    ("healths", "beat", "status"),
    [
        (WELL, BEAT, "healthy"),
        ({**WELL, "logs": DOWN}, BEAT, "degraded"),
        ({"logs": DOWN}, BEAT, "degraded"),
        ({"metrics": replace(UP, up=False), "logs": DOWN}, BEAT, "down"),
        ({**WELL, "logs": replace(LOGS_UP, **OPENED)}, BEAT, "degraded"),
        ({**WELL, "logs": replace(LOGS_UP, error="1 of 2 workers cannot use it: gone")}, BEAT, "degraded"),
        ({"metrics": UP}, BEAT, "unknown"),
        ({**WELL, "logs": seen(LOGS_UP, SEEN_MS + 1)}, BEAT, "unknown"),
        ({**WELL, "logs": seen(DOWN, SEEN_MS + 1)}, BEAT, "unknown"),
        ({}, BEAT, "unknown"),
        (WELL, LEFT, "down"),
        (WELL, None, "down"),
        ({}, None, "down"),
    ],
)
def test_a_cluster_is_a_word(healths: dict[str, BackendHealth], beat: WorkerBeat | None, status: str) -> None:
    assert status_of(CLUSTER, beat, healths, NOW_MS) == health(healths, beat)["status"] == status
    # Whatever is not well has words, and what is well has none.
    assert bool(errors(healths, beat)) == (status != "healthy")


def test_without_a_worker_the_worker_is_what_is_wrong() -> None:
    assert list(errors({}, LEFT)) == ["worker"]
    assert errors({}, LEFT)["worker"].startswith("no worker serves it: its last worker said at 2026-")
    assert health(WELL, LEFT)["worker"]["missingSinceMs"] == NOW_MS - 70_000


def test_what_is_known_to_be_wrong_is_told_without_a_worker_too() -> None:
    assert errors({"metrics": UP, "logs": DOWN}, LEFT)["logs"] == REFUSED

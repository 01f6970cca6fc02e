"""Lists of series, names and values that are longer than anybody may have: ended by the backend that can do so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, Fetched, connect
from federation_core.plan import Leaf
from federation_core.query import Deadline, TimeRange
from federation_core.tenancy import Limits, Scope
from tests.support.prometheus_replies import (
    PROMETHEUS_2,
    PROMETHEUS_3,
    RepliesServer,
    Reply,
    Request,
    answering,
    success,
)

WHEN = TimeRange(1_795_000_000_000, 1_795_003_600_000)
MOST = 3
JOBS = [f"job-{number}" for number in range(20)]
LIMITING = {**PROMETHEUS_2, "version": "2.51.0"}
OLDER = {**PROMETHEUS_2, "version": "2.50.1"}
MIMIR = {**PROMETHEUS_3, "application": "Grafana Mimir"}
THANOS = {**PROMETHEUS_3, "version": "0.37.1"}


class Backends:
    """A backend of some release; one that limits lists says so, as the documentation has it."""

    def __init__(self, build: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self.build, self.headers = build, headers or {}
        self.limits = build is LIMITING or build is PROMETHEUS_3

    def __call__(self, request: Request) -> Reply:
        if request.path.endswith("buildinfo"):
            return Reply({"status": "success", "data": self.build}, headers=self.headers)
        rows: list[Any] = [{"__name__": "up", "job": job} for job in JOBS] if request.path.endswith("series") else JOBS
        limit = int(dict(request.fields).get("limit", 0))
        if not self.limits or not limit or limit >= len(rows):
            return success(rows)
        return success(rows[:limit], warnings=["results truncated due to limit"])


def connector(server: RepliesServer, *replica_labels: str) -> Connector:
    backend = Backend("metrics", "prometheus", url=server.url, origin="t:1", replica_labels=replica_labels)
    cluster = Cluster("prod", "e", (backend,))
    opened = cluster.backend_for("series")
    assert opened is not None
    return connect(cluster, opened)


def asked(made: Connector, question: str, most: int = MOST) -> Fetched:
    scope = Scope("t", {"prod": ()}, limits=Limits(max_series=most))
    return made.fetch(Leaf("found", f"{question} {{}}", WHEN), scope, Deadline(10**15))


def limits_sent(server: RepliesServer) -> list[str | None]:
    return [dict(request.fields).get("limit") for request in server.asked if not request.path.endswith("buildinfo")]


@pytest.mark.parametrize("question", ["series", "labels", 'values "job"'])
@pytest.mark.parametrize("build", [LIMITING, PROMETHEUS_3])
def test_no_more_is_asked_for_than_tells_that_there_is_more(question: str, build: Mapping[str, Any]) -> None:
    with answering(Backends(build)) as server:
        found = asked(connector(server), question)
        assert (len(found.payload.rows), found.truncated) == (MOST, f"more rows than max_series {MOST}")
        assert found.warnings == ()
        assert limits_sent(server) == [str(MOST + 2)]


@pytest.mark.parametrize("question", ["series", "labels", 'values "job"'])
def test_what_is_not_above_the_limit_is_whole(question: str) -> None:
    with answering(Backends(PROMETHEUS_3)) as server:
        found = asked(connector(server), question, most=len(JOBS))
        assert (len(found.payload.rows), found.truncated, found.warnings) == (len(JOBS), "", ())


@pytest.mark.parametrize(
    "backend",
    [Backends(OLDER), Backends(MIMIR), Backends(THANOS), Backends({}), Backends({}, {"X-Server-Hostname": "vm"})],
    ids=["2.50", "Mimir", "Thanos", "unknown", "VictoriaMetrics"],
)
def test_of_whom_it_is_not_known_what_a_limit_leaves_none_is_asked_and_the_answer_is_cut(backend: Backends) -> None:
    """A store that limits first and unites replicas afterwards would leave few rows of many, unseen."""
    with answering(backend) as server:
        found = asked(connector(server), "series")
        assert (len(found.payload.rows), found.truncated) == (MOST, f"more rows than max_series {MOST}")
        assert limits_sent(server) == [None]


def test_of_replicas_all_are_asked_for_as_nobody_knows_how_many_a_series_has() -> None:
    with answering(Backends(PROMETHEUS_3)) as server:
        made = connector(server, "replica")
        asked(made, "series")
        asked(made, "labels")
        assert limits_sent(server) == [None, str(MOST + 3)]


def test_values_that_are_read_off_the_series_need_all_of_these() -> None:
    with answering(Backends(PROMETHEUS_3)) as server:
        asked(connector(server), 'values "not.plain"')
        assert limits_sent(server) == [None]

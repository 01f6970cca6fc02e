from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from federation_core.outcome import Result
from federation_core.plan import Plan
from tests.support.stack import CLUSTERS, COUNTS, Stack, kill, total, verdicts
from tests.support.web_server import WebServer
from webapp.cli.stack import commands

ALL_OK = dict.fromkeys(CLUSTERS, "ok")
#: A job ends this long after its deadline at the latest.
GRACE_MS = 2_000


class Federation:
    """A stack with a worker process per cluster and one merge worker that runs the schedule."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.merge = stack.start_merge(with_beat=True)
        self.mend()

    def mend(self) -> None:
        """Take every fault back, start what is not running, and have the next query answered in full."""
        self.stack.break_clusters({})
        if self.merge.poll() is not None:
            self.merge = self.stack.start_merge(with_beat=True)
        for name in CLUSTERS:
            if name not in self.workers or self.workers[name].poll() is not None:
                self.workers[name] = self.stack.start(commands.cluster_worker([name]))
        self.stack.until(lambda: frozenset(self.stack.dispatch.served()) == frozenset(CLUSTERS))
        assert verdicts(self.stack.ask(timeout_ms=30_000)) == ALL_OK

    def kill(self, cluster: str) -> None:
        """Kill a cluster's worker."""
        kill(self.workers[cluster])

    def submitted(self, timeout_ms: int = 1_500) -> Plan:
        """Plan a query over all clusters and send it."""
        plan = self.stack.plan(timeout_ms=timeout_ms)
        self.stack.dispatch.submit(plan)
        return plan

    def answer(self, plan: Plan) -> Result:
        """Wait for a query's answer; it must have ended in time and hold exactly the clusters its ledger says."""
        result = self.stack.dispatch.wait(plan)
        assert result is not None
        self.check_end(plan)
        present = [row.cluster for row in result.coverage.clusters if row.verdict.value == "ok"]
        assert total(result) == sum(COUNTS[name] for name in present)
        return result

    def check_end(self, plan: Plan) -> None:
        """Hold a job to its deadline."""
        finished_ms = self.stack.dispatch.jobs.job("acme", plan.query_id).finished_ms
        assert finished_ms is not None
        assert finished_ms <= plan.deadline_ms + GRACE_MS

    def parts(self, plan: Plan) -> set[str]:
        """Return the clusters that have written their part of a query that has not ended."""
        return set(self.stack.dispatch.jobs.parts.read("acme", plan.query_id, CLUSTERS))


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with Stack(Path(tmp_path_factory.mktemp("failures"))) as stack:
        yield Federation(stack)


@pytest.fixture
def federation(shared: Federation) -> Iterator[Federation]:
    """The shared federation; after the test the next query must be answered in full."""
    yield shared
    shared.mend()


@pytest.fixture(scope="package")
def web(shared: Federation) -> Iterator[WebServer]:
    with WebServer(shared.stack) as web:
        yield web

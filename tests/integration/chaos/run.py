"""One run: a stack, clients, faults, the verdict, and whether everything is well afterwards."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from federation_core.connectors.stores.jobs import Job
from tests.integration.chaos.clients import Client, DirectClient, HttpClient, Notes, Numbers, told_by
from tests.integration.chaos.episodes import Episodes
from tests.integration.chaos.faults import Injector
from tests.integration.chaos.judge import Ended, Findings, judge
from tests.integration.chaos.machine import pulse
from tests.integration.chaos.roles import Roles
from tests.support.stack import COUNTS, METRIC, Stack, total
from tests.support.wide_area_stack import WideAreaStack
from workers.dispatch import wall_clock_ms

DIRECT_CLIENTS, HTTP_CLIENTS = 8, 4
#: A new fault begins this often on average.
FAULT_EVERY_S = 0.5
#: After the run, so many queries in a row must be complete.
QUERIES_AFTERWARDS = 20
_TENANTS = ("acme", "local")


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did and found."""

    seed: int
    queries: int
    took_s: float
    asked: dict[str, int]
    faults: dict[str, int]
    ended_by_themselves: dict[str, int]
    counts: dict[str, int]
    complete_afterwards: int
    machine: float
    wrong: dict[str, list[str]]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values, with numbers in place of lists."""
        return {
            "seed": self.seed,
            "queries": self.queries,
            "took_s": round(self.took_s, 1),
            "asked": self.asked,
            "faults": self.faults,
            "ended_by_themselves": self.ended_by_themselves,
            "counts": self.counts,
            "complete_afterwards": f"{self.complete_afterwards} of {QUERIES_AFTERWARDS}",
            "machine_times_slower": round(self.machine, 2),
            "wrong": {kind: len(found) for kind, found in self.wrong.items()},
        }


def run(folder: Path, queries: int, seed: int, *, wide_area: bool = False) -> Report:
    """Ask `queries` queries while faults are injected, and judge all answers.

    With `wide_area` the cluster workers are behind links, which fail too.
    """
    started_s = time.monotonic()
    episodes, notes, numbers = Episodes(wall_clock_ms), Notes(), Numbers(queries)
    with (WideAreaStack if wide_area else Stack)(folder) as stack:
        roles = Roles(stack, episodes)
        with roles.running(), pulse(episodes):
            _open_stores(stack)
            injector = Injector(roles, episodes, seed, FAULT_EVERY_S)
            with injector.injecting(), ThreadPoolExecutor(DIRECT_CLIENTS + HTTP_CLIENTS) as pool:
                clients = _clients(stack, roles, episodes, notes, seed)
                for asked in [pool.submit(client.run, numbers) for client in clients]:
                    asked.result()
            stack.until(roles.complete)
            afterwards = sum(_complete(stack) for _ in range(QUERIES_AFTERWARDS))
            findings: Findings = judge([_ended(stack, job) for job in _jobs(stack, queries)], notes, episodes)
    return Report(
        seed=seed,
        queries=queries,
        took_s=time.monotonic() - started_s,
        asked=dict(sorted(notes.asked.items())),
        faults=dict(sorted(injector.done.items())),
        ended_by_themselves=dict(sorted(roles.ended_by_themselves.items())),
        counts=dict(sorted(findings.counts.items())),
        complete_afterwards=afterwards,
        machine=episodes.stretch(0, wall_clock_ms()),
        wrong=dict(sorted(findings.wrong.items())),
    )


def _clients(stack: Stack, roles: Roles, episodes: Episodes, notes: Notes, seed: int) -> list[Client]:
    direct = [DirectClient(stack, episodes, notes, Random(f"direct {seed} {i}")) for i in range(DIRECT_CLIENTS)]
    http = [HttpClient(stack, episodes, notes, Random(f"http {seed} {i}"), roles.web) for i in range(HTTP_CLIENTS)]
    return [*direct, *http]


def _open_stores(stack: Stack) -> None:
    """Have every worker answer once, so that no query with a short deadline pays for opening its store."""
    stack.until(lambda: stack.ask(text=f"sum({METRIC}) * 1", timeout_ms=30_000).status == "complete")


def _complete(stack: Stack) -> bool:
    result = stack.ask(text=f"sum({METRIC}) * 1", timeout_ms=15_000)
    return result.status == "complete" and total(result) == sum(COUNTS.values())


def _jobs(stack: Stack, queries: int) -> list[Job]:
    """Return every job of the run once all have ended, or as they are when that takes too long."""
    limit = queries * 2 + 100
    for _ in range(200):
        jobs = [job for tenant in _TENANTS for job in stack.dispatch.jobs.recent(tenant, limit)]
        if all(job.state.final for job in jobs):
            break
        time.sleep(0.1)
    return jobs


def _ended(stack: Stack, job: Job) -> Ended:
    result = stack.dispatch.result(job.tenant_id, job.query_id) if job.state.final else None
    told = told_by(result, wall_clock_ms()) if result else None
    if told is not None and job.withdrawn:
        # The execution had just ended when its owner cancelled; he is told that he did, now and later.
        told = replace(told, status="failed", value=0.0, error="QueryCanceled")
    return Ended(job.plan, job.finished_ms, told)

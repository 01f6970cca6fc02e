"""How much a job costs beyond its slowest cluster, against a bare chord of the same shape in the same run.

A pair is one bare chord and one whole job, one after the other in alternating order, so that whatever else the
machine does falls on both. The job is everything a caller waits for: plan, submit, wait, decode; the time that the
slowest cluster's task took is taken off. `python -m tests.bench.job_overhead` prints the numbers as JSON.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from federation_core.connectors.stores.redis import connect
from tests.bench.bare_chord import send
from tests.support.stack import CLUSTERS, Stack
from workers.app import make_celery

BUDGETS = {"p50": 1.6, "p99": 2.0}


def measure(pairs: int = 250, warm_up: int = 30) -> dict[str, Any]:
    """Return both distributions in ms, their ratios, and whether they are within the budgets."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), worker_module="tests.bench.bare_chord") as stack:
        stack.start_merge()
        stack.start_worker()
        bench = _Bench(stack)
        for number in range(warm_up):
            bench.bare(number)
            bench.job()
        bare, overhead, whole = [], [], []
        for number in range(pairs):
            if number % 2:
                bare.append(bench.bare(warm_up + number))
            job_ms, slowest_ms = bench.job()
            whole.append(job_ms)
            overhead.append(job_ms - slowest_ms)
            if not number % 2:
                bare.append(bench.bare(warm_up + number))
    of_bare, of_overhead = _quantiles(bare), _quantiles(overhead)
    ratios = {name: round(of_overhead[name] / of_bare[name], 2) for name in BUDGETS}
    return {
        "pairs": pairs,
        "bare_chord_ms": of_bare,
        "job_overhead_ms": of_overhead,
        "whole_job_ms": _quantiles(whole),
        "ratio": ratios,
        "budget": BUDGETS,
        "within_budget": all(ratios[name] <= BUDGETS[name] for name in BUDGETS),
    }


class _Bench:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._app = make_celery(stack.settings)
        self._client = connect(stack.url, blocking_s=20)

    def bare(self, number: int) -> float:
        """Run one bare chord; return its ms."""
        wake = f"bench:{number}"
        started = time.perf_counter()
        send(self._app, CLUSTERS, wake)
        assert self._client.blpop([wake], timeout=20)
        return (time.perf_counter() - started) * 1000

    def job(self) -> tuple[float, float]:
        """Run one whole job; return its ms and the ms of its slowest cluster."""
        started = time.perf_counter()
        result = self._stack.ask(timeout_ms=30_000)
        took_ms = (time.perf_counter() - started) * 1000
        assert result.status == "complete", result
        return took_ms, float(max(row.elapsed_ms or 0 for row in result.coverage.clusters))


def _quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))

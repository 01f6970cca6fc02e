"""How much a job costs beyond its slowest cluster, against a bare chord of the same shape in the same run.

The bare chord is stock Celery's (`bare_chord`), with workers of its own beside ours. A job must cost no more than that
at the median: what it does in addition (plan, admission of parts, ledger, merge) is paid for by the round trips that
our way of sending, fetching, joining and acknowledging saves. Until that way was our own the budget was 1.6, against
a chord that was sent and run by our own application.

Each round runs a bare chord and whole jobs one after the other, in alternating order, so that whatever else the
machine does falls on all. A job is everything a caller waits for: plan, submit, wait, decode; the time that the
slowest cluster's task took is taken off. Two queries are asked: `reading` asks six stores for a series that all
hold, `empty` for one that none holds, so that the clusters' own work is next to nothing.

Both layouts are measured. `apart_`: a worker process per cluster, as real clusters have it; the budgets are of this
one. `together_`: one process with all six queues, as on a single machine. There six clusters also take turns under
one interpreter lock, and what they cost each other beyond the slowest of them is in the figure; it has no budget.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.bench.bare_chord import BareChord
from tests.support.stack import CLUSTERS, METRIC, Stack

BUDGETS = {
    "apart_reading_p50_ratio": 1.0,
    "apart_reading_p99_ratio": 2.0,
    "apart_empty_p50_ratio": 1.0,
    "apart_empty_p99_ratio": 2.0,
}
QUERIES = {"empty": "sum(series_that_no_store_holds)", "reading": f"sum({METRIC})"}
LAYOUTS: dict[str, list[tuple[str, ...]]] = {"apart": [(name,) for name in CLUSTERS], "together": [CLUSTERS]}
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def measure(rounds: int = 250, warm_up: int = 30) -> dict[str, float]:
    """Return per layout the quantiles of the bare chord and of both jobs' overhead in ms, and their ratios."""
    figures: dict[str, float] = {"rounds": rounds}
    for layout, processes in LAYOUTS.items():
        took = _measure(processes, rounds, warm_up)
        for quantile, share in SHARES.items():
            at = {name: sorted(values)[int(len(values) * share)] for name, values in took.items()}
            for name, ms in at.items():
                figures[f"{layout}_{name}_{quantile}_ms"] = round(ms, 2)
            for name in QUERIES:
                figures[f"{layout}_{name}_{quantile}_ratio"] = round(at[name] / at["bare"], 2)
    return figures


def _measure(processes: list[tuple[str, ...]], rounds: int, warm_up: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {"bare": [], **{name: [] for name in QUERIES}}
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), worker_module="workers") as stack:
        stack.start_merge()
        for clusters in processes:
            stack.start_worker(clusters)
        with BareChord(stack, processes) as chord:
            bench = _Bench(stack, chord)
            for number in range(warm_up + rounds):
                for name in list(took) if number % 2 else list(reversed(took)):
                    ms = bench.bare() if name == "bare" else bench.overhead(QUERIES[name])
                    if number >= warm_up:
                        took[name].append(ms)
    return took


class _Bench:
    def __init__(self, stack: Stack, chord: BareChord) -> None:
        self._stack = stack
        self._chord = chord
        self._client = chord.connect()
        self._sent = 0

    def bare(self) -> float:
        """Run one bare chord; return its ms."""
        self._sent += 1
        started = time.perf_counter()
        sent = self._chord.run(self._client, f"bench:{self._sent}")
        took_ms = (time.perf_counter() - started) * 1000
        del sent
        return took_ms

    def overhead(self, text: str) -> float:
        """Run one whole job; return its ms less those of its slowest cluster."""
        started = time.perf_counter()
        result = self._stack.ask(text=text, timeout_ms=30_000)
        took_ms = (time.perf_counter() - started) * 1000
        assert result.status == "complete", result
        return took_ms - max(row.elapsed_ms or 0 for row in result.coverage.clusters)

"""What a run of chaos finds on this machine, as figures: everything that must not be is counted and has to be 0.

The long form, whose counts are kept: `python -m tests.integration.chaos --queries 10000 --keep bench/chaos.json`.
"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

from tests.integration.chaos.run import QUERIES_AFTERWARDS, run

BUDGETS = {"looks_complete_and_is_not": 0, "other_findings": 0, "queries_afterwards_incomplete": 0}


def measure(queries: int = 1_000) -> dict[str, float]:
    """Return how much was asked, done and found; the seed is among the figures, to look into what was found."""
    seed = secrets.randbelow(10**6)
    with tempfile.TemporaryDirectory() as folder:
        report = run(Path(folder), queries, seed)
    lies = len(report.wrong.pop("looks complete and is not", []))
    return {
        "seed": seed,
        "jobs": report.counts["jobs"],
        "faults": sum(report.faults.values()),
        "verdicts_with_a_certain_truth": report.counts["verdicts with a certain truth"],
        "machine_times_slower": round(report.machine, 2),
        "looks_complete_and_is_not": lies,
        "other_findings": sum(len(found) for found in report.wrong.values()),
        "queries_afterwards_incomplete": QUERIES_AFTERWARDS - report.complete_afterwards,
    }

"""A short run with a new seed each time: the same program as `python -m tests.integration.chaos`."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from tests.integration.chaos.faults import WEIGHTS
from tests.integration.chaos.run import QUERIES_AFTERWARDS, run

pytestmark = pytest.mark.heavy
#: A few of them are nonsense on purpose, or refused while Redis stands still; 500 jobs must have been made.
QUERIES, JOBS = 600, 500
#: A machine that is busy with other things may make an innocent cluster late now and then: this share of the verdicts
#: at most. It is said truthfully, so it is no lie of the ledger, and how fast the machine is proves nothing.
SLOW_SHARE = 0.02


def test_chaos_finds_no_lie_no_lost_job_and_no_lasting_harm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = secrets.randbelow(10**6)
    with capsys.disabled():
        print(f"\nchaos, seed {seed}", flush=True)
        report = run(tmp_path, QUERIES, seed)
        print(json.dumps(report.to_json(), indent=1), flush=True)
    slow = report.wrong.pop("slow without a fault", [])
    assert report.wrong == {}
    assert len(slow) <= SLOW_SHARE * report.counts["verdicts with a certain truth"], slow
    assert report.complete_afterwards == QUERIES_AFTERWARDS
    assert report.counts["jobs"] >= JOBS
    assert min(report.counts["complete"], report.counts["partial"]) > 0
    assert len(report.faults) >= len(WEIGHTS) / 2

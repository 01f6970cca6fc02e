"""Hostile queries end in an answer or in an error of ours: never in a crash, a dead process, a hang, or a full memory.

Texts of fragments, runs and nesting, and trees with odd parts, drawn by hypothesis. They are tried in processes of
their own, because the parser underneath can take its whole process along. Every run draws a new seed and names it in
its failure; `APPSENTRY_SEED=…` repeats a run, `APPSENTRY_HOSTILE_INPUTS=…` changes the number of inputs.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.hostile_child import PROGRESS_BYTES

pytestmark = pytest.mark.heavy
SEED = int(os.environ.get("APPSENTRY_SEED", random.SystemRandom().randrange(2**32)))
RERUN = f"APPSENTRY_SEED={SEED}"
INPUTS = int(os.environ.get("APPSENTRY_HOSTILE_INPUTS", "100000"))
#: Trees cost more than texts, and each is parsed and evaluated: two inputs' worth.
SHARE_OF_TREES = 0.25
#: Wall time for one input, on a machine that does other things too: the child measures its own two seconds.
STUCK_S = 30.0
MOST_RESIDENT_BYTES = 700_000_000


@dataclass
class Child:
    """A process that tries inputs of one kind, watched from outside."""

    what: str
    count: int
    seed: int
    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.progress = self.folder / "progress"
        self.progress.write_bytes(bytes(PROGRESS_BYTES))
        self.said, self.errors = self.folder / "stdout", self.folder / "stderr"
        arguments = [self.what, str(self.seed), str(self.count), str(self.progress)]
        with self.said.open("wb") as said, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.hostile_child", *arguments],
                stdout=said,
                stderr=errors,
                # A panic of the parser is caught by us; its backtrace is not wanted for each of thousands.
                env={**os.environ, "RUST_BACKTRACE": "0"},
            )
        self.seen = (-1, time.monotonic())

    def current(self) -> tuple[int, str]:
        """Return the number of the input that is being tried, and the input."""
        data = self.progress.read_bytes()
        length = int.from_bytes(data[8:16], "little")
        return int.from_bytes(data[:8], "little"), data[16 : 16 + length].decode("utf-8", "replace")

    def require_progress(self) -> None:
        """Fail if one input takes far too long."""
        number, text = self.current()
        if number != self.seen[0]:
            self.seen = (number, time.monotonic())
        elif time.monotonic() - self.seen[1] > STUCK_S:
            self.process.kill()
            pytest.fail(f"{RERUN}: {self.what} {number} hangs: {text[:2000]!r}")

    def summary(self) -> dict[str, Any]:
        """Return what a child that has ended says; fails if it did not end well."""
        self.process.wait()
        number, text = self.current()
        if self.process.returncode < 0:
            signal = -self.process.returncode
            pytest.fail(f"{RERUN}: signal {signal} at {self.what} {number}: {text[:2000]!r}")
        if self.process.returncode:
            pytest.fail(f"{RERUN}: {self.what} {number}: {text[:2000]!r}\n{self.errors.read_text()[-4000:]}")
        return dict(json.loads(self.said.read_text().splitlines()[-1]))


@pytest.fixture
def children(tmp_path: Path) -> Iterator[list[Child]]:
    """Start one process for texts and one for trees."""
    of_texts = round(INPUTS * (1 - SHARE_OF_TREES))
    # Half of the trees' inputs are texts to parse, half are queries to evaluate.
    of_trees = round(INPUTS * SHARE_OF_TREES / 2)
    kinds = (("texts", of_texts), ("trees", of_trees))
    started = [Child(what, count, SEED + n, tmp_path / str(n)) for n, (what, count) in enumerate(kinds)]
    try:
        yield started
    finally:
        for child in started:
            if child.process.poll() is None:
                child.process.kill()
                child.process.wait()


def test_hostile_queries_end_in_an_answer_or_an_error_of_ours(
    children: list[Child], capsys: pytest.CaptureFixture[str]
) -> None:
    while any(child.process.poll() is None for child in children):
        for child in children:
            if child.process.poll() is None:
                child.require_progress()
        if any(child.process.returncode for child in children):
            break
        time.sleep(0.1)
    for child in sorted(children, key=lambda child: not child.process.returncode):
        summary = child.summary()
        outcomes = summary["outcomes"]
        with capsys.disabled():
            print(f"\n{RERUN} {child.what}: {outcomes}, slowest {summary['slowest_s']:.2f} s", end="")
            print(f", at most {summary['peak_bytes'] >> 20} MiB")
        assert summary["peak_bytes"] < MOST_RESIDENT_BYTES, RERUN
        # A net that refuses everything proves nothing.
        assert outcomes["parsed"] > sum(outcomes.values()) * 0.04, outcomes
        if child.what == "trees":
            assert outcomes["evaluated"] > child.count * 0.3, outcomes

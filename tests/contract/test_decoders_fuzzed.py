"""A hundred thousand wrong answers to the connectors: payloads or errors, nothing else, in bounded time and memory.

Each run has a seed of its own, which is printed; `APPSENTRY_FUZZ_SEED` repeats one. Which answers are wrong in which
way is `tests/support/mutations.py`'s, what may come of them `tests/support/decoder_fuzz.py`'s.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from random import Random

import pytest

from federation_core.signals import kinds
from tests.support.every_backend import QUESTIONS, all_questions
from tests.support.mutations import mutated, recordings

pytestmark = pytest.mark.heavy

ANSWERS, PROCESSES = 104_000, 2
#: Nothing recorded has more than some kilobytes: what is made of it has no hundred megabytes.
MOST_BYTES = 150 * 1024 * 1024


def test_of_a_wrong_answer_comes_a_payload_or_an_error_of_the_cluster() -> None:
    seed = int(os.environ.get("APPSENTRY_FUZZ_SEED") or secrets.randbelow(10**9))
    print(f"APPSENTRY_FUZZ_SEED={seed}")
    command = [sys.executable, "-W", "error", "-m", "tests.support.decoder_fuzz"]
    running = [
        subprocess.Popen(
            [*command, str(seed + number), str(ANSWERS // PROCESSES)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES, "\n".join(said)
    told = [re.search(r"([0-9]+) answers, ([0-9]+) bytes", text) for text in said]
    given = [(int(one[1]), int(one[2])) for one in told if one is not None]
    assert sum(answers for answers, _ in given) >= 100_000
    assert max(used for _, used in given) < MOST_BYTES
    assert all(f"'{kind} {signal}'" in text for text in said for kind, signal in all_questions())


def test_every_signal_is_asked_about() -> None:
    assert set(QUESTIONS) == {*kinds(), "inventory"}


def test_mutations_are_the_seeds_alone_and_hardly_ever_nothing() -> None:
    bodies = [one.body for one in recordings("ab" * 16)][:50]
    first, again = ([mutated(body, Random(number)) for number, body in enumerate(bodies)] for _ in range(2))
    assert first == again
    assert sum(before != after for before, after in zip(bodies, first, strict=True)) > 40

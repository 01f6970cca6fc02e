"""The process in which hostile queries are tried: `python -m tests.support.hostile_child WHAT SEED COUNT PROGRESS`.

Rule: whatever is tried is written down before, in a file that outlives the process, so that the parent can name what
has killed or stopped it. Only a FederationError is an answer to a query that is refused; everything else ends the run.
"""

from __future__ import annotations

import json
import mmap
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from federation_core.errors import FederationError
from federation_core.query import TimeRange
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.printer import to_text
from federation_core.tenancy import Limits
from tests.support.hostile_texts import GREEDY, TOGETHER, texts, trees
from tests.support.peak_memory import peak_bytes
from tests.support.sample_store import answer_one, every, series

#: What the progress file holds: an input's number, its length, its bytes; longer ones are cut.
SHOWN_BYTES = 100_000
PROGRESS_BYTES = 16 + SHOWN_BYTES
#: Processor time that one input may take.
MOST_S = 2.0
#: An address space that no bounded evaluation needs; what asks for more gets a MemoryError.
MOST_BYTES = 4 << 30
#: Examples per run of hypothesis: it remembers what it has drawn.
BATCH = 4000
LIMITS = Limits(max_values=300_000)
STORE = [
    series('x{a="1",le="1"}', every(15_000, [0, 1, 5, 5, 2, 9] * 4)),
    series('x{a="1",le="+Inf"}', every(15_000, [0, 2, 5, 6, 2, 12] * 4)),
    series('x{a="2",cluster="c"}', every(15_000, [float("nan"), -1, None, 1e308, 3] * 5, 7)),
    series('y_total{a="1"}', every(15_000, range(24))),
    series('le{a="",b="1"}', every(60_000, [float("inf"), -0.0, float("-inf")])),
]
RANGES = (
    TimeRange(137, 137),
    TimeRange(300_137, 300_137),
    TimeRange(200_000, 500_000, 15_000),
    TimeRange(0, 49, 1),
    TimeRange(-(10**12), -(10**12) + 60_000, 30_000),
    TimeRange(250_000_000_000_000, 250_000_000_000_000),
)


class Progress:
    """The current input, in memory that is shared with the parent through a file."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), PROGRESS_BYTES)
        self.number = 0

    def note(self, text: str) -> None:
        """Write down what is tried next."""
        self.number += 1
        data = text.encode("utf-8", "surrogatepass")[:SHOWN_BYTES]
        self._shared[16 : 16 + len(data)] = data
        self._shared[8:16] = len(data).to_bytes(8, "little")
        self._shared[0:8] = self.number.to_bytes(8, "little")


class Trial:
    """Tries inputs and counts what became of them."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.outcomes: Counter[str] = Counter()
        self.slowest: tuple[float, str] = (0.0, "")

    def texts(self, together: list[str]) -> None:
        """Parse some texts."""
        for text in together:
            self.text(text)

    def text(self, text: str) -> None:
        """Parse a text; what parses must survive printing."""
        parsed = self._timed(text, lambda: parse(text), "parsed")
        if parsed is not None:
            printed = to_text(parsed)
            assert repr(parse(printed)) == repr(parsed), f"{text!r} is printed as {printed!r}, which is another query"

    def tree(self, tree: Any, asked: TimeRange) -> None:
        """Print a tree, parse it, and evaluate what it was."""
        printed = to_text(tree)
        parsed = self._timed(printed, lambda: parse(printed), "parsed")
        if parsed is None:
            return
        assert repr(parsed) == repr(tree), f"{printed!r} is read as {parsed!r}, which is not {tree!r}"
        self.query(printed, asked)

    def query(self, text: str, asked: TimeRange) -> None:
        """Evaluate a query over the small store, with little room."""
        self._timed(text, lambda: answer_one(text, STORE, asked, limits=LIMITS), "evaluated")

    def _timed(self, text: str, run: Callable[[], Any], done: str) -> Any:
        self.progress.note(text)
        begin, answer, outcome = time.thread_time(), None, done
        try:
            answer = run()
        except FederationError as exc:
            outcome = f"{type(exc).__name__} instead of {done}"
        took = time.thread_time() - begin
        self.outcomes[outcome] += 1
        self.slowest = max(self.slowest, (took, text[:2000]))
        assert took < MOST_S, f"{took:.1f} s for {text[:2000]!r}"
        return answer


def run(what: str, first_seed: int, count: int, trial: Trial) -> None:
    """Try so many inputs of one kind."""
    arguments: list[st.SearchStrategy[Any]] = [texts()]
    examples = count if what == "trees" else -(-count // TOGETHER)
    if what == "trees":
        arguments = [trees(), st.sampled_from(RANGES)]
        for text, asked in product(GREEDY, RANGES):
            trial.query(text, asked)
    attempt: Any = trial.texts if what == "texts" else trial.tree
    for batch in range(0, examples, BATCH):
        quick = settings(
            max_examples=min(BATCH, examples - batch),
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )

        def one(drawn: tuple[Any, ...]) -> None:
            attempt(*drawn)

        seed(first_seed + batch)(quick(given(st.tuples(*arguments))(one)))()


def main() -> None:
    """Run what the command line asks for and print a summary as JSON."""
    what, first_seed, count, path = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    trial = Trial(Progress(Path(path)))
    run(what, int(first_seed), int(count), trial)
    took_s, slowest = trial.slowest
    summary = {"outcomes": trial.outcomes, "slowest_s": took_s, "slowest": slowest, "peak_bytes": peak_bytes()}
    print(json.dumps(summary))


if __name__ == "__main__":
    main()

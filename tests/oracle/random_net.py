"""The net: draws queries, asks Prometheus and our engine, and shrinks what they answer differently.

Rule: nothing is excused here. What may differ between Prometheus 2.42 and 3 is not drawn: tests/support/random_queries.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from federation_core.query import TimeRange
from tests.oracle.answers import Answer, Engine, Refusal, difference, read
from tests.oracle.lab_data import T0_S
from tests.support.prometheus_server import PrometheusClient
from tests.support.random_queries import PROMETHEUS_2, PROMETHEUS_3, Generator, Tree, smaller
from tests.support.random_queries.lab_metrics import FIRST_S, LAST_S, PHASE_MS
from tests.support.random_queries.vector_functions import Ordered

STEPS_S = (7, 15, 30, 60, 60, 137, 300)
#: Comparisons spent on making one mismatch small.
SHRINKING = 400


@dataclass(frozen=True)
class Mismatch:
    """A query that is answered differently, and how."""

    tree: Tree
    asked: TimeRange
    how: str

    def __str__(self) -> str:
        times = f"{self.asked.start_ms / 1000:.3f}"
        if self.asked.step_ms:
            times += f"–{self.asked.end_ms / 1000:.3f} step {self.asked.step_ms / 1000:g}"
        return f"{self.tree.text(PROMETHEUS_3)}\n    at {times}: {self.how}"


@dataclass
class Tally:
    """What the queries of a run were made of, and what became of them."""

    queries: int = 0
    answered: int = 0
    empty: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    drawn: Counter[str] = field(default_factory=Counter)
    with_answer: Counter[str] = field(default_factory=Counter)

    def table(self) -> str:
        """Return one line per construct: how often it was drawn, and in how many answers that were not empty."""
        lines = [f"{'construct':34}{'queries':>9}{'not empty':>11}"]
        lines += [f"{name:34}{count:9}{self.with_answer[name]:11}" for name, count in sorted(self.drawn.items())]
        return "\n".join(lines)


@dataclass
class Net:
    """Compares our engine with one Prometheus over the same samples."""

    client: PrometheusClient
    engine: Engine
    rng: random.Random
    tally: Tally = field(default_factory=Tally)

    def compare(self, tree: Tree, asked: TimeRange) -> str:
        """Ask both and say how the answers differ; empty where they do not. Counts what was asked."""
        theirs = read(self.client.ask(tree.text(PROMETHEUS_2), asked))
        mine = self.engine.answer(tree.text(PROMETHEUS_3), asked)
        self._count(tree, theirs, mine)
        ordered = isinstance(tree.rule, Ordered) and not asked.step_ms
        return difference(mine, theirs, chosen=tree.facts.chosen, ordered=ordered)

    def mismatches(self, count: int, favoured: Collection[str] = ()) -> Iterator[Mismatch]:
        """Draw and compare so many queries; yield those that are answered differently, as they are found."""
        for tree, asked in drawn(self.rng, count, favoured):
            how = self.compare(tree, asked)
            if how:
                yield Mismatch(tree, asked, how)

    def shrunk(self, found: Mismatch, budget: int = SHRINKING) -> Mismatch:
        """Return a smaller query that is answered differently too."""
        kept = self.tally
        self.tally = Tally()
        try:
            return shrink(found, self.compare, budget)
        finally:
            self.tally = kept

    def _count(self, tree: Tree, theirs: Answer | Refusal, mine: Answer | Refusal) -> None:
        self.tally.queries += 1
        constructs = set(tree.constructs())
        self.tally.drawn.update(constructs)
        if isinstance(theirs, Answer):
            self.tally.answered += not theirs.is_empty
            self.tally.empty += theirs.is_empty
            if not theirs.is_empty:
                self.tally.with_answer.update(constructs)
        if isinstance(mine, Refusal):
            self.tally.refused[mine.kind] += 1


def drawn(rng: random.Random, count: int, favoured: Collection[str] = ()) -> Iterator[tuple[Tree, TimeRange]]:
    """Yield so many queries with the times they are asked at."""
    generator = Generator(rng, favoured)
    for _ in range(count):
        instant = rng.random() < 0.4
        yield generator.query(instant), _times(rng, instant)


def _times(rng: random.Random, instant: bool) -> TimeRange:
    start_ms = (T0_S + rng.randrange(FIRST_S, LAST_S)) * 1000 + PHASE_MS
    if instant:
        return TimeRange(start_ms, start_ms)
    step_ms = 1000 * rng.choice(STEPS_S)
    return TimeRange(start_ms, start_ms + step_ms * rng.randrange(7), step_ms)


def shrink(found: Mismatch, compare: Callable[[Tree, TimeRange], str], budget: int = SHRINKING) -> Mismatch:
    """Return a smaller query for which `compare` says a difference too."""
    while True:
        for tree, asked in _candidates(found):
            budget -= 1
            if budget < 0:
                return found
            how = compare(tree, asked)
            if how:
                found = Mismatch(tree, asked, how)
                break
        else:
            return found


def _candidates(found: Mismatch) -> Iterator[tuple[Tree, TimeRange]]:
    asked = found.asked
    if asked.end_ms > asked.start_ms:
        for at_ms in range(asked.start_ms, asked.end_ms + 1, asked.step_ms):
            yield found.tree, TimeRange(at_ms, at_ms)
        if asked.steps > 2:
            yield found.tree, TimeRange(asked.start_ms, asked.start_ms + asked.step_ms, asked.step_ms)
    for tree in smaller(found.tree):
        yield tree, asked

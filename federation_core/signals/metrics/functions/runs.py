"""Runs of samples, many taken together: what lets a function of windows work without a loop over samples or steps.

Rule: loops run over the position within a run, for all runs at once. Where few long runs would make that many small
steps, the runs are cut into pieces first, and the pieces put together: about 2·√n steps for a run of n samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from federation_core.signals.metrics.frame import Bools, Floats, Frame, Ints
from federation_core.signals.metrics.functions.contract import Context
from federation_core.signals.metrics.windows import Number, WindowList

#: Runs handled together: few enough that their state stays in the processor's cache.
_TOGETHER = 8_192
#: Runs longer than this are cut if they have fewer samples than this per position.
_WORTH_A_STEP = 256
#: Positions between two looks at whether anybody still waits.
_POSITIONS_PER_CHECK = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Runs of consecutive places, the longest first: run i holds the places first[i] to first[i] + counts[i] - 1.

    `index` numbers the runs in whatever they were taken from; `check` raises once nobody waits for the answer.
    """

    first: Ints
    counts: Ints
    index: Ints
    check: Callable[[], None] = field(default=lambda: None)

    @classmethod
    def of(cls, first: Ints, counts: Ints, check: Callable[[], None] = lambda: None) -> Runs:
        """Return all the runs, the longest first."""
        order = np.argsort(-counts, kind="stable")
        return cls(first[order], counts[order], order, check)

    def __len__(self) -> int:
        return len(self.first)

    @property
    def longest(self) -> int:
        """The number of places of the longest run."""
        return int(self.counts[0]) if len(self) else 0

    def take(self, which: Ints | slice) -> Runs:
        """Return some of the runs, by ascending position."""
        return Runs(self.first[which], self.counts[which], self.index[which], self.check)

    def positions(self, start: int = 0) -> Iterator[tuple[int, Ints]]:
        """Yield (position, places): the places at this position of all runs that have one, which come first."""
        having = len(self) - np.searchsorted(self.counts[::-1], np.arange(start, self.longest), side="right")
        for position, m in enumerate(having.tolist(), start):
            if position % _POSITIONS_PER_CHECK == 0:
                self.check()
            yield position, self.first[:m] + position

    def blocks(self) -> Iterator[Runs]:
        """Yield the runs in blocks of those that are handled together."""
        for start in range(0, len(self), _TOGETHER):
            yield self.take(slice(start, start + _TOGETHER))

    @property
    def worth_cutting(self) -> bool:
        """Whether going from position to position would be many steps with little in each."""
        return self.longest > _WORTH_A_STEP and int(self.counts.sum()) < _WORTH_A_STEP * self.longest

    def cut(self) -> Pieces:
        """Cut the runs into pieces of at most √n places for the longest run's n."""
        size = math.isqrt(self.longest - 1) + 1
        numbers = -(-self.counts // size)
        ends = np.cumsum(numbers)
        of = np.repeat(np.arange(len(self)), numbers)
        before = (np.arange(len(of)) - (ends - numbers)[of]) * size
        pieces = Runs.of(self.first[of] + before, np.minimum(size, self.counts[of] - before), self.check)
        return Pieces(pieces, of, Runs(ends - numbers, numbers, np.arange(len(self)), self.check))


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Runs cut into P pieces: the pieces, whose `index` numbers them in order of run and place; for each number the
    run it is `of`; and the runs as runs of piece numbers."""

    pieces: Runs
    of: Ints
    runs: Runs

    def in_order(self, results: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Return what there is one of per piece, … × P, in order of their numbers."""
        ordered = np.empty_like(results)
        ordered[..., self.pieces.index] = results
        return ordered


def marks_before(marked: Bools) -> Ints:
    """Return for every sample how many pairs of neighbours before it are marked; `marked[i]` is of samples i, i + 1."""
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(marked)))


#: places, the run of each → what is added up: one term per place, or a row of them for each of several sums.
Term = Callable[[Ints, Ints], Floats]


def compensated(runs: Runs, term: Term, sums: tuple[int, ...] = ()) -> tuple[Floats, Floats]:
    """Return for every run the sum of its terms and the error of that sum; `sums` × runs where there are several."""
    return _compensated(runs, term, (*sums, len(runs)), np.arange(len(runs)))


def _compensated(runs: Runs, term: Term, shape: tuple[int, ...], of: Ints) -> tuple[Floats, Floats]:
    totals, errors = np.zeros(shape), np.zeros(shape)
    if runs.worth_cutting:
        cut = runs.cut()
        found = _compensated(cut.pieces, term, (*shape[:-1], len(cut.of)), of[cut.of[cut.pieces.index]])
        piece_totals, piece_errors = map(cut.in_order, found)
        for _, numbers in cut.runs.positions():
            accumulate(totals, errors, piece_totals[..., numbers])
            errors[..., : len(numbers)] += piece_errors[..., numbers]
    else:
        for _, places in runs.positions():
            accumulate(totals, errors, term(places, of[: len(places)]))
    # No sum ever comes back from where it is not finite.
    errors[~np.isfinite(totals)] = 0.0
    return totals, errors


def accumulate(totals: Floats, errors: Floats, terms: Floats) -> None:
    """Add terms to the sums of the first runs, in place, and what the rounding loses to their errors.

    The error of a sum that is not finite means nothing.
    """
    before = totals[..., : terms.shape[-1]]
    total = before + terms
    share = total - before
    errors[..., : terms.shape[-1]] += (before - (total - share)) + (terms - share)
    before[...] = total


#: Finds one result for each run of a block.
Kernel = Callable[[Runs], Floats]


def over_runs(listed: WindowList, context: Context, kernel: Kernel) -> Frame:
    """Return what a kernel finds for every listed window."""
    results = np.empty(len(listed.first))
    for block in Runs.of(listed.first, listed.counts, context.check).blocks():
        results[block.index] = kernel(block)
    return listed.frame(results)

"""The answer of a root in stretches of its steps: over the clusters that take part there, as far as it can be known.

Rule: a cluster that was not asked for early steps (`kept`) has no part in them and is as silent there as one that did
not answer; later it takes part in full. Where an answer is the same without what is `undecided`, it was decided all the
same: more series could only have taken more away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from federation_core.signals import Silence
from federation_core.signals.metrics.distribute import leaf_id_of
from federation_core.signals.metrics.expr import Expr, selectors
from federation_core.signals.metrics.frame import Frame, Grid, Payload
from federation_core.signals.metrics.kept import steps_from
from federation_core.signals.metrics.undecided import Undecided
from federation_core.times import format_time

#: Evaluates a root on all steps of its grid: the answer and what must be said with it.
Evaluate: TypeAlias = Callable[[Expr], tuple[Payload, tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Steps of a grid, from `first` up to and without `end`, in which the same clusters are silent.

    `silent` is leaf id → clusters that have not answered it there; `without` are clusters that take no part yet.
    """

    grid: Grid
    first: int
    end: int
    silent: Mapping[str, tuple[str, ...]]
    without: frozenset[str] = frozenset()


def stretches(root: Expr, grid: Grid, silent: Silence) -> list[Stretch]:
    """Divide the steps of a root by who is silent, in order; there is at least one stretch."""
    left_out = {
        name: grid.steps - steps_from(grid, told.until_ms).steps
        for name, told in silent.items()
        if told.until_ms is not None
    }
    bounds = sorted({0, grid.steps, *left_out.values()})
    leaves = {leaf_id_of(node) for node in selectors(root)}
    found = []
    for first, end in pairwise(bounds):
        there = {name for name, steps in left_out.items() if steps <= first}
        missing = {
            leaf: tuple(name for name, told in silent.items() if name not in there and leaf in told.leaves)
            for leaf in leaves
        }
        found.append(Stretch(grid, first, end, missing, frozenset(left_out) - there))
    return found


def decided(root: Expr, stretch: Stretch, evaluate: Evaluate) -> tuple[Payload, tuple[str, ...]]:
    """Return the answer in a stretch without what nobody can know, and what must be said with it.

    Raises what `evaluate` raises.
    """
    payload, said = evaluate(root)
    payload = _steps_of(payload, stretch)
    undecided = Undecided(stretch.silent)
    if (certain := undecided.without(root)) == root:
        return payload, said
    known, said_then = evaluate(certain)
    known = _steps_of(known, stretch)
    if not undecided.is_nested and _same(payload, known):
        return payload, said
    grid, end = stretch.grid, stretch.end
    until = "" if end == grid.steps else f", before {format_time(grid.start_ms + end * grid.step_ms)}"
    return known, (*(f"{words}{until}" for words in undecided.said), *said_then)


def _steps_of(payload: Payload, stretch: Stretch) -> Payload:
    grid, first, end = stretch.grid, stretch.first, stretch.end
    if not isinstance(payload, Frame) or end - first == grid.steps:
        return payload
    seen = Grid(grid.start_ms + first * grid.step_ms, grid.step_ms, end - first)
    return Frame(
        payload.labels, seen, payload.values[:, first:end], payload.present[:, first:end], payload.kind
    ).pruned()


def joined(parts: Sequence[Payload], grid: Grid) -> Payload:
    """Return the answer on a grid out of those in its stretches, in order."""
    frames = [part for part in parts if isinstance(part, Frame)]
    if len(parts) == 1 or len(frames) < len(parts):
        return parts[0]
    rows = {labels: row for row, labels in enumerate(dict.fromkeys(ls for frame in frames for ls in frame.labels))}
    values = np.full((len(rows), grid.steps), np.nan)
    present = np.zeros(values.shape, dtype=np.bool_)
    first = 0
    for frame in frames:
        at = np.array([rows[labels] for labels in frame.labels], dtype=np.int64)
        values[at, first : first + frame.grid.steps] = frame.values
        present[at, first : first + frame.grid.steps] = frame.present
        first += frame.grid.steps
    return Frame(tuple(rows), grid, values, present, frames[0].kind)


def _same(left: Payload, right: Payload) -> bool:
    if not isinstance(left, Frame) or not isinstance(right, Frame):
        return left == right
    return (
        left.labels == right.labels
        and np.array_equal(left.present, right.present)
        and np.array_equal(left.values[left.present], right.values[right.present], equal_nan=True)
    )

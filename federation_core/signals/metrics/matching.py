"""Which series of two vectors meet: match groups, the one partner of each, and what fills in for a missing one.

Rule: matching is decided step by step, the work on labels is done once per series. Two series of the "one" side in one
match group are an execution error where they meet and the other side has anything to match at all; at different steps
(a pod and its successor) they are not.
Source: Prometheus documentation, "Operators / Vector matching", "Group modifiers", "Filling in missing matches".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from federation_core.errors import QueryExecutionError
from federation_core.labels import NAME, Labels
from federation_core.signals.metrics.expr import Matching
from federation_core.signals.metrics.frame import Bools, Floats, Frame, Ints
from federation_core.signals.metrics.series import any_of_group, describe, drop_labels, keep_labels, rank_labels
from federation_core.signals.metrics.session import Session

#: How many rows × steps are worked on at once where that takes more room than what is worked on.
_CELLS = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Grouped:
    """A vector, and the match group of each of its rows."""

    frame: Frame
    group: Ints

    def present_in(self, groups: int) -> Bools:
        """Tell for each of `groups` match groups and every step whether this side has any series in it."""
        return any_of_group(self.frame.present, self.group, groups)


@dataclass(frozen=True, slots=True, eq=False)
class Partners:
    """What the "one" side offers: rows that differ in match group or in the labels the result takes on from them.

    Row r belongs to match group `group[r]` and offers the labels `offered[r]`; at any step, at most one row of a group
    is present.
    """

    group: Ints
    offered: tuple[Labels, ...]
    values: Floats
    present: Bools


def match(left: Frame, right: Frame, matching: Matching) -> tuple[tuple[Labels, ...], Grouped, Grouped]:
    """Return the labels of all match groups, and both sides with theirs."""
    series = (*left.labels, *right.labels)
    keys = keep_labels(series, matching.labels) if matching.on else drop_labels(series, (*matching.labels, NAME))
    distinct, index = rank_labels(keys)
    split = left.series_count
    return tuple(distinct), Grouped(left, index[:split]), Grouped(right, index[split:])


def fill_many(many: Grouped, one: Grouped, value: float, groups: tuple[Labels, ...]) -> Grouped:
    """Add to the "many" side a series for every match group that only the other one has, where it has it."""
    missing = one.present_in(len(groups)) & ~many.present_in(len(groups))
    added = np.flatnonzero(missing.any(axis=1))
    frame = many.frame
    marks = None if frame.unnamed is None else np.concatenate([frame.unnamed, np.zeros(len(added), dtype=np.bool_)])
    extended = replace(
        frame,
        labels=(*frame.labels, *(groups[group] for group in added.tolist())),
        values=np.concatenate([frame.values, np.full((len(added), frame.grid.steps), value)]),
        present=np.concatenate([frame.present, missing[added]]),
        unnamed=marks,
    )
    return Grouped(extended, np.concatenate([many.group, added]))


def partners_of(one: Grouped, include: Sequence[str]) -> Partners:
    """Put the rows of the "one" side together that offer the same `include`; `require_one` has been asked before."""
    offered = keep_labels(one.frame.labels, include)
    numbers: dict[tuple[int, Labels], int] = {}
    index = [numbers.setdefault(key, len(numbers)) for key in zip(one.group.tolist(), offered, strict=True)]
    kinds = tuple(labels for _, labels in numbers)
    group = np.array([number for number, _ in numbers], dtype=np.int64)
    if len(numbers) == len(index):
        return Partners(group, kinds, one.frame.values, one.frame.present)
    values = np.full((len(numbers), one.frame.grid.steps), np.nan)
    present = np.zeros(values.shape, dtype=np.bool_)
    rows, steps = np.nonzero(one.frame.present)
    at = np.array(index, dtype=np.int64)[rows]
    values[at, steps] = one.frame.values[rows, steps]
    present[at, steps] = True
    return Partners(group, kinds, values, present)


def fill_partners(
    partners: Partners, many: Grouped, value: float, groups: tuple[Labels, ...], include: Sequence[str]
) -> Partners:
    """Give every match group of the "many" side a partner at every step; a filled one offers the group's own labels."""
    asked = np.unique(many.group)
    own = keep_labels((groups[group] for group in asked.tolist()), include)
    rows = {key: row for row, key in enumerate(zip(partners.group.tolist(), partners.offered, strict=True))}
    row_of_group = [rows.setdefault(key, len(rows)) for key in zip(asked.tolist(), own, strict=True)]
    added = len(rows) - len(partners.group)
    steps = partners.values.shape[1]
    values = np.concatenate([partners.values, np.empty((added, steps))])
    present = np.concatenate([partners.present, np.zeros((added, steps), dtype=np.bool_)])
    missing = ~any_of_group(partners.present, partners.group, len(groups))[asked]
    at = np.array(row_of_group, dtype=np.int64)
    values[at] = np.where(missing, value, values[at])
    present[at] |= missing
    return Partners(
        np.array([group for group, _ in rows], dtype=np.int64), tuple(labels for _, labels in rows), values, present
    )


def pair_up(many: Grouped, partners: Partners, groups: int, session: Session) -> tuple[Ints, Ints]:
    """Return (row of the "many" side, row of the partners) for every two that meet, in order of both.

    A match group with one partner may have pairs that never meet. There is room for the result of all the pairs.

    Raises QueryTooLarge.
    """
    steps = many.frame.grid.steps
    sizes = np.bincount(partners.group, minlength=groups)
    if sizes.max(initial=0) <= 1:
        partner_of_group = np.full(groups, -1)
        partner_of_group[partners.group] = np.arange(len(partners.group))
        rows = np.flatnonzero(sizes[many.group])
        session.require_room(len(rows) * steps)
        return rows, partner_of_group[many.group[rows]]
    # At one step a match group has one partner at most: pairs are found in room for one number per group and step.
    session.require_room(groups * steps)
    partner_at = np.full((groups, steps), -1)
    row, step = np.nonzero(partners.present)
    partner_at[partners.group[row], step] = row
    none = np.empty(0, dtype=np.int64)
    found, pairs = [(none, none)], 0
    for start in range(0, len(many.group), max(1, _CELLS // steps)):
        session.check()
        block = slice(start, start + max(1, _CELLS // steps))
        met = np.where(many.frame.present[block], partner_at[many.group[block]], -1)
        met.sort(axis=1)
        first = (met >= 0) & (np.diff(met, axis=1, prepend=-1) != 0)
        rows, places = np.nonzero(first)
        pairs += len(rows)
        session.require_room(pairs * steps)
        found.append((rows + start, met[rows, places]))
    return np.concatenate([rows for rows, _ in found]), np.concatenate([at for _, at in found])


def require_one(side: Grouped, groups: tuple[Labels, ...], name: str) -> None:
    """Raise QueryExecutionError if two series of the "one" side, which is `name`, left or right, meet in a group."""
    found = first_meeting(side.frame.present, side.group)
    if found is None:
        return
    earlier, later = found
    group = groups[side.group[earlier]]
    raise QueryExecutionError(
        f"found duplicate series for the match group {describe(group)} on the {name} hand-side of the operation: "
        f"[{describe(side.frame.labels[later])}, {describe(side.frame.labels[earlier])}]"
        ";many-to-many matching not allowed: matching labels must be unique on one side"
    )


def first_meeting(present: Bools, group: Ints) -> tuple[int, int] | None:
    """Return the first two rows, S × T, of one group that are present at the same step, if any are.

    Groups may have any numbers.
    """
    _, group, sizes = np.unique(group, return_inverse=True, return_counts=True)
    shared = np.flatnonzero(sizes[group] > 1)
    if not len(shared):
        return None
    order = shared[np.argsort(group[shared], kind="stable")]
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    counts = np.add.reduceat(present[order], starts, axis=0, dtype=np.int64)
    if not (counts > 1).any():
        return None
    number, step = (int(indices[0]) for indices in np.nonzero(counts > 1))
    rows = np.flatnonzero((group == group[order[starts[number]]]) & present[:, step])
    return int(rows[0]), int(rows[1])

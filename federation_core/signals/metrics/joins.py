"""Arithmetic and comparison between two vectors: one-to-one, and with group_left and group_right.

Rule: an operation has the labels of its "many" side, one-to-one those that were matched by; only a filter keeps the
metric name. Every match counts when it is decided whether two series got the same partner, also one that a filter
drops.
Source: Prometheus documentation, "Operators / Vector matching"; a filter is no exception since Prometheus 3.9 (its pull
request 17668).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from federation_core.errors import QueryExecutionError
from federation_core.labels import Labels
from federation_core.signals.metrics.expr import COMPARISONS, Binary
from federation_core.signals.metrics.frame import Bools, Floats, Frame, Ints
from federation_core.signals.metrics.matching import (
    Grouped,
    Partners,
    fill_many,
    fill_partners,
    first_meeting,
    match,
    pair_up,
    partners_of,
    require_one,
)
from federation_core.signals.metrics.operations import filters, operate
from federation_core.signals.metrics.series import NAME_LABELS, describe, drop_labels, rank_labels, unite
from federation_core.signals.metrics.session import Session

A = TypeVar("A", Floats, Bools)


def join(node: Binary, left: Frame, right: Frame, session: Session) -> Frame:
    """Apply an arithmetic or comparison operator to two vectors.

    Raises QueryExecutionError: series match more partners than is written. QueryTooLarge.
    """
    matching = node.matching
    fills = (matching.fill_left, matching.fill_right)
    if fills == (None, None):
        left, right = _where_both_are(left, right)
    groups, of_left, of_right = match(left, right, matching)
    if fills != (None, None):
        session.require_room(len(groups) * left.grid.steps)
    swapped = matching.card == "one-to-many"
    many, one = (of_right, of_left) if swapped else (of_left, of_right)
    for_many, for_one = reversed(fills) if swapped else fills
    require_one(one, groups, "left" if swapped else "right")
    partners = partners_of(one, matching.include)
    if for_one is not None:
        partners = fill_partners(partners, many, for_one, groups, matching.include)
    if for_many is not None:
        many = fill_many(many, one, for_many, groups)
    rows, at = pair_up(many, partners, len(groups), session)
    if not len(rows):
        return Frame.empty(left.grid)
    labels = _result_labels(node, many, groups, session)
    return _combine(node, many, partners, rows, at, labels)


def _where_both_are(left: Frame, right: Frame) -> tuple[Frame, Frame]:
    """Return both without the steps at which one of them has nothing at all: nothing is matched or wrong there."""
    both = np.logical_and(left.present.any(axis=0), right.present.any(axis=0))
    if both.all():
        return left, right
    return replace(left, present=left.present & both).pruned(), replace(right, present=right.present & both).pruned()


def _combine(
    node: Binary, many: Grouped, partners: Partners, rows: Ints, at: Ints, labels_of_rows: Sequence[Labels]
) -> Frame:
    """Apply the operator to the pairs (row of the "many" side, row of the partners)."""
    ours, theirs = _taken(many.frame.values, rows), _taken(partners.values, at)
    left, right = (theirs, ours) if node.matching.card == "one-to-many" else (ours, theirs)
    values, kept = operate(node, left, right, left)
    met = _taken(many.frame.present, rows) & _taken(partners.present, at)
    labels = [labels_of_rows[row] for row in rows.tolist()]
    if node.matching.include:
        offered = (partners.offered[row] for row in at.tolist())
        labels = [Labels(sorted((*own, *taken))) for own, taken in zip(labels, offered, strict=True)]
    _require_distinct(node, met, many, rows, labels)
    marks = many.frame.unnamed
    if marks is not None:
        marks = marks[rows] if filters(node) else np.full(len(rows), node.returns_bool)
    present = met if kept is None else met & kept
    return unite(Frame(tuple(labels), many.frame.grid, values, present, unnamed=marks).pruned())


def _taken(array: A, rows: Ints) -> A:
    """Return the given rows, without a copy where that is all of them."""
    if len(rows) == len(array) and np.array_equal(rows, np.arange(len(rows))):
        return array
    return array[rows]


def _drops_name(node: Binary, session: Session) -> bool:
    """Tell whether the metric name goes at once: delayed, it stays on the answers of `bool` and is marked there."""
    return node.operator not in COMPARISONS or (node.returns_bool and not session.delayed_names)


def _result_labels(node: Binary, many: Grouped, groups: Sequence[Labels], session: Session) -> Sequence[Labels]:
    """Return the labels of every row's result, without those that it takes on from its partner.

    The name goes before anything is taken on, so a name that was asked for stays.
    """
    matching = node.matching
    dropped = NAME_LABELS if _drops_name(node, session) else ()
    if matching.card != "one-to-one":
        dropped = (*matching.include, *dropped)
        return drop_labels(many.frame.labels, dropped) if dropped else many.frame.labels
    if matching.on or dropped:
        # What was matched by, which lacks the name unless it was matched by it.
        bare = drop_labels(groups, dropped) if dropped else groups
        return [bare[group] for group in many.group.tolist()]
    return drop_labels(many.frame.labels, matching.labels)


def _require_distinct(node: Binary, met: Bools, many: Grouped, rows: Ints, labels: Sequence[Labels]) -> None:
    """Raise QueryExecutionError if two series of the "many" side have the same partner and cannot be told apart."""
    groups = many.group[rows]
    if node.matching.card == "one-to-one":
        found = first_meeting(met, groups)
        problem = "many-to-one matching must be explicit (group_left/group_right)"
    else:
        distinct, index = rank_labels(labels)
        if len(distinct) == len(labels):
            return
        found = first_meeting(met, groups * len(distinct) + index)
        problem = "grouping labels must ensure unique matches"
    if found is not None:
        twice = ", ".join(describe(many.frame.labels[rows[row]]) for row in found)
        raise QueryExecutionError(f"multiple matches for labels: {problem}: [{twice}] match the same series")

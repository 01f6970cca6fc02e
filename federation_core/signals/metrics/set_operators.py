"""The set operators and, or, unless: they match many series with many.

Rule: samples pass as they are, names and marks included; whether a match group has any series on the other side is
decided step by step.
Source: Prometheus documentation, "Operators / Logical/set binary operators".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from federation_core.signals.metrics.expr import Binary
from federation_core.signals.metrics.frame import Frame
from federation_core.signals.metrics.matching import match
from federation_core.signals.metrics.series import unite
from federation_core.signals.metrics.session import Session


def combine_sets(node: Binary, left: Frame, right: Frame, session: Session) -> Frame:
    """Apply a set operator to two vectors.

    Raises QueryTooLarge. Series with equal labels are in one match group, so they never meet in the result.
    """
    groups, of_left, of_right = match(left, right, node.matching)
    session.require_room(len(groups) * left.grid.steps)
    if node.operator == "or":
        session.require_room(left.values.size + right.values.size)
        hidden = of_left.present_in(len(groups))[of_right.group]
        return _united(left, replace(right, present=right.present & ~hidden).pruned())
    met = of_right.present_in(len(groups))[of_left.group]
    present = left.present & (met if node.operator == "and" else ~met)
    return replace(left, present=present).pruned()


def _united(left: Frame, right: Frame) -> Frame:
    if not right.series_count:
        return left
    marks = None
    if left.unnamed is not None and right.unnamed is not None:
        marks = np.concatenate([left.unnamed, right.unnamed])
    return unite(
        replace(
            left,
            labels=(*left.labels, *right.labels),
            values=np.concatenate([left.values, right.values]),
            present=np.concatenate([left.present, right.present]),
            unnamed=marks,
        )
    )

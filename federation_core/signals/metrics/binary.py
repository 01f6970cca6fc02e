"""Binary operators: arithmetic and comparison between scalars and vectors, one-to-one vector matching.

Rule: matching is decided step by step. Two series that match the same partner at one step are an execution error,
at different steps (a pod and its successor) they are not. A filter keeps the left value and, between a vector and a
scalar, the vector's.
Source: Prometheus documentation, "Operators / Binary operators" and "Vector matching".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from federation_core.errors import QueryExecutionError
from federation_core.labels import NAME, Labels
from federation_core.signals.metrics.expr import COMPARISONS, Binary, Matching
from federation_core.signals.metrics.frame import Bools, Floats, Frame, Ints
from federation_core.signals.metrics.series import drop_name, rank_labels, unite
from federation_core.signals.metrics.session import Session

_ARITHMETIC: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
}
_COMPARISON: Mapping[str, Callable[[Floats, Floats], Bools]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}


def apply_binary(node: Binary, left: Frame, right: Frame, session: Session) -> Frame:
    """Apply the node's operator to its evaluated operands.

    Raises QueryExecutionError: the matching is not one-to-one.
    """
    if left.kind == "vector" and right.kind == "vector":
        return _between_vectors(node, left, right)
    vector = right if right.kind == "vector" else left
    values, kept = _operate(node, left.values, right.values, vector.values)
    result = replace(vector, values=values, present=vector.present & kept)
    return result if vector.kind == "scalar" else _named(node, result).pruned()


def _operate(node: Binary, left: Floats, right: Floats, filtered: Floats) -> tuple[Floats, Bools]:
    """Return the operator's values and which of them a filter keeps; `filtered` are the values it keeps."""
    shape = np.broadcast_shapes(left.shape, right.shape)
    if node.operator not in COMPARISONS:
        return _ARITHMETIC[node.operator](left, right), np.ones(shape, dtype=np.bool_)
    holds = _COMPARISON[node.operator](left, right)
    if node.returns_bool:
        return holds.astype(np.float64), np.ones(shape, dtype=np.bool_)
    return filtered, holds


def _named(node: Binary, result: Frame) -> Frame:
    """Drop the metric names, unless the operator only filters."""
    filters = node.operator in COMPARISONS and not node.returns_bool
    return result if filters else drop_name(result)


def _between_vectors(node: Binary, left: Frame, right: Frame) -> Frame:
    keys = [_match_labels(labels, node.matching) for labels in (*left.labels, *right.labels)]
    distinct, index = rank_labels(keys)
    left_index, right_index = index[: left.series_count], index[left.series_count :]
    partner = _partners(right, right_index, distinct, asked=np.logical_or.reduce(left.present, axis=0))
    matched = np.isin(left_index, right_index)
    rows, left_index = np.flatnonzero(matched), left_index[matched]
    if not len(rows):
        return Frame.empty(left.grid)
    mine, other = left.take(rows), partner.take(left_index)
    values, kept = _operate(node, mine.values, other.values, mine.values)
    present = mine.present & other.present & kept
    _require_single(present, left_index, distinct, left, rows)
    labels = tuple(_result_labels(series, node.matching) for series in mine.labels)
    return unite(_named(node, Frame(labels, left.grid, values, present)).pruned())


def _match_labels(labels: Labels, matching: Matching) -> Labels:
    return labels.only(matching.labels) if matching.on else labels.without((*matching.labels, NAME))


def _result_labels(labels: Labels, matching: Matching) -> Labels:
    # The name survives the matching here and is dropped with the operator's meaning.
    return labels.only(matching.labels) if matching.on else labels.without(matching.labels)


def _partners(right: Frame, index: Ints, distinct: list[Labels], asked: Bools) -> Frame:
    """Return for every match group its one right-hand series, put together from those that never meet.

    `asked` marks the steps at which the left has any sample: at the others nothing is matched, and nothing is wrong.
    """
    right = replace(right, present=right.present & asked)
    values = np.full((len(distinct), right.grid.steps), np.nan)
    count = np.zeros((len(distinct), right.grid.steps), dtype=np.int64)
    np.add.at(count, index, right.present)
    if (count > 1).any():
        group = int(np.flatnonzero((count > 1).any(axis=1))[0])
        step = int(np.flatnonzero(count[group] > 1)[0])
        twice = [dict(right.labels[row]) for row in np.flatnonzero(index == group) if right.present[row, step]]
        raise QueryExecutionError(
            f"found duplicate series for the match group {dict(distinct[group])} on the right hand-side of the "
            f"operation: {twice[:2]}; many-to-many matching not allowed: matching labels must be unique on one side"
        )
    rows, steps = np.nonzero(right.present)
    values[index[rows], steps] = right.values[rows, steps]
    return Frame(tuple(distinct), right.grid, values, count == 1)


def _require_single(present: Bools, index: Ints, distinct: list[Labels], left: Frame, rows: Ints) -> None:
    count = np.zeros((len(distinct), left.grid.steps), dtype=np.int64)
    np.add.at(count, index, present)
    if (count > 1).any():
        group = int(np.flatnonzero((count > 1).any(axis=1))[0])
        twice = [dict(left.labels[row]) for row in rows[index == group].tolist()]
        raise QueryExecutionError(
            f"multiple matches for labels: many-to-one matching must be explicit (group_left/group_right); "
            f"the match group {dict(distinct[group])} has on the left {twice[:2]}"
        )

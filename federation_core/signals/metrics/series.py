"""Rules about label sets that every operator shares: keeping and dropping labels, uniting equal label sets.

Rule: a vector never holds one label set twice at one step. Rows that became equal are one series if they never
meet, and an execution error where they do.
Source: Prometheus documentation, "Operators"; "Functions" (the metric name is dropped where the value changes
its meaning).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from federation_core.errors import QueryExecutionError
from federation_core.labels import CLUSTER, NAME, Labels, quote
from federation_core.signals.metrics.frame import Bools, Frame, Ints

#: What a name is with: Prometheus drops the labels that tell a metric's type and unit together with it.
NAME_LABELS = (NAME, "__type__", "__unit__")
#: How many characters of a text a message shows.
_SHOWN = 1000


def keep_labels(series: Iterable[Labels], names: Iterable[str]) -> list[Labels]:
    """Return every label set with the named labels only."""
    kept = frozenset(names)
    return [Labels([pair for pair in labels if pair[0] in kept]) for labels in series]


def drop_labels(series: Iterable[Labels], names: Iterable[str]) -> list[Labels]:
    """Return every label set without the named labels."""
    dropped = frozenset(names)
    return [Labels([pair for pair in labels if pair[0] not in dropped]) for labels in series]


def rank_labels(labels: Sequence[Labels]) -> tuple[list[Labels], Ints]:
    """Number equal label sets alike: returns the distinct ones in order of first sight, and each row's number."""
    numbers: dict[Labels, int] = {}
    index = [numbers.setdefault(label_set, len(numbers)) for label_set in labels]
    return list(numbers), np.array(index, dtype=np.int64)


def tie_ranks(labels: Sequence[Labels]) -> Ints:
    """Return each row's place in order of label set, `cluster` compared last.

    It is how ties are decided: every split of the series over clusters decides them alike.
    """
    keys = [
        (rest, labels_of_row.get(CLUSTER))
        for labels_of_row, rest in zip(labels, drop_labels(labels, (CLUSTER,)), strict=True)
    ]
    ranks = np.empty(len(keys), dtype=np.int64)
    ranks[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    return ranks


def any_of_group(present: Bools, group: Ints, groups: int) -> Bools:
    """Tell for each of `groups` groups and every step whether any of its rows, S × T, is present."""
    found = np.zeros((groups, present.shape[1]), dtype=np.bool_)
    if len(group) and np.bincount(group).max() == 1:
        found[group] = present
    elif len(group):
        order = np.argsort(group, kind="stable")
        sorted_group = group[order]
        starts = np.flatnonzero(np.diff(sorted_group, prepend=-1))
        found[sorted_group[starts]] = np.logical_or.reduceat(present[order], starts, axis=0)
    return found


def describe(labels: Labels) -> str:
    """Print a label set as Prometheus' messages do.

    >>> describe(Labels.of({"__name__": "up", "pod": "a"}))
    '{__name__="up", pod="a"}'
    """
    return "{" + ", ".join(f"{_label_name(_shown(name))}={quote(_shown(value))}" for name, value in labels) + "}"


def _shown(text: str) -> str:
    # A query can write labels of millions of characters, which no message should be.
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _same_labels(twice: Labels) -> QueryExecutionError:
    return QueryExecutionError(f"vector cannot contain metrics with the same labelset: {describe(twice)}")


def _label_name(name: str) -> str:
    return name if name.isascii() and name.isidentifier() else quote(name)


def drop_name(frame: Frame, *, strictly: bool = False) -> Frame:
    """Return the vector without metric names, or with all rows marked where the evaluation delays it.

    Raises QueryExecutionError: two series are one without their names, at the same step, or `strictly` at any.
    """
    if frame.kind == "scalar":
        return frame
    if frame.unnamed is not None:
        return replace(frame, unnamed=np.ones(frame.series_count, dtype=np.bool_))
    labels = tuple(drop_labels(frame.labels, NAME_LABELS))
    if strictly:
        _require_unlike(labels)
    return unite(replace(frame, labels=labels))


def _require_unlike(labels: Iterable[Labels]) -> None:
    seen: set[Labels] = set()
    for series in labels:
        if series in seen:
            raise _same_labels(series)
        seen.add(series)


def drop_marked_names(frame: Frame) -> Frame:
    """Return a result whose names were to be dropped at the end without them.

    Raises QueryExecutionError: two series are one without their names, at the same step.
    """
    if frame.unnamed is None:
        return frame
    marked = zip(frame.labels, frame.unnamed.tolist(), strict=True)
    labels = tuple(series.without(NAME_LABELS) if drops else series for series, drops in marked)
    return unite(replace(frame, labels=labels, unnamed=None))


def unite(frame: Frame) -> Frame:
    """Join rows with equal label sets.

    Raises QueryExecutionError: two of them have a value at the same step.
    """
    distinct, index = rank_labels(frame.labels)
    if len(distinct) == len(frame.labels):
        return frame
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(len(distinct)))
    counts = np.add.reduceat(frame.present[order].astype(np.int64), starts, axis=0)
    if (counts > 1).any():
        raise _same_labels(distinct[int(np.flatnonzero((counts > 1).any(axis=1))[0])])
    values = np.full(counts.shape, np.nan)
    rows, steps = np.nonzero(frame.present)
    values[index[rows], steps] = frame.values[rows, steps]
    unnamed = None if frame.unnamed is None else np.logical_or.reduceat(frame.unnamed[order], starts)
    return Frame(tuple(distinct), frame.grid, values, counts == 1, unnamed=unnamed)

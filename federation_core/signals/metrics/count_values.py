"""count_values: how many series of a group have each value.

Rule: values are told apart by their text, as Prometheus writes it into the label; that label stands for whatever the
series had under its name. What is different is sought block by block, so too many values are refused once so many of
them were seen, before there is work or room for all.
Source: Prometheus documentation, "Operators / Aggregation operators".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from federation_core.errors import QueryExecutionError
from federation_core.labels import NAME, quote
from federation_core.signals.metrics.expr import Grouping
from federation_core.signals.metrics.frame import Frame, Ints
from federation_core.signals.metrics.groups import Groups
from federation_core.signals.metrics.prometheus_json import format_scalar
from federation_core.signals.metrics.series import drop_labels
from federation_core.signals.metrics.session import Session

#: How many rows × steps are looked at at once.
_CELLS = 1 << 18


def count_values(frame: Frame, grouping: Grouping, label: str, session: Session) -> Frame:
    """Return a series per group and value, with the value's text under `label`.

    Raises QueryExecutionError: no label can have this name. QueryTooLarge: there are too many different values.
    """
    if not _is_label_name(label):
        raise QueryExecutionError(f"invalid label name {quote(label)}")
    if not frame.sample_count:
        return Frame.empty(frame.grid)
    steps = frame.grid.steps
    if not grouping.without:
        grouping = replace(grouping, labels=(*grouping.labels, label))
    groups = Groups.of(drop_labels(frame.labels, (label,)), grouping)
    # Where grouping takes the label away again, the values only count.
    named = not (grouping.without and (label == NAME or label in grouping.labels))
    distinct = np.zeros(1, dtype=np.int64)
    if named:
        distinct = _distinct((bits for _, _, bits in _blocks(frame, session)), steps, session)
    numbered = _Numbered(frame, groups.of_rows, distinct, named, session)
    pairs = _distinct((numbers for numbers, _ in numbered), steps, session)
    counts = np.zeros((len(pairs), steps))
    for numbers, at in numbered:
        np.add.at(counts, (np.searchsorted(pairs, numbers), at), 1.0)
    texts = [format_scalar(number) if named else "" for number in distinct.view(np.float64).tolist()]
    numbers_of_pairs = (pairs % len(texts)).tolist()
    session.write(sum(len(texts[number]) for number in numbers_of_pairs))
    each = zip((pairs // len(texts)).tolist(), numbers_of_pairs, strict=True)
    labels = tuple(groups.labels[group].with_label(label, texts[number]) for group, number in each)
    return Frame(labels, frame.grid, counts, counts > 0)


def _blocks(frame: Frame, session: Session) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Yield the rows, the steps and the bits of the values that are present, some rows at a time."""
    size = max(1, _CELLS // frame.grid.steps)
    for start in range(0, frame.series_count, size):
        session.check()
        rows, at = np.nonzero(frame.present[start : start + size])
        rows += start
        values = frame.values[rows, at]
        # All NaN are one value, the two zeros are two.
        values[np.isnan(values)] = np.nan
        yield rows, at, values.view(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Numbered:
    """The values again, each as the number of its group and value, with its step; `distinct` are the values' bits."""

    frame: Frame
    group: Ints
    distinct: Ints
    named: bool
    session: Session

    def __iter__(self) -> Iterator[tuple[Ints, Ints]]:
        for rows, at, bits in _blocks(self.frame, self.session):
            value = np.searchsorted(self.distinct, bits) if self.named else 0
            yield self.group[rows] * len(self.distinct) + value, at


def _distinct(blocks: Iterable[Ints], steps: int, session: Session) -> Ints:
    """Return what numbers there are, in order, as long as there is room for a series of each."""
    found = np.empty(0, dtype=np.int64)
    for numbers in blocks:
        found = np.sort(np.concatenate([found, numbers]))
        found = found[np.append(True, found[1:] != found[:-1])[: len(found)]]
        session.require_room(len(found) * steps)
    return found


def _is_label_name(name: str) -> bool:
    """Tell whether this is a label name since Prometheus 3: any text of Unicode characters that is not empty."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False

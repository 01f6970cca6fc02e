"""count_values: how many series of a group have each value.

Rule: values are told apart by their text, as Prometheus writes it into the label; that label stands for whatever the
series had under its name. The room for one series per group and value is required before it is taken.
Source: Prometheus documentation, "Operators / Aggregation operators".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from federation_core.errors import QueryExecutionError
from federation_core.labels import NAME, quote
from federation_core.signals.metrics.expr import Grouping
from federation_core.signals.metrics.frame import Frame
from federation_core.signals.metrics.groups import Groups
from federation_core.signals.metrics.prometheus_json import format_scalar
from federation_core.signals.metrics.series import drop_labels
from federation_core.signals.metrics.session import Session


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
    rows, at = np.nonzero(frame.present)
    # All NaN are one value, the two zeros are two.
    bits = np.where(np.isnan(frame.values[rows, at]), np.nan, frame.values[rows, at]).view(np.int64)
    distinct, value = np.unique(bits, return_inverse=True)
    named = not (grouping.without and (label == NAME or label in grouping.labels))
    if not named:
        # Grouping takes the label away again: the values only count.
        distinct, value = distinct[:1], np.zeros_like(value)
    pairs, series = np.unique(groups.of_rows[rows] * len(distinct) + value, return_inverse=True)
    session.require_room(len(pairs) * steps)
    counts = np.bincount(series * steps + at, minlength=len(pairs) * steps).reshape(len(pairs), steps)
    texts = [format_scalar(number) if named else "" for number in distinct.view(np.float64).tolist()]
    each = zip((pairs // len(texts)).tolist(), (pairs % len(texts)).tolist(), strict=True)
    labels = tuple(groups.labels[group].with_label(label, texts[number]) for group, number in each)
    return Frame(labels, frame.grid, counts.astype(np.float64), counts > 0)


def _is_label_name(name: str) -> bool:
    """Tell whether this is a label name since Prometheus 3: any text of Unicode characters that is not empty."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False

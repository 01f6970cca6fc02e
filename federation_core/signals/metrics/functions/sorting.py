"""sort, sort_desc, sort_by_label, sort_by_label_desc: the order of an instant answer.

Rule: only an instant has an order, a range is always answered in order of the label sets. NaN comes last both ways;
what is equal is in order of the label sets, so that the order does not depend on where series come from. Labels are
compared as people read them: numbers within the text as numbers.
Source: Prometheus documentation, "Functions / sort, sort_by_label".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from federation_core.labels import Labels
from federation_core.signals.metrics.frame import Frame
from federation_core.signals.metrics.functions.contract import (
    Apply,
    Argument,
    Context,
    Function,
    frame_argument,
    string_argument,
)

_CHUNKS = re.compile("[0-9]+|[^0-9]+")
#: A run of digits or of other characters: its place among the kinds, the number's length, its text.
_Chunk: TypeAlias = tuple[int, int, str]
_BEFORE_DIGITS, _DIGITS, _AFTER_DIGITS = range(3)


def _has_order(context: Context) -> bool:
    if context.grid.steps > 1:
        context.warn("sort is ineffective for range queries since results are always ordered by labels")
    return context.grid.is_instant


def _by_value(*, descending: bool) -> Apply:
    def apply(arguments: Sequence[Argument], context: Context) -> Frame:
        frame = frame_argument(arguments[0])
        if not _has_order(context):
            return frame
        frame = frame.pruned().sorted_by_labels()
        values = frame.values[:, 0]
        return frame.take(np.argsort(-values if descending else values, kind="stable"))

    return apply


def _by_label(*, descending: bool) -> Apply:
    def apply(arguments: Sequence[Argument], context: Context) -> Frame:
        frame, names = frame_argument(arguments[0]), [string_argument(name) for name in arguments[1:]]
        if not _has_order(context):
            return frame

        def key(row: int) -> tuple[list[tuple[tuple[_Chunk, ...], str]], Labels]:
            labels = frame.labels[row]
            return [natural_key(labels.get(name)) for name in names], labels

        return frame.take(sorted(range(frame.series_count), key=key, reverse=descending))

    return apply


def natural_key(text: str) -> tuple[tuple[_Chunk, ...], str]:
    """Return what orders texts with numbers by the numbers: "a2" before "a10", and "a02" beside "a2".

    >>> sorted(["a10", "a2", "b1", "a02"], key=natural_key)
    ['a02', 'a2', 'a10', 'b1']
    """
    return tuple(map(_chunk, _CHUNKS.findall(text))), text


def _chunk(text: str) -> _Chunk:
    if text[0] in "0123456789":
        # Compared by length and then as text, a number may have any number of digits.
        number = text.lstrip("0")
        return _DIGITS, len(number), number
    return (_BEFORE_DIGITS if text[0] < "0" else _AFTER_DIGITS), 0, text


FUNCTIONS = (
    Function("sort", _by_value(descending=False), keeps_name=True, per_series=False),
    Function("sort_desc", _by_value(descending=True), keeps_name=True, per_series=False),
    Function("sort_by_label", _by_label(descending=False), keeps_name=True, per_series=False),
    Function("sort_by_label_desc", _by_label(descending=True), keeps_name=True, per_series=False),
)

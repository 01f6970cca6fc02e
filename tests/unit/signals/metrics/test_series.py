"""Rules about label sets that every operator shares."""

from __future__ import annotations

import numpy as np
import pytest

from federation_core.errors import QueryExecutionError
from federation_core.labels import Labels
from federation_core.signals.metrics import series
from federation_core.signals.metrics.frame import Frame, Grid


class Counted(Labels):
    """A label set that counts how often one is compared with another."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return super().__eq__(other)

    __hash__ = Labels.__hash__


def test_series_that_become_one_are_found_without_comparing_all_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 400
    rows = [Labels.of({"__name__": "x", "i": str(i)}) for i in range(count)]
    rows.append(Labels.of({"__name__": "y", "i": str(count - 1)}))
    frame = Frame(tuple(rows), Grid(0, 0, 1), np.ones((len(rows), 1)), np.ones((len(rows), 1), dtype=np.bool_))
    dropped = [Counted(labels) for labels in series.drop_labels(rows, series.NAME_LABELS)]
    monkeypatch.setattr(series, "drop_labels", lambda labels, names: dropped)
    with pytest.raises(QueryExecutionError, match=rf'same labelset: {{i="{count - 1}"}}$'):
        series.drop_name(frame, strictly=True)
    assert Counted.compared < count


def test_a_message_shows_the_beginning_of_a_long_label() -> None:
    assert series.describe(Labels.of({"a": "x" * 1000})) == '{a="' + "x" * 1000 + '"}'
    assert series.describe(Labels.of({"a": "x" * 10**6, "b": "1"})) == '{a="' + "x" * 1000 + '…", b="1"}'

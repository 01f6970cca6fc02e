"""The writer's table of series: a small number for every label set, given once and kept.

Rule: a number is never reused. A series is staged when it is first seen and written with the next append; one
whose samples retention has dropped is forgotten and gets a new number when it comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from federation_core.connectors.stores import segments_duckdb
from federation_core.connectors.stores.segments_layout import COLUMNS, Columns, Manifest


def labels_json(labels: Mapping[str, str]) -> str:
    """Print a label set canonically: sorted by name, without empty values.

    >>> labels_json({"b": "2", "a": "1", "c": ""})
    '{"a":"1","b":"2"}'
    """
    return orjson.dumps({k: v for k, v in labels.items() if v}, option=orjson.OPT_SORT_KEYS).decode()


class SeriesTable:
    """Label set → series number, for one store's writer."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._ids: dict[tuple[str, str], int] = {}
        self._staged: list[tuple[int, str, str, str, str]] = []
        self.next_id = manifest.next_series_id
        #: Grows whenever numbers were forgotten; whoever keeps numbers must ask again when it has changed.
        self.generation = 0
        segments = manifest.of("series")
        if segments:
            query = f"SELECT series_id, name, labels FROM {segments_duckdb.parquet(path, segments)}"
            rows = segments_duckdb.cursor().execute(query).fetchall()
            self._ids = {(name, labels): series_id for series_id, name, labels in rows}

    def __len__(self) -> int:
        return len(self._ids)

    def id_of(self, name: str, labels: Mapping[str, str], kind: str, unit: str = "") -> int:
        """Return the number of a series, giving it one if it is new.

        `kind` is the metric's type: counter, gauge, histogram or summary.
        """
        text = labels_json(labels)
        found = self._ids.get((name, text))
        if found is None:
            found = self._ids[name, text] = self.next_id
            self.next_id += 1
            self._staged.append((found, name, text, kind, unit))
        return found

    def staged_columns(self) -> Columns:
        """Return the series not yet written, as columns; empty when there are none."""
        if not self._staged:
            return {}
        ids, *texts = zip(*self._staged, strict=True)
        columns: dict[str, np.ndarray[Any, np.dtype[Any]]] = {"series_id": np.array(ids, dtype=np.uint32)}
        names = list(COLUMNS["series"])[1:]
        return columns | {name: np.array(text, dtype=object) for name, text in zip(names, texts, strict=True)}

    def mark_written(self) -> None:
        """Note that the staged series are in the store."""
        self._staged.clear()

    def keep_only(self, live: set[int]) -> None:
        """Forget every written series that is not in `live`."""
        live = live | {staged[0] for staged in self._staged}
        kept = {key: number for key, number in self._ids.items() if number in live}
        if len(kept) != len(self._ids):
            self._ids = kept
            self.generation += 1

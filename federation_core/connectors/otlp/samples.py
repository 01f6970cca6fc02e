"""Samples on their way into a store: which series a data point belongs to, and columns of what was seen.

Rule: a NaN keeps its bits. A stale marker, 0x7ff0000000000002, is a NaN that says "the series ended here".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson

from federation_core.connectors.otlp.naming import point_labels
from federation_core.connectors.otlp.resources import Resource
from federation_core.connectors.otlp.values import as_text, read_attributes
from federation_core.connectors.stores.segments_layout import Columns
from federation_core.connectors.stores.segments_series import SeriesTable

STALE: Final = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
#: Most label sets whose series number is remembered; beyond it the memory starts anew.
MAX_REMEMBERED: Final = 200_000


class Samples:
    """The samples of one flush, by column, and the memory of which series they belong to."""

    def __init__(self, series: SeriesTable) -> None:
        self._series = series
        self._generation = series.generation
        self._known: dict[tuple[Resource, str], dict[tuple[bytes, str], int]] = {}
        self._remembered = 0
        self._ids: list[int] = []
        self._times_ms: list[int] = []
        self._values: list[float] = []

    def __len__(self) -> int:
        return len(self._ids)

    def of_metric(self, resource: Resource, name: str) -> dict[tuple[bytes, str], int]:
        """Return the memory of one sender's metric: (attributes, `le` or `quantile`) → series number."""
        if self._generation != self._series.generation or self._remembered > MAX_REMEMBERED:
            self._known.clear()
            self._generation, self._remembered = self._series.generation, 0
        return self._known.setdefault((resource, name), {})

    def number_of(
        self, resource: Resource, name: str, kind: str, unit: str, attributes: Any, extra: Mapping[str, str]
    ) -> int:
        """Return the number of a series that was not remembered.

        A point's attribute that bears the name of an identifying label is kept as `exported_<name>`, as
        Prometheus does on a conflict: who sent it decides where it belongs.
        """
        labels = point_labels((key, as_text(value)) for key, value in read_attributes(attributes or ()).items())
        own = {"job": resource.job, **resource.owner._asdict(), **extra}
        for label, value in own.items():
            if value:
                if labels.get(label, value) != value:
                    labels["exported_" + label] = labels[label]
                labels[label] = value
        self._remembered += 1
        return self._series.id_of(name, labels, kind, unit)

    def add(self, series_id: int, t_ms: int, value: float) -> None:
        """Note one sample."""
        self._ids.append(series_id)
        self._times_ms.append(t_ms)
        self._values.append(value)

    def columns(self) -> Columns:
        """Return what was noted as columns of the samples table."""
        return sample_columns(
            np.array(self._ids, dtype=np.uint32),
            np.array(self._times_ms, dtype=np.int64),
            np.array(self._values, dtype=np.float64),
        )

    def clear(self) -> None:
        """Forget the samples; the memory of series stays."""
        self._ids.clear()
        self._times_ms.clear()
        self._values.clear()


def sample_columns(ids: Any, times_ms: Any, values: Any) -> dict[str, Any]:
    """Return columns of the samples table, the bits of NaN in a column of their own."""
    bits = np.ma.MaskedArray(values.view(np.int64), mask=~np.isnan(values))
    return {"series_id": ids, "t_ms": times_ms, "value": values, "nan_bits": bits}


def attributes_key(attributes: Any) -> bytes:
    """Return what a point's attributes are remembered by."""
    return orjson.dumps(attributes) if attributes else b""

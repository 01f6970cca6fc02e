"""Rows of spans and logs as columns of the store's tables.

Rule: names and order of columns are the table's; text stays text, numbers become numpy arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from federation_core.connectors.otlp.logs import LogRow
from federation_core.connectors.otlp.resources import Owner, Resource
from federation_core.connectors.otlp.spans import SpanRow
from federation_core.connectors.stores.segments_layout import COLUMNS, Columns, Table


def span_columns(rows: list[SpanRow]) -> Columns:
    """Return N spans as columns of the spans table."""
    by_field = dict(zip(SpanRow._fields, zip(*rows, strict=True), strict=True))
    resources: tuple[Resource, ...] = by_field.pop("resource")
    texts = {"resource": [resource.text for resource in resources]}
    return _table("spans", by_field | _owners(resources) | texts)


def log_columns(rows: list[LogRow], first_ordinal: int) -> Columns:
    """Return N log records as columns of the logs table, numbered from `first_ordinal` on."""
    by_field = dict(zip(LogRow._fields, zip(*rows, strict=True), strict=True))
    ordinals = range(first_ordinal, first_ordinal + len(rows))
    return _table("logs", by_field | _owners(by_field.pop("resource")) | {"ordinal": ordinals})


def join(parts: list[Columns]) -> Columns:
    """Return several batches of one table as one; a masked column stays masked."""
    return {
        name: np.ma.concatenate(columns) if np.ma.isMaskedArray(columns[0]) else np.concatenate(columns)  # type: ignore[no-untyped-call]
        for name in parts[0]
        for columns in [[part[name] for part in parts]]
    }


def _owners(resources: tuple[Resource, ...]) -> dict[str, Any]:
    return dict(zip(Owner._fields, zip(*(resource.owner for resource in resources), strict=True), strict=True))


def _table(table: Table, values: dict[str, Any]) -> Columns:
    types = {"VARCHAR": object, "BIGINT": np.int64}
    return {name: np.array(values[name], dtype=types[kind]) for name, kind in COLUMNS[table].items()}

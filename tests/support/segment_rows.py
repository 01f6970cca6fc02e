"""Small batches of rows for tests of the embedded store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from federation_core.connectors.otlp.samples import sample_columns
from federation_core.connectors.stores.segments import SegmentStore
from federation_core.connectors.stores.segments_layout import Columns

MINUTE_MS = 60_000


def log_batch(*entries: tuple[int, str]) -> Columns:
    """Return (time in ms, line) entries as columns of the logs table."""
    count = len(entries)
    texts: dict[str, Any] = {
        name: np.full(count, "", dtype=object) for name in ("namespace", "pod", "trace_id", "span_id", "scope")
    }
    return {
        "t_ns": np.array([t_ms * 1_000_000 for t_ms, _ in entries], dtype=np.int64),
        "ordinal": np.arange(count, dtype=np.int64),
        "service": np.full(count, "web", dtype=object),
        "level": np.full(count, "info", dtype=object),
        "line": np.array([line for _, line in entries], dtype=object),
        "attributes": np.full(count, "{}", dtype=object),
        "labels": np.full(count, '{"service":"web"}', dtype=object),
        **texts,
    }


def sample_batch(store: SegmentStore, name: str, samples: Sequence[tuple[int, float]], **labels: str) -> Columns:
    """Return (time in ms, value) samples of one series as columns, registering the series."""
    number = store.series.id_of(name, labels, "gauge")
    return sample_columns(
        np.full(len(samples), number, dtype=np.uint32),
        np.array([t_ms for t_ms, _ in samples], dtype=np.int64),
        np.array([value for _, value in samples], dtype=np.float64),
    )

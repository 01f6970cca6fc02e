"""A store to ingest into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from federation_core.connectors.otlp import Ingest
from federation_core.connectors.stores.segments import SegmentStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The folder of the store."""
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> Iterator[SegmentStore]:
    """An empty store, open for writing."""
    with SegmentStore(path) as opened:
        yield opened


@pytest.fixture
def ingest(store: SegmentStore) -> Ingest:
    """The way into the store, steps closing without lag."""
    return Ingest(store, lag_ms=0)

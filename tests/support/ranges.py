"""Small range queries over samples in memory, and their answers as plain numbers."""

from __future__ import annotations

from collections.abc import Sequence

from federation_core.query import TimeRange
from tests.support.sample_store import Series, as_dict, evaluate_one


def over(text: str, store: Sequence[Series], end_ms: int, step_ms: int) -> dict[str, dict[int, float]]:
    """Return what a range query from 0 answers: labels in short → time in ms → value."""
    rows = as_dict(evaluate_one(text, store, TimeRange(0, end_ms, step_ms)))
    return {",".join(f"{k}={v}" for k, v in labels): points for labels, points in rows.items()}

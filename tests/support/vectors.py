"""Instant vectors in short: series with one sample at time 0, and answers as `label=value,…` → value."""

from __future__ import annotations

from collections.abc import Sequence

from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame
from tests.support.sample_store import Series, as_dict, evaluate_one, series

NAN, INF = float("nan"), float("inf")


def vector(*rows: tuple[str, float]) -> list[Series]:
    """Build series with one sample each."""
    return [series(text, [(0, value)]) for text, value in rows]


def at(text: str, store: Sequence[Series]) -> dict[str, float]:
    """Return what an instant query at 0 answers."""
    frame = evaluate_one(text, store, TimeRange(0, 0))
    assert isinstance(frame, Frame)
    rows = zip(frame.labels, frame.values[:, 0].tolist(), frame.present[:, 0].tolist(), strict=True)
    return {",".join(f"{k}={v}" for k, v in labels): value for labels, value, there in rows if there}


def over(text: str, store: Sequence[Series], end_ms: int, step_ms: int) -> dict[str, dict[int, float]]:
    """Return what a range query from 0 answers: time in ms → value of every series."""
    rows = as_dict(evaluate_one(text, store, TimeRange(0, end_ms, step_ms)))
    return {",".join(f"{k}={v}" for k, v in labels): points for labels, points in rows.items()}

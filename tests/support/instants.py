"""Small instant queries over samples in memory, and their answers as plain numbers."""

from __future__ import annotations

from collections.abc import Sequence

from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame
from tests.support.sample_store import Series, answer_one, evaluate_one, every, series


def at(text: str, store: Sequence[Series], time_s: float) -> dict[str, float]:
    """Return what an instant query answers: labels in short → value."""
    frame = evaluate_one(text, store, TimeRange(0, round(time_s * 1000)))
    assert isinstance(frame, Frame)
    rows = zip(frame.labels, frame.values[:, 0].tolist(), frame.present[:, 0].tolist(), strict=True)
    return {",".join(f"{k}={v}" for k, v in labels): value for labels, value, there in rows if there}


def value_at(text: str, store: Sequence[Series], time_s: float) -> float:
    """Return the only value of an instant answer."""
    (value,) = at(text, store, time_s).values()
    return value


def said_at(text: str, store: Sequence[Series], time_s: float) -> tuple[str, ...]:
    """Return the annotations of an instant answer."""
    return answer_one(text, store, TimeRange(0, round(time_s * 1000)))[1]


def counter(*values: float | None, step_s: int = 10) -> list[Series]:
    """Return one series `x` with a value every few seconds from 0; None is a gap."""
    return [series("x", every(step_s * 1000, values))]

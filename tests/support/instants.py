"""Small instant queries over samples in memory, and their answers as plain numbers."""

from __future__ import annotations

from collections.abc import Sequence

from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame
from tests.support.sample_store import Series, answer_one, every, series


def _instant(time_s: float) -> TimeRange:
    time_ms = round(time_s * 1000)
    return TimeRange(time_ms, time_ms)


def vector(*rows: tuple[str, float]) -> list[Series]:
    """Return series with one sample each, at time 0, out of (`name{a="1"}`, value)."""
    return [series(text, [(0, value)]) for text, value in rows]


def listed(text: str, store: Sequence[Series] = (), time_s: float = 0) -> list[tuple[str, float]]:
    """Return what an instant query answers, in its order: (labels in short, value)."""
    frame, _ = answer_one(text, store, _instant(time_s))
    assert isinstance(frame, Frame)
    rows = zip(frame.labels, frame.values[:, 0].tolist(), frame.present[:, 0].tolist(), strict=True)
    return [(",".join(f"{k}={v}" for k, v in labels), value) for labels, value, there in rows if there]


def at(text: str, store: Sequence[Series] = (), time_s: float = 0) -> dict[str, float]:
    """Return what an instant query answers: labels in short → value."""
    return dict(listed(text, store, time_s))


def value_at(text: str, store: Sequence[Series] = (), time_s: float = 0) -> float:
    """Return the only value of an instant answer."""
    (value,) = at(text, store, time_s).values()
    return value


def said_at(text: str, store: Sequence[Series] = (), time_s: float = 0) -> tuple[str, ...]:
    """Return the annotations of an instant answer."""
    return answer_one(text, store, _instant(time_s))[1]


def counter(*values: float | None, step_s: int = 10) -> list[Series]:
    """Return one series `x` with a value every few seconds from 0; None is a gap."""
    return [series("x", every(step_s * 1000, values))]

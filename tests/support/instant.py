"""Asks our engine a single moment of a few series, in a few words."""

from __future__ import annotations

from collections.abc import Sequence

from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame
from tests.support.sample_store import Series, answer_one, series


def vector(*rows: tuple[str, float]) -> list[Series]:
    """Return series with one sample each, at time 0: (`name{a="1"}`, value)."""
    return [series(text, [(0, value)]) for text, value in rows]


def listed(text: str, store: Sequence[Series] = (), time_s: float = 0) -> list[tuple[str, float]]:
    """Return what an instant query answers, in its order: (labels in short, value)."""
    frame, _ = answer_one(text, store, TimeRange(round(time_s * 1000), round(time_s * 1000)))
    assert isinstance(frame, Frame)
    rows = zip(frame.labels, frame.values[:, 0].tolist(), frame.present[:, 0].tolist(), strict=True)
    return [(",".join(f"{k}={v}" for k, v in labels), value) for labels, value, there in rows if there]


def at(text: str, store: Sequence[Series] = (), time_s: float = 0) -> dict[str, float]:
    """Return what an instant query answers: labels in short → value."""
    return dict(listed(text, store, time_s))


def value_at(text: str, store: Sequence[Series] = (), time_s: float = 0) -> float:
    """Return the only value that an instant query answers."""
    (value,) = at(text, store, time_s).values()
    return value


def said(text: str, store: Sequence[Series] = (), time_range: TimeRange | None = None) -> tuple[str, ...]:
    """Return the annotations of an answer."""
    return answer_one(text, store, time_range or TimeRange(0, 0))[1]

"""Exemplars: single measurements with labels of their own, most often the id of the trace they were taken in.

Rule: series are distinct and in the order of their labels, and so are the exemplars of each, the oldest first. Two that
agree in time, labels and value are one. A value is the text of a number, as Go prints it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgpack

from federation_core.errors import WireVersionMismatch
from federation_core.labels import Labels

_WIRE = "exemplars/1"


class Exemplar(NamedTuple):
    """One measurement: when it was taken in ms, what is said with it, and its value."""

    t_ms: int
    labels: Labels
    value: str


class Exemplified(NamedTuple):
    """A series and its exemplars."""

    labels: Labels
    exemplars: tuple[Exemplar, ...]


@dataclass(frozen=True, slots=True)
class Exemplars:
    """What was found; no series in it is without exemplars."""

    series: tuple[Exemplified, ...] = ()


def unite(found: Iterable[Exemplified]) -> Exemplars:
    """Put equal series together, in order and without copies."""
    united: dict[Labels, set[Exemplar]] = {}
    for labels, exemplars in found:
        if exemplars:
            united.setdefault(labels, set()).update(exemplars)
    return Exemplars(tuple(Exemplified(labels, tuple(sorted(united[labels]))) for labels in sorted(united)))


def size(payload: Exemplars) -> tuple[int, int]:
    """Return the numbers of series and of exemplars."""
    return len(payload.series), sum(len(row.exemplars) for row in payload.series)


def encode(payload: Exemplars) -> bytes:
    """Write a payload as bytes."""
    # Series of one metric share most of their texts: each is written once, and then by number.
    texts: dict[str, int] = {}

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    def numbers(labels: Labels) -> list[int]:
        return [number(text) for pair in labels for text in pair]

    series = [
        [numbers(row.labels), [[one.t_ms, numbers(one.labels), number(one.value)] for one in row.exemplars]]
        for row in payload.series
    ]
    packed: bytes = msgpack.packb(
        {"kind": _WIRE, "series": series, "texts": [*texts]}, use_bin_type=True, unicode_errors="replace"
    )
    return packed


def decode(data: bytes) -> Exemplars:
    """Read what `encode` wrote.

    Raises WireVersionMismatch: the bytes are not this release's exemplars.
    """
    try:
        wire: Any = msgpack.unpackb(data, raw=False)
        if wire["kind"] != _WIRE:
            raise WireVersionMismatch(f"exemplars of kind {wire['kind']!r}, this release reads {_WIRE}")
        texts: list[str] = wire["texts"]

        def labels(numbers: list[int]) -> Labels:
            named = [texts[i] for i in numbers]
            return Labels(zip(named[::2], named[1::2], strict=True))

        return Exemplars(
            tuple(
                Exemplified(labels(row), tuple(Exemplar(t_ms, labels(own), texts[value]) for t_ms, own, value in rows))
                for row, rows in wire["series"]
            )
        )
    except (ValueError, KeyError, IndexError, TypeError, msgpack.exceptions.UnpackException) as exc:
        raise WireVersionMismatch(f"exemplars cannot be read: {exc!r}") from exc


def to_json(payload: Exemplars) -> dict[str, Any]:
    """Return the native JSON answer; its rows are those of Prometheus' API, times in seconds."""
    rows = [
        {
            "seriesLabels": row.labels.as_dict(),
            "exemplars": [
                {"labels": one.labels.as_dict(), "value": one.value, "timestamp": _seconds(one.t_ms)}
                for one in row.exemplars
            ],
        }
        for row in payload.series
    ]
    return {"resultType": "exemplars", "result": rows}


def _seconds(time_ms: int) -> int | float:
    return time_ms // 1000 if time_ms % 1000 == 0 else time_ms / 1000

"""What a question about series is answered with, and how it travels.

Rule: an answer is a set. Its rows are distinct and in order, so that the first of them are the same whichever cluster
sent which; a row is a label set, a name, a value, or a fact about a metric, as the question asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import msgpack

from federation_core.errors import WireVersionMismatch
from federation_core.labels import Labels
from federation_core.signals.series.expr import Question

_WIRE = "found/1"


class Fact(NamedTuple):
    """What is known of a metric: its type (counter, gauge, …; unknown), its help text and its unit; both may be ""."""

    metric: str
    type: str
    help: str = ""
    unit: str = ""


Row: TypeAlias = Labels | str | Fact
#: Question → what its rows are.
ROW_TYPES: dict[Question, type[Labels] | type[str] | type[Fact]] = {
    Question.SERIES: Labels,
    Question.LABELS: str,
    Question.VALUES: str,
    Question.METADATA: Fact,
}


@dataclass(frozen=True, slots=True)
class Found:
    """The rows that were found, distinct and in order. `more` says that there are more than were asked for."""

    question: Question
    rows: tuple[Row, ...] = ()
    more: bool = False


def first_rows(question: Question, rows: Iterable[Row], limit: int = 0, *, more: bool = False) -> Found:
    """Return the first `limit` distinct rows in order; 0 means all. `more` says that some are missing already."""
    # Rows of one question are of one type, which the type checker cannot know.
    ordered: list[Any] = sorted(set(rows))
    cut = bool(limit) and len(ordered) > limit
    return Found(question, tuple(ordered[:limit] if cut else ordered), more or cut)


def size(payload: Found) -> tuple[int, int]:
    """Return the numbers of series and of rows."""
    return (len(payload.rows) if payload.question is Question.SERIES else 0), len(payload.rows)


def encode(payload: Found) -> bytes:
    """Write a payload as bytes."""
    # Label sets share most of their texts: each is written once, and then by number.
    texts: dict[str, int] = {}

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    rows: list[Any] = []
    for row in payload.rows:
        match row:
            case str():
                rows.append(number(row))
            case Fact():
                rows.append([number(text) for text in row])
            case _:
                rows.append([number(text) for pair in row for text in pair])
    wire = {"kind": _WIRE, "question": payload.question.value, "more": payload.more, "rows": rows, "texts": [*texts]}
    packed: bytes = msgpack.packb(wire, use_bin_type=True, unicode_errors="replace")
    return packed


def decode(data: bytes) -> Found:
    """Read what `encode` wrote.

    Raises WireVersionMismatch: the bytes are not this release's answer to such a question.
    """
    try:
        wire: Any = msgpack.unpackb(data, raw=False)
        if wire["kind"] != _WIRE:
            raise WireVersionMismatch(f"found series of kind {wire['kind']!r}, this release reads {_WIRE}")
        question, texts = Question(wire["question"]), wire["texts"]
        rows: tuple[Row, ...]
        match question:
            case Question.SERIES:
                rows = tuple(_labels([texts[i] for i in row]) for row in wire["rows"])
            case Question.METADATA:
                rows = tuple(Fact(*(texts[i] for i in row)) for row in wire["rows"])
            case _:
                rows = tuple(texts[i] for i in wire["rows"])
        return Found(question, rows, wire["more"])
    except (ValueError, KeyError, IndexError, TypeError, msgpack.exceptions.UnpackException) as exc:
        raise WireVersionMismatch(f"found series cannot be read: {exc!r}") from exc


def _labels(texts: list[str]) -> Labels:
    return Labels(zip(texts[::2], texts[1::2], strict=True))


def to_json(payload: Found) -> dict[str, Any]:
    """Return the native JSON answer."""
    shown: list[Any] = []
    for row in payload.rows:
        match row:
            case Fact():
                shown.append(row._asdict())
            case Labels():
                shown.append(row.as_dict())
            case _:
                shown.append(row)
    return {"resultType": payload.question.value, "result": shown}

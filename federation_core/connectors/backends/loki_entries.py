"""Log lines as Loki answers them, read into entries.

Rule: an entry is the same whichever way it was asked for. Loki's only order between lines of one stream and nanosecond
is that of its answer, which is reversed for `backward`; an ordinal counts in the order of `forward`, among the lines
that share stream, nanosecond and metadata, because between different metadata Loki keeps no order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from federation_core.labels import Labels
from federation_core.query import Direction
from federation_core.signals.logs.payload import Entry

_APART = "categorize-labels"
#: The digits of the largest instant in nanoseconds.
_DIGITS = 19


@dataclass(frozen=True, slots=True)
class Page:
    """The lines of one answer.

    `apart` says whether metadata stand apart from the streams' labels; if not, they are among `labels`.
    """

    entries: tuple[Entry, ...]
    apart: bool
    warnings: tuple[str, ...] = ()
    size_bytes: int = 0


def read_page(data: Any, direction: Direction, warnings: tuple[str, ...] = (), size_bytes: int = 0) -> Page:
    """Read the `data` of an answer to a query for lines.

    Raises ValueError: it is something else.
    """
    if not isinstance(data, dict) or data.get("resultType") != "streams":
        raise ValueError("it has no streams")
    flags, streams = data.get("encodingFlags") or [], data.get("result")
    if not isinstance(streams, list) or not isinstance(flags, list):
        raise ValueError("its streams are no list")
    entries: list[Entry] = []
    for stream in streams:
        entries += _entries(stream, direction)
    return Page(tuple(entries), _APART in flags, warnings, size_bytes)


def _entries(stream: Any, direction: Direction) -> list[Entry]:
    if not isinstance(stream, dict) or not isinstance(stream.get("values"), list):
        raise ValueError("a stream has no values")
    labels = _labels(stream.get("stream"))
    values = stream["values"]
    seen: dict[tuple[int, Labels], int] = {}
    entries = []
    for value in reversed(values) if direction == "backward" else values:
        t_ns, line, metadata = _value(value)
        ordinal = seen.get((t_ns, metadata), 0)
        seen[t_ns, metadata] = ordinal + 1
        entries.append(Entry(t_ns, line, labels, metadata, ordinal))
    return entries


def _value(value: Any) -> tuple[int, str, Labels]:
    if not isinstance(value, list) or len(value) not in (2, 3):
        raise ValueError("a value is no time and line")
    time, line = value[:2]
    if not isinstance(time, str) or not (time.isascii() and time.isdecimal()) or len(time) > _DIGITS:
        raise ValueError("a time is no nanoseconds")
    if not isinstance(line, str):
        raise ValueError("a line is no text")
    return int(time), line, _metadata(value[2]) if len(value) == 3 else Labels()


def _metadata(apart: Any) -> Labels:
    if not isinstance(apart, dict):
        raise ValueError("the third part of a value is no metadata")
    found = apart.get("structuredMetadata")
    return _labels(found) if found is not None else Labels()


def _labels(pairs: Any) -> Labels:
    if not isinstance(pairs, dict) or not all(isinstance(text, str) for text in pairs.values()):
        raise ValueError("labels are no texts by name")
    return Labels.of(pairs)


def told_apart(entries: Iterable[Entry], stream_names: Iterable[str]) -> list[Entry]:
    """Return entries of answers that mix a line's metadata into `labels`, with what names no stream's label apart."""
    names, known = frozenset(stream_names), dict[Labels, tuple[Labels, Labels]]()
    apart = []
    for entry in entries:
        labels, metadata = known.get(entry.labels) or known.setdefault(entry.labels, _split(entry.labels, names))
        apart.append(replace(entry, labels=labels, metadata=metadata))
    return apart


def _split(labels: Labels, names: frozenset[str]) -> tuple[Labels, Labels]:
    return labels.only(names), labels.without(names)

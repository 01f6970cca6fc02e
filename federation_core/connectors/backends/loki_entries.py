"""Log lines as Loki answers them, read into entries.

Rule: an entry is the same whichever way it was asked for. Loki's only order between lines of one stream and nanosecond
is that of its answer, which is reversed for `backward`; an ordinal counts in the order of `forward`, among the lines
that share stream, nanosecond and metadata, because between different metadata Loki keeps no order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from federation_core.labels import Labels
from federation_core.query import Direction
from federation_core.signals.logs.payload import Entries, Ints, ints, texts

_APART: Final = "categorize-labels"
#: The digits of the largest instant in nanoseconds.
_DIGITS: Final = 19


@dataclass(frozen=True, slots=True)
class Page:
    """The lines of one answer.

    `apart` says whether metadata stand apart from the streams' labels; if not, they are among `labels`.
    """

    entries: Entries
    apart: bool
    warnings: tuple[str, ...] = ()
    size_bytes: int = 0


@dataclass(slots=True)
class _LabelSets:
    """The label sets of an answer, each once, by their place."""

    places: dict[Labels, int] = field(default_factory=dict)
    #: By the pairs as they are written, which mostly are those of many lines.
    _read: dict[tuple[tuple[str, str], ...], int] = field(default_factory=dict)

    def place(self, pairs: Any) -> int:
        """Return the place of a label set.

        Raises ValueError: it is none. TypeError: a value cannot even be looked up.
        """
        if type(pairs) is not dict:
            raise ValueError("labels are no texts by name")
        written = tuple(pairs.items())
        place = self._read.get(written)
        if place is None:
            if not all(type(text) is str for text in pairs.values()):
                raise ValueError("labels are no texts by name")
            place = self._read[written] = self.places.setdefault(Labels.of(written), len(self.places))
        return place


def read_page(data: Any, direction: Direction, warnings: tuple[str, ...] = (), size_bytes: int = 0) -> Page:
    """Read the `data` of an answer to a query for lines.

    Raises ValueError: it is something else.
    """
    if not isinstance(data, dict) or data.get("resultType") != "streams":
        raise ValueError("it has no streams")
    flags, streams = data.get("encodingFlags") or [], data.get("result")
    if not isinstance(streams, list) or not isinstance(flags, list):
        raise ValueError("its streams are no list")
    try:
        entries = _entries(streams, direction)
    except (TypeError, OverflowError):
        # What is looked at as a whole is no list of what it should be.
        raise ValueError("a time, a line or a label is no text") from None
    return Page(entries, _APART in flags, warnings, size_bytes)


def _entries(streams: list[Any], direction: Direction) -> Entries:
    values: list[Any] = []
    sets, of_streams, lengths = _LabelSets(), [], []
    for stream in streams:
        if type(stream) is not dict or type(found := stream.get("values")) is not list:
            raise ValueError("a stream has no values")
        values += found[::-1] if direction == "backward" else found
        of_streams.append(sets.place(stream.get("stream")))
        lengths.append(len(found))
    if not values:
        return Entries()
    times, lines, apart = _columns(values)
    t_ns, stream_of = _instants(times), np.repeat(np.arange(len(lengths)), lengths)
    if set(map(type, lines)) != {str}:
        raise ValueError("a line is no text")
    metadata = _metadata(apart, sets, len(values))
    return Entries(
        t_ns,
        texts(lines),
        ints(of_streams)[stream_of],
        metadata,
        _ordinals(t_ns, stream_of, metadata),
        np.zeros(len(values), dtype=np.int64),
        tuple(sets.places),
        ("",),
    )


def _columns(values: list[Any]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
    """Return times, lines and what stands apart; nothing of the last where no line has it."""
    if set(map(type, values)) != {list}:
        raise ValueError("a value is no time and line")
    lengths = set(map(len, values))
    if lengths == {2}:
        times, lines = zip(*values, strict=True)
        return times, lines, ()
    if lengths == {2, 3}:
        values = [value if len(value) == 3 else [*value, {}] for value in values]
    elif lengths != {3}:
        raise ValueError("a value is no time and line")
    times, lines, apart = zip(*values, strict=True)
    return times, lines, apart


def _instants(times: Sequence[Any]) -> Ints:
    # Joined they are looked at once: Python reads numbers with signs, blanks and other scripts' digits.
    digits = "".join(times)
    if not (digits.isascii() and digits.isdecimal()) or max(map(len, times)) > _DIGITS:
        raise ValueError("a time is no nanoseconds")
    return ints(map(int, times))


def _metadata(apart: Sequence[Any], sets: _LabelSets, size: int) -> Ints:
    none, place = sets.place({}), sets.place
    if not apart:
        return np.full(size, none, dtype=np.int64)
    if set(map(type, apart)) != {dict}:
        raise ValueError("the third part of a value is no metadata")
    found = [part.get("structuredMetadata") for part in apart]
    return ints([none if pairs is None else place(pairs) for pairs in found])


def _ordinals(t_ns: Ints, stream_of: Ints, metadata: Ints) -> Ints:
    ordinals = np.zeros(len(t_ns), dtype=np.int64)
    order = np.argsort(t_ns, kind="stable")
    same = np.diff(t_ns[order]) == 0
    if same.any():
        shared = np.zeros(len(t_ns), dtype=np.bool_)
        shared[order[1:][same]] = shared[order[:-1][same]] = True
        ordinals[shared] = _counted(zip(*(one[shared].tolist() for one in (stream_of, t_ns, metadata)), strict=True))
    return ordinals


def _counted(keys: Iterable[tuple[int, ...]]) -> list[int]:
    """Return of each key how often it came before."""
    seen: Counter[tuple[int, ...]] = Counter()
    counted = []
    for key in keys:
        counted.append(seen[key])
        seen[key] += 1
    return counted


def told_apart(entries: Entries, stream_names: Iterable[str]) -> Entries:
    """Return entries of answers that mix a line's metadata into `labels`, with what names no stream's label apart."""
    names = frozenset(stream_names)
    used, places = np.unique(entries.labels, return_inverse=True)
    mixed = [entries.sets[index] for index in used.tolist()]
    sets = [labels.only(names) for labels in mixed] + [labels.without(names) for labels in mixed]
    return entries.relabelled(places, places + len(mixed), sets)

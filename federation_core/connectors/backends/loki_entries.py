"""Log lines as Loki answers them, read into entries.

Rule: an entry is the same whichever way it was asked for. Loki's only order between lines of one stream and nanosecond
is that of its answer, which is reversed for `backward`; an ordinal counts in the order of `forward`, among the lines
that share stream, nanosecond and metadata, because between different metadata Loki keeps no order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, count, repeat
from operator import itemgetter
from typing import Any, Final

import numpy as np

from federation_core.labels import Labels
from federation_core.query import Direction
from federation_core.signals.logs.payload import Entries, Ints, ints, texts

_APART: Final = "categorize-labels"
#: The digits of the largest instant in nanoseconds.
_DIGITS: Final = 19
_LENGTHS: Final = frozenset(range(1, _DIGITS + 1))
_POWERS: Final = 10 ** np.arange(_DIGITS - 1, -1, -1, dtype=np.int64)
_NO_LABELS: Final[dict[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Page:
    """The lines of one answer.

    `apart` says whether metadata stand apart from the streams' labels; if not, they are among `labels`.
    """

    entries: Entries
    apart: bool
    warnings: tuple[str, ...] = ()
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _LabelSets:
    """The label sets of an answer, each once, by their place."""

    places: dict[Labels, int] = field(default_factory=dict)

    def of(self, sets: Sequence[Any]) -> Ints:
        """Return the place of each label set.

        Raises ValueError, TypeError: one is none.
        """
        if len(set(map(dict.__len__, sets))) == 1:
            with suppress(KeyError):
                return self._alike(sorted(sets[0]), sets)
        found, alike = np.empty(len(sets), dtype=np.int64), defaultdict[tuple[str, ...], list[int]](list)
        for row, one in enumerate(sets):
            alike[tuple(one)].append(row)
        for names, rows in alike.items():
            found[rows] = self._alike(sorted(names), [sets[row] for row in rows])
        return found

    def _alike(self, names: list[str], sets: Sequence[Any]) -> Ints:
        """Return the place of each of label sets of as many names. Raises KeyError: some have others."""
        read: Any = itemgetter(*names) if len(names) > 1 else lambda one: tuple(one[name] for name in names)
        # Many lines have the same, which is looked at where it comes first.
        distinct: defaultdict[tuple[Any, ...], int] = defaultdict(count().__next__)
        found = ints(map(distinct.__getitem__, map(read, sets)))
        if not set(map(type, chain.from_iterable(distinct))) <= {str}:
            raise ValueError("labels are no texts by name")
        pairs, made = map(partial(zip, names), distinct), Labels if all(map(all, distinct)) else Labels.of
        return ints([self.places.setdefault(labels, len(self.places)) for labels in map(made, pairs)])[found]


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
        # A whole column was asked for what only lists, only texts or only label sets have.
        raise ValueError("a part of it has another type than in log lines") from None
    return Page(entries, _APART in flags, warnings, size_bytes)


def _entries(streams: list[Any], direction: Direction) -> Entries:
    lines_of: list[Any] = [stream.get("values") if type(stream) is dict else None for stream in streams]
    if not set(map(type, lines_of)) <= {list}:
        raise ValueError("a stream has no values")
    if direction == "backward":
        lines_of = [values[::-1] for values in lines_of]
    sets, stream_of = _LabelSets(), np.repeat(np.arange(len(streams)), ints(map(len, lines_of)))
    labels = sets.of([stream.get("stream") for stream in streams])
    times, lines, apart = _columns(list(chain.from_iterable(lines_of)))
    t_ns, metadata = _instants(times), _metadata(apart, len(lines), sets)
    return Entries(
        t_ns,
        texts(lines),
        labels[stream_of],
        metadata,
        _ordinals(t_ns, stream_of, metadata),
        np.zeros(len(lines), dtype=np.int64),
        tuple(sets.places),
        ("",),
    )


def _columns(values: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Return times, lines and what stands apart; nothing of the last where no line has it."""
    lengths = set(map(list.__len__, values))
    if not lengths <= {2, 3}:
        raise ValueError("a value is no time and line")
    if len(lengths) == 2:
        values, lengths = [value if len(value) == 3 else [*value, {}] for value in values], {3}
    width, flat = max(lengths, default=2), list(chain.from_iterable(values))
    lines = flat[1::width]
    if not set(map(type, lines)) <= {str}:
        raise ValueError("a line is no text")
    return flat[::width], lines, flat[2::3] if width == 3 else []


def _instants(times: list[Any]) -> Ints:
    lengths = set(map(len, times))
    # Python itself reads numbers with signs, blanks and other scripts' digits: those are not ASCII, or below "0" here.
    digits = np.frombuffer("".join(times).encode("ascii"), dtype=np.uint8) - np.uint8(ord("0"))
    if not lengths <= _LENGTHS or (digits > 9).any():
        raise ValueError("a time is no nanoseconds")
    if lengths != {_DIGITS}:
        return ints(map(int, times))
    # Where 64 bits do not hold it, the product of digits and powers of ten wraps to below 0.
    t_ns: Ints = digits.reshape(-1, _DIGITS) @ _POWERS
    if (t_ns < 0).any():
        raise ValueError("a time is no nanoseconds")
    return t_ns


def _metadata(apart: list[Any], size: int, sets: _LabelSets) -> Ints:
    if not apart:
        return np.repeat(sets.of([{}]), size)
    found = list(map(dict.get, apart, repeat("structuredMetadata"), repeat(_NO_LABELS)))
    return sets.of([_NO_LABELS if pairs is None else pairs for pairs in found] if None in found else found)


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

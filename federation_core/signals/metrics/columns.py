"""Columns of a payload as msgpack values: label sets, numbers, times; small before and after compression.

Rule: what is read is equal to what was written, numbers bit for bit. A text occurs once per label name, a number that
occurs often once. What repeats in another way (neighbours, runs) is left to the compressor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from federation_core.labels import Labels
from federation_core.signals.metrics.frame import Floats, Ints

Codes: TypeAlias = npt.NDArray[np.uint32]

#: Fewer numbers than this are sent as they are.
_FEW = 32
#: At most so many numbers are looked at to guess whether many are alike.
_SAMPLE = 1024
#: Bytes of a float64 that hold its sign, its exponent and the first bits of its fraction: alike in numbers of one size.
_HEAD = 2


def encode_labels(labels: Sequence[Labels]) -> dict[str, Any]:
    """Write label sets: those with the same names together, per name the texts and which series has which."""
    shapes: dict[tuple[str, ...], list[Labels]] = {}
    of_series = []
    numbers: dict[tuple[str, ...], int] = {}
    for series in labels:
        names = tuple(name for name, _ in series)
        of_series.append(numbers.setdefault(names, len(numbers)))
        shapes.setdefault(names, []).append(series)
    return {
        "names": [list(names) for names in shapes],
        "shape": _packed(of_series, len(shapes)),
        "columns": [
            _encode_texts([series[place][1] for series in alike])
            for names, alike in shapes.items()
            for place in range(len(names))
        ],
    }


def decode_labels(wire: Mapping[str, Any], count: int) -> tuple[Labels, ...]:
    """Read `count` label sets.

    Raises ValueError, KeyError, TypeError, IndexError: the columns do not fit each other.
    """
    shapes = _texts_of(wire["names"])
    of_series = _unpacked(wire["shape"], len(shapes), count)
    columns = iter(wire["columns"])
    alike = []
    for number, names in enumerate(shapes):
        rows = int(np.count_nonzero(of_series == number))
        values = [_decode_texts(next(columns, None), rows) for _ in names]
        # The pairs were written from sorted label sets, so the constructor's own sorting is not repeated.
        alike.append(
            iter([Labels(zip(names, row, strict=True)) for row in zip(*values, strict=True)] or rows * [Labels()])
        )
    if next(columns, None) is not None:
        raise ValueError("there are more columns of labels than names")
    return tuple(next(alike[number]) for number in of_series.tolist())


def _texts_of(wire: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    shapes = [tuple(names) for names in wire]
    if not all(isinstance(name, str) for names in shapes for name in names):
        raise ValueError("a label name is no text")
    return shapes


def _encode_texts(texts: Sequence[str]) -> list[Any]:
    numbers: dict[str, int] = {}
    codes = [numbers.setdefault(text, len(numbers)) for text in texts]
    # Where all differ their numbers say nothing.
    return [list(numbers), None if len(numbers) == len(codes) else _packed(codes, len(numbers))]


def _decode_texts(wire: Any, count: int) -> list[str]:
    texts, packed = wire
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a label value is no text")
    if packed is None:
        if len(texts) != count:
            raise ValueError("the values of a label do not fit the series")
        return list(texts)
    return [texts[code] for code in _unpacked(packed, len(texts), count).tolist()]


def encode_numbers(values: Floats) -> dict[str, bytes]:
    """Write float64 numbers: the distinct ones and which is where, if few are distinct; else all as they are.

    Rates of small counts are a handful of numbers many times over, far from each other, where no compressor sees it.
    """
    plain = np.ascontiguousarray(values, dtype="<f8").view("<u8")
    sample = plain[:: len(plain) // _SAMPLE + 1]
    # Sorting numbers to find that no two are alike takes longer than sending them.
    if len(plain) < _FEW or len(set(sample.tolist())) > 0.9 * len(sample):
        return {"all": plain.tobytes()}
    distinct, codes = np.unique(plain, return_inverse=True)
    if len(distinct) * plain.itemsize + len(codes) * _width(len(distinct)) > 0.75 * plain.nbytes:
        return {"all": plain.tobytes()}
    parts = distinct.view(np.uint8).reshape(-1, plain.itemsize)
    return {
        "heads": parts[:, -_HEAD:].T.tobytes(),
        "tails": parts[:, :-_HEAD].tobytes(),
        "which": _packed(codes, len(distinct)),
    }


def decode_numbers(wire: Mapping[str, bytes], count: int) -> Floats:
    """Read `count` numbers.

    Raises ValueError, KeyError, TypeError: there are not so many, or the columns do not fit each other.
    """
    if "all" in wire:
        return _of_length(np.frombuffer(wire["all"], dtype="<f8"), count)
    heads = np.frombuffer(wire["heads"], dtype=np.uint8).reshape(_HEAD, -1).T
    tails = np.frombuffer(wire["tails"], dtype=np.uint8).reshape(len(heads), -1)
    distinct = np.hstack([tails, heads]).view("<f8").reshape(len(heads))
    return distinct[_unpacked(wire["which"], len(heads), count)]


def encode_times(times: Ints) -> bytes:
    """Write int64 times as the differences of neighbours, which are all alike where scrapes are regular."""
    return np.diff(times.astype("<i8", copy=False), prepend=np.int64(0)).tobytes()


def decode_times(wire: bytes) -> Ints:
    """Read times.

    Raises ValueError, TypeError: these are no whole numbers of 64 bits.
    """
    return np.cumsum(np.frombuffer(wire, dtype="<i8"), dtype=np.int64)


def _width(choices: int) -> int:
    """Return the bytes of a number below `choices`."""
    return 1 if choices <= 1 << 8 else 2 if choices <= 1 << 16 else 4


def _packed(codes: Iterable[int] | npt.NDArray[np.intp], choices: int) -> bytes:
    """Write numbers below `choices` in as few bytes each as they need, first all their low bytes, then all the next."""
    numbers = np.asarray(codes, dtype=f"<u{_width(choices)}")
    return numbers.view(np.uint8).reshape(len(numbers), _width(choices)).T.tobytes()


def _unpacked(packed: bytes, choices: int, count: int) -> Codes:
    width = _width(choices)
    planes = _of_length(np.frombuffer(packed, dtype=np.uint8), count * width).reshape(width, count)
    codes = np.ascontiguousarray(planes.T).view(f"<u{width}").reshape(count).astype(np.uint32)
    if count and int(codes.max()) >= choices:
        raise ValueError("a number names what is not there")
    return codes


def _of_length(found: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    if len(found) != count:
        raise ValueError(f"{len(found)} numbers came where {count} belong")
    return found

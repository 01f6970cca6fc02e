"""Log entries as bytes, between a cluster and the centre.

Rule: columns are written, not rows. A label set is written once however many entries share it, and none that no entry
has; a set is the number of its names, which many sets share, and its values.
"""

from __future__ import annotations

from typing import Any, Final

import msgpack
import numpy as np

from federation_core.errors import WireVersionMismatch
from federation_core.labels import Labels
from federation_core.signals.logs.payload import Entries, Ints, ints, texts

_WIRE: Final = "entries/2"
_TYPES: Final = ("u1", "<u2", "<u4", "<i8")


def encode(payload: Entries) -> bytes:
    """Write a payload as bytes.

    A lone surrogate, which no UTF-8 text can hold, becomes `?`.
    """
    used, places = np.unique(np.concatenate([payload.labels, payload.metadata]), return_inverse=True)
    sets = [payload.sets[index] for index in used.tolist()]
    names: dict[tuple[str, ...], int] = {}
    named = [names.setdefault(tuple(name for name, _ in labels), len(names)) for labels in sets]
    wire = {
        "kind": _WIRE,
        "more": payload.more,
        "cursor": payload.cursor,
        "clusters": payload.clusters,
        "names": list(names),
        "sets": _packed(ints(named)),
        "values": [value for labels in sets for _, value in labels],
        "t_ns": _packed(payload.t_ns),
        "labels": _packed(places[: len(payload)]),
        "metadata": _packed(places[len(payload) :]),
        "ordinal": _packed(payload.ordinal),
        "cluster": _packed(payload.cluster),
        "line": payload.line.tolist(),
    }
    packed: bytes = msgpack.packb(wire, use_bin_type=True, unicode_errors="replace")
    return packed


def decode(data: bytes) -> Entries:
    """Read what `encode` wrote.

    Raises WireVersionMismatch: the bytes are not this release's log entries.
    """
    try:
        wire: Any = msgpack.unpackb(data, raw=False)
        if wire["kind"] != _WIRE:
            raise WireVersionMismatch(f"log entries of kind {wire['kind']!r}, this release reads {_WIRE}")
        sets, clusters, line = _sets(wire), tuple(wire["clusters"]), texts(wire["line"])
        t_ns, ordinal = _unpacked(wire["t_ns"]), _unpacked(wire["ordinal"])
        labels, metadata = _within(wire["labels"], len(sets)), _within(wire["metadata"], len(sets))
        cluster = _within(wire["cluster"], len(clusters))
        if len({len(column) for column in (t_ns, line, labels, metadata, ordinal, cluster)}) != 1:
            raise ValueError("columns of different lengths")
        return Entries(t_ns, line, labels, metadata, ordinal, cluster, sets, clusters, wire["more"], wire["cursor"])
    except (ValueError, LookupError, TypeError, msgpack.exceptions.UnpackException) as exc:
        raise WireVersionMismatch(f"log entries cannot be read: {exc!r}") from exc


def _sets(wire: Any) -> tuple[Labels, ...]:
    names = [tuple(one) for one in wire["names"]]
    values = iter(wire["values"])
    of_sets = [names[one] for one in _unpacked(wire["sets"]).tolist()]
    if sum(map(len, of_sets)) != len(wire["values"]):
        raise ValueError("not as many values as names")
    # In `zip` the names come first: where they end no value is taken.
    return tuple(Labels(zip(of_one, values, strict=False)) for of_one in of_sets)


def _packed(column: Ints) -> tuple[str, bytes]:
    """Write whole numbers, none below 0 except where the widest type takes it, with as few bytes as all of them fit."""
    least, most = (int(column.min()), int(column.max())) if len(column) else (0, 0)
    bits = most.bit_length() if least >= 0 else 64
    name = next(name for name, room in zip(_TYPES, (8, 16, 32, 64), strict=True) if bits <= room)
    return name, column.astype(name).tobytes()


def _unpacked(packed: Any) -> Ints:
    name, data = packed
    if name not in _TYPES:
        raise ValueError(f"a column of type {name!r}")
    return np.frombuffer(data, dtype=name).astype(np.int64)


def _within(packed: Any, size: int) -> Ints:
    column = _unpacked(packed)
    if len(column) and not (column.min() >= 0 and column.max() < size):
        raise IndexError("a row names what is not in its table")
    return column

"""Payloads as bytes: columns in msgpack, label sets dictionary-coded.

Rule: `decode(encode(x))` equals x bit for bit at every present place, stale markers and NaN payloads included.
The bytes are small before compression: a text occurs once, an absent value not at all.
Layout: little-endian int64, float64 and uint32 columns; presence as one bit per place, left out when all are present.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import msgpack
import numpy as np

from federation_core.errors import Malformed
from federation_core.labels import Labels
from federation_core.signals.metrics.frame import Frame, Grid, Payload, SampleColumns, StringValue


def encode(payload: Payload) -> bytes:
    """Write a payload."""
    wire: dict[str, Any]
    match payload:
        case Frame():
            wire = _frame_columns(payload)
        case SampleColumns():
            wire = _sample_columns(payload)
        case StringValue(at_ms=at_ms, text=text):
            wire = {"form": "string", "at_ms": at_ms, "text": text}
    packed: bytes = msgpack.packb(wire, use_bin_type=True)
    return packed


def decode(data: bytes) -> Payload:
    """Read what `encode` wrote.

    Raises Malformed: the bytes are not a payload of this signal.
    """
    try:
        wire = msgpack.unpackb(data, raw=False)
        if wire["form"] == "string":
            return StringValue(int(wire["at_ms"]), str(wire["text"]))
        return _read_frame(wire) if wire["form"] == "frame" else _read_samples(wire)
    except (ValueError, KeyError, TypeError, IndexError, msgpack.exceptions.UnpackException) as exc:
        raise Malformed(f"a metrics payload cannot be read: {exc}") from exc


def _frame_columns(frame: Frame) -> dict[str, Any]:
    whole = bool(frame.present.all())
    return {
        "form": "frame",
        "kind": frame.kind,
        "grid": [frame.grid.start_ms, frame.grid.step_ms, frame.grid.steps],
        "labels": _encode_labels(frame.labels),
        "present": None if whole else np.packbits(frame.present).tobytes(),
        "values": (frame.values if whole else frame.values[frame.present]).astype("<f8", copy=False).tobytes(),
    }


def _read_frame(wire: Mapping[str, Any]) -> Frame:
    grid = Grid(*wire["grid"])
    labels = _decode_labels(wire["labels"])
    shape = (len(labels), grid.steps)
    stored = np.frombuffer(wire["values"], dtype="<f8")
    if wire["present"] is None:
        return Frame(labels, grid, stored.reshape(shape), np.ones(shape, dtype=np.bool_), wire["kind"])
    packed = np.frombuffer(wire["present"], dtype=np.uint8)
    # Unpacking pads with zeros up to any number that is named: what is named must be what was sent.
    if len(packed) != -(-shape[0] * shape[1] // 8):
        raise ValueError("the presence mask does not fit the frame")
    present = np.unpackbits(packed, count=shape[0] * shape[1]).astype(np.bool_).reshape(shape)
    # One value would be spread over all places: as many as are present must have come.
    if len(stored) != np.count_nonzero(present):
        raise ValueError("the values do not fit the presence mask")
    values = np.full(shape, np.nan)
    values[present] = stored
    return Frame(labels, grid, values, present, wire["kind"])


def _sample_columns(columns: SampleColumns) -> dict[str, Any]:
    return {
        "form": "samples",
        "labels": _encode_labels(columns.labels),
        "offsets": columns.offsets.astype("<i8", copy=False).tobytes(),
        "t_ms": columns.t_ms.astype("<i8", copy=False).tobytes(),
        "values": columns.values.astype("<f8", copy=False).tobytes(),
    }


def _read_samples(wire: Mapping[str, Any]) -> SampleColumns:
    return SampleColumns(
        _decode_labels(wire["labels"]),
        np.frombuffer(wire["offsets"], dtype="<i8"),
        np.frombuffer(wire["t_ms"], dtype="<i8"),
        np.frombuffer(wire["values"], dtype="<f8"),
    )


def _encode_labels(labels: tuple[Labels, ...]) -> dict[str, Any]:
    codes: dict[str, int] = {}
    flat = [codes.setdefault(text, len(codes)) for series in labels for pair in series for text in pair]
    return {
        "texts": list(codes),
        "pairs": np.array([len(series) for series in labels], dtype="<u4").tobytes(),
        "codes": np.array(flat, dtype="<u4").tobytes(),
    }


def _decode_labels(wire: Mapping[str, Any]) -> tuple[Labels, ...]:
    texts, codes = wire["texts"], np.frombuffer(wire["codes"], dtype="<u4")
    lengths = np.frombuffer(wire["pairs"], dtype="<u4").tolist()
    if 2 * sum(lengths) != len(codes) or not all(isinstance(text, str) for text in texts):
        raise ValueError("the label sets do not fit their texts")
    flat = [texts[code] for code in codes.tolist()]
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    # The pairs were written from sorted label sets, so the constructor's own sorting is not repeated.
    return tuple(Labels(pairs[end - length : end]) for length, end in zip(lengths, accumulate(lengths), strict=True))

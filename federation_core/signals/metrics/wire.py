"""Payloads as bytes: columns in msgpack.

Rule: `decode(encode(x))` equals x bit for bit at every present place, stale markers and NaN payloads included.
The bytes are small before compression: an absent value is not sent at all, for the rest see `columns`.
Layout: presence as one bit per place, left out when all are present.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np

from federation_core.errors import Malformed
from federation_core.signals.metrics.columns import (
    decode_labels,
    decode_numbers,
    decode_times,
    encode_labels,
    encode_numbers,
    encode_times,
)
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
        "series": len(frame.labels),
        "labels": encode_labels(frame.labels),
        "present": None if whole else np.packbits(frame.present).tobytes(),
        "values": encode_numbers(frame.values.ravel() if whole else frame.values[frame.present]),
    }


def _read_frame(wire: Mapping[str, Any]) -> Frame:
    grid = Grid(*wire["grid"])
    shape = (int(wire["series"]), grid.steps)
    labels = decode_labels(wire["labels"], shape[0])
    if wire["present"] is None:
        values = decode_numbers(wire["values"], shape[0] * shape[1])
        return Frame(labels, grid, values.reshape(shape), np.ones(shape, dtype=np.bool_), wire["kind"])
    packed = np.frombuffer(wire["present"], dtype=np.uint8)
    # Unpacking pads with zeros up to any number that is named: what is named must be what was sent.
    if len(packed) != -(-shape[0] * shape[1] // 8):
        raise ValueError("the presence mask does not fit the frame")
    present = np.unpackbits(packed, count=shape[0] * shape[1]).astype(np.bool_).reshape(shape)
    values = np.full(shape, np.nan)
    values[present] = decode_numbers(wire["values"], int(np.count_nonzero(present)))
    return Frame(labels, grid, values, present, wire["kind"])


def _sample_columns(columns: SampleColumns) -> dict[str, Any]:
    return {
        "form": "samples",
        "labels": encode_labels(columns.labels),
        "offsets": encode_times(columns.offsets),
        "t_ms": encode_times(columns.t_ms),
        "values": encode_numbers(columns.values),
    }


def _read_samples(wire: Mapping[str, Any]) -> SampleColumns:
    offsets, t_ms = decode_times(wire["offsets"]), decode_times(wire["t_ms"])
    labels = decode_labels(wire["labels"], len(offsets) - 1)
    return SampleColumns(labels, offsets, t_ms, decode_numbers(wire["values"], len(t_ms)))

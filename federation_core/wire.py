"""The bytes that partials and results travel as, and the version that guards them.

Rule: a message says which release wrote it, and one that this release could misread is refused. The payloads
inside are written and read by their signal; nothing here looks into them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgpack

from federation_core.errors import WireVersionMismatch, from_wire
from federation_core.fields import fields_of
from federation_core.outcome import ClusterVerdict, Coverage, Partial, Result, Stats

#: Raised whenever a release could misread another's messages.
WIRE_VERSION = 1


def require_version(got: Any, what: str) -> None:
    """Raise WireVersionMismatch unless `got` is this release's wire version."""
    if got != WIRE_VERSION:
        raise WireVersionMismatch(f"{what} has wire version {got!r}, this release reads {WIRE_VERSION}")


Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]


def encode_partial(partial: Partial, encode: Encode) -> bytes:
    """Write a partial as bytes; `encode` writes one payload of its signal."""
    payloads = partial.payloads
    return _pack(
        {
            "v": WIRE_VERSION,
            "query_id": partial.query_id,
            "cluster_id": partial.cluster_id,
            "payloads": None if payloads is None else {leaf: encode(p) for leaf, p in payloads.items()},
            "error": partial.error.to_wire() if partial.error else None,
            "warnings": partial.warnings,
            "truncated": partial.truncated,
            "hidden": partial.hidden,
            "stats": fields_of(partial.stats),
            "elapsed_ms": partial.elapsed_ms,
            "watermark_ms": partial.watermark_ms,
        }
    )


def decode_partial(data: bytes, decode: Decode) -> Partial:
    """Read what `encode_partial` wrote.

    Raises WireVersionMismatch: it was written by another release, or is not a partial at all.
    """
    wire = _unpack(data, "partial")
    payloads, error = wire["payloads"], wire["error"]
    return Partial(
        query_id=wire["query_id"],
        cluster_id=wire["cluster_id"],
        payloads=None if payloads is None else {leaf: decode(p) for leaf, p in payloads.items()},
        error=from_wire(error) if error else None,
        warnings=tuple(wire["warnings"]),
        truncated=wire["truncated"],
        hidden=wire["hidden"],
        stats=Stats(**wire["stats"]),
        elapsed_ms=wire["elapsed_ms"],
        watermark_ms=wire["watermark_ms"],
    )


def encode_result(result: Result, encode: Encode) -> bytes:
    """Write a result as bytes; `encode` writes the payload of its signal."""
    return _pack(
        {
            "v": WIRE_VERSION,
            "query_id": result.query_id,
            "status": result.status,
            "coverage": [row.to_wire() for row in result.coverage.clusters],
            "payload": None if result.payload is None else encode(result.payload),
            "error": result.error.to_wire() if result.error else None,
            "warnings": result.warnings,
            "merge_ms": result.merge_ms,
        }
    )


def decode_result(data: bytes, decode: Decode) -> Result:
    """Read what `encode_result` wrote.

    Raises WireVersionMismatch: it was written by another release, or is not a result at all.
    """
    wire = _unpack(data, "result")
    return Result(
        query_id=wire["query_id"],
        status=wire["status"],
        coverage=Coverage(tuple(ClusterVerdict.from_wire(row) for row in wire["coverage"])),
        payload=None if wire["payload"] is None else decode(wire["payload"]),
        error=from_wire(wire["error"]) if wire["error"] else None,
        warnings=tuple(wire["warnings"]),
        merge_ms=wire["merge_ms"],
    )


def _pack(wire: Mapping[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(wire, use_bin_type=True)
    return packed


def _unpack(data: bytes, what: str) -> dict[str, Any]:
    try:
        wire = msgpack.unpackb(data, raw=False)
    except (ValueError, msgpack.exceptions.UnpackException) as exc:
        raise WireVersionMismatch(f"{what} cannot be read: {exc}") from exc
    if not isinstance(wire, dict):
        raise WireVersionMismatch(f"{what} cannot be read: not a map")
    require_version(wire.get("v"), what)
    return wire

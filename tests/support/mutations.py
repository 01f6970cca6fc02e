"""Recorded answers made wrong: another value somewhere in the JSON, or other bytes.

Rule: of one seed the same mutations come in the same order.
"""

from __future__ import annotations

import base64
import copy
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import orjson

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "backends"
#: Larger ones say nothing more of a decoder, and take longer.
_MOST_BYTES = 5_000
#: What stands for what no JSON library of ours would write.
_RAW = {
    b'"@big@"': b"1" + b"0" * 400,
    b'"@long@"': b'"' + b"9" * 5_000 + b'"',
    b'"@surrogate@"': b'"\\ud800"',
    b'"@nan@"': b"NaN",
    b'"@deep@"': b"[" * 900 + b"]" * 900,
    b'"@small@"': b"-1e-400",
    b'"@nul@"': b'"a\\u0000b"',
}
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, -0.0, 1e308, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)),
    *("", "x", "NaN", "+Inf", "-Inf", "1e400", "-1", "0x10", "1_000", "١٢", "é" * 40, "a" * 3_000, "1790006400.125"),
    *(
        "ab" * 16,
        "AAAAAAAAAAA=",
        "2026-11-24T00:00:00Z",
        '{app="web"}',
        "success",
        "matrix",
        "vector",
        "scalar",
        "streams",
    ),
    *([], {}, [[]], [{}], {"a": {}}, [None], [[0, "1"]], [["1", "x"]], {"": ""}, {"__name__": "x"}, {"cluster": "y"}),
    *(text.decode().strip('"') for text in _RAW),
)
_BYTES = (b"\x00", b"\xff", b"\xc3", b'"', b"{", b"]", b",", b"\\", b"\\u", b"\n", b"1e999", b"null", b"\xed\xa0\x80")


@dataclass(frozen=True)
class Recording:
    """An answer as it was recorded, to a path in which ids are left out."""

    path: str
    status: int
    body: bytes


def shape(path: str) -> str:
    """Return a path without what differs between two requests for the same."""
    path = re.sub(r"[0-9a-f]{16,}", "*", path.removeprefix("/select/jaeger"))
    return re.sub(r"/(label|tag)/[^/]+/", r"/\1/*/", path)


@cache
def recordings(trace_id: str) -> tuple[Recording, ...]:
    """Return the small recorded answers of all backends; traces have the id that will be asked for."""
    found = []
    for file in sorted(FOLDER.glob("*/*.json")):
        recorded = json.loads(file.read_text(encoding="utf-8"))
        encoded = recorded["response"].get("body_base64")
        body = base64.b64decode(encoded) if encoded else recorded["response"].get("body", "").encode()
        path = recorded["request"]["path"]
        if (own := re.search(r"/traces/([0-9a-f]{8,32})$", path)) is not None:
            whole = own[1].rjust(32, "0")
            for old in {own[1], whole}:
                body = body.replace(old.encode(), trace_id.encode())
            packed = [base64.b64encode(bytes.fromhex(one)) for one in (whole, trace_id)]
            body = body.replace(packed[0], packed[1])
        if len(body) <= _MOST_BYTES:
            found.append(Recording(shape(path), recorded["response"]["status"], body))
    return tuple(found)


def mutated(body: bytes, random: Random) -> bytes:
    """Return a body with one or a few things wrong about it."""
    if random.random() < 0.7:
        try:
            value = orjson.loads(body)
        except ValueError:
            value = None
        if isinstance(value, dict | list) and value:
            for _ in range(random.choice((1, 1, 1, 2, 3))):
                _change(value, random)
            body = orjson.dumps(value)
            for word, raw in _RAW.items():
                if word in body:
                    body = body.replace(word, raw)
            return body
    changed = bytearray(body)
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(changed) + 1)
        match random.randrange(5):
            case 0:
                del changed[at:]
            case 1:
                del changed[at : at + random.randrange(1, 20)]
            case 2:
                changed[at:at] = random.choice(_BYTES)
            case 3:
                changed[at : at + 1] = bytes([random.randrange(256)])
            case _:
                changed[at:at] = changed[at // 2 : at // 2 + random.randrange(1, 40)]
    return bytes(changed)


def _change(value: Any, random: Random) -> None:
    """Change something in a value, in one of the places that it has, near or deep."""
    holder = value
    while True:
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        if not keys:
            break
        key = random.choice(keys)
        inner = holder[key]
        if not isinstance(inner, dict | list) or not inner or random.random() < 0.15:
            break
        holder = inner
    if not holder:
        return
    match random.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(0, holder[-1])
        case 2 if isinstance(holder, dict):
            holder[random.choice(("", "error", "x", "é", "cluster"))] = holder[key]
        case 3:
            holder[key] = [holder[key]]
        case 4:
            holder[key] = str(holder[key])
        case _:
            # A copy: what is put in may be changed itself.
            holder[key] = copy.deepcopy(random.choice(_ODD))

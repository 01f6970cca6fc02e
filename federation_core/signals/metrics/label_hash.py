"""The hash of a label set that decides which series `limit_ratio` takes: XXH64 of Prometheus' own encoding.

Rule: it is the hash of the servers as they are released, so that the same series are taken here and there.
Source: the XXH64 specification (xxHash fast digest algorithm); the encoding is that of Prometheus' label sets, built
as strings: every name and value after its length, one byte, or 255 and three bytes from 255 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from federation_core.labels import Labels

Bytes: TypeAlias = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[np.uint64]

_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(prime)
    for prime in (
        0x9E3779B185EBCA87,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
    )
)


def hash_labels(series: Sequence[Labels]) -> Words:
    """Return the hash of every label set, uint64."""
    texts = [_encode(labels) for labels in series]
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    hashes = np.empty(len(texts), dtype=np.uint64)
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        table = np.frombuffer(b"".join(texts[row] for row in rows.tolist()), dtype=np.uint8)
        hashes[rows] = _xxh64(table.reshape(len(rows), length))
    return hashes


def _encode(labels: Labels) -> bytes:
    return b"".join(_sized(text.encode("utf-8", "surrogatepass")) for pair in labels for text in pair)


def _sized(text: bytes) -> bytes:
    size = len(text)
    return (bytes((size,)) if size < 255 else b"\xff" + size.to_bytes(3, "little")) + text


def _xxh64(texts: Bytes) -> Words:
    """Return the XXH64 of N texts of one length L, given as N × L bytes; the seed is 0."""
    count, length = texts.shape
    stripes, words = length - length % 32, length - length % 8
    with np.errstate(over="ignore"):
        total = _stripes_of(texts[:, :stripes]) if stripes else np.full(count, _P5, dtype=np.uint64)
        total = total + np.uint64(length)
        for at in range(stripes, words, 8):
            total = _rotate(total ^ _round(np.zeros_like(total), _read(texts, at, "<u8")), 27) * _P1 + _P4
        rest = words
        if length - words >= 4:
            total = _rotate(total ^ (_read(texts, words, "<u4") * _P1), 23) * _P2 + _P3
            rest += 4
        for at in range(rest, length):
            total = _rotate(total ^ (_read(texts, at, "u1") * _P5), 11) * _P1
        total = (total ^ (total >> np.uint64(33))) * _P2
        total = (total ^ (total >> np.uint64(29))) * _P3
    mixed: Words = total ^ (total >> np.uint64(32))
    return mixed


def _stripes_of(texts: Bytes) -> Words:
    """Return what the stripes of 32 bytes come to: four lanes, merged."""
    seeds = (_P1 + _P2, _P2, np.uint64(0), ~_P1 + np.uint64(1))
    lanes: list[Words] = [np.full(len(texts), seed, dtype=np.uint64) for seed in seeds]
    for at in range(0, texts.shape[1], 32):
        lanes = [_round(lane, _read(texts, at + 8 * place, "<u8")) for place, lane in enumerate(lanes)]
    total = np.zeros_like(lanes[0])
    for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True):
        total += _rotate(lane, bits)
    for lane in lanes:
        total = (total ^ _round(np.zeros_like(lane), lane)) * _P1 + _P4
    return total


def _read(texts: Bytes, at: int, kind: str) -> Words:
    """Return the integers that stand at one place of every text."""
    piece = np.ascontiguousarray(texts[:, at : at + np.dtype(kind).itemsize])
    return piece.view(kind)[:, 0].astype(np.uint64)


def _round(lane: Words, word: Words) -> Words:
    return _rotate(lane + word * _P2, 31) * _P1


def _rotate(words: Words, bits: int) -> Words:
    rotated: Words = (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))
    return rotated

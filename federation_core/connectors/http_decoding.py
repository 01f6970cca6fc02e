"""The content encodings of an answer: gzip and zstd, taken apart while it comes.

Rule: what is held at once is bounded whatever is sent, so that a small answer which unfolds to a huge one is met by the
cap on what is read; an encoding nobody asked for, one that is wrong and one that ends early are a `ValueError`.
Source: RFC 9110 §8.4, RFC 1952 (several members are one text), RFC 8878 and RFC 9659 (windows of 8 MB at most).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final, Protocol

import zstandard

#: What is asked for.
ACCEPTED: Final = "gzip, zstd"
#: The most that gzip gives at once.
_STEP_BYTES: Final = 256 * 1024
#: Of zstd so much is taken apart at once: a block of four bytes may stand for 128 KB, so this for 32 MB.
_ZSTD_STEP_BYTES: Final = 1024
_ZSTD_WINDOW_BYTES: Final = 8 * 1024 * 1024


class Decoder(Protocol):
    """Takes one answer apart."""

    def decode(self, raw: bytes) -> Iterator[bytes]:
        """Yield what the next bytes stand for.

        Raises ValueError: they are not what the encoding allows.
        """
        ...

    def finish(self) -> None:
        """Raise ValueError unless the answer may end here."""
        ...


class _Plain:
    def decode(self, raw: bytes) -> Iterator[bytes]:
        yield raw

    def finish(self) -> None:
        return None


class _Gzip:
    def __init__(self) -> None:
        self._member: zlib._Decompress | None = None

    def decode(self, raw: bytes) -> Iterator[bytes]:
        while raw:
            member = self._member = self._member or zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                text = member.decompress(raw, _STEP_BYTES)
            except zlib.error as exc:
                raise ValueError("it is no gzip") from exc
            raw = member.unconsumed_tail or member.unused_data
            if member.eof:
                self._member = None
            if text:
                yield text

    def finish(self) -> None:
        if self._member is not None:
            raise ValueError("its gzip ends early")


class _Zstd:
    def __init__(self) -> None:
        self._library = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._frame: zstandard.ZstdDecompressionObj | None = None

    def decode(self, raw: bytes) -> Iterator[bytes]:
        for at in range(0, len(raw), _ZSTD_STEP_BYTES):
            yield from self._decode(raw[at : at + _ZSTD_STEP_BYTES])

    def _decode(self, raw: bytes) -> Iterator[bytes]:
        while raw:
            frame = self._frame = self._frame or self._library.decompressobj()
            try:
                text = frame.decompress(raw)
            except zstandard.ZstdError as exc:
                raise ValueError("it is no zstd") from exc
            raw = frame.unused_data if frame.eof else b""
            if frame.eof:
                self._frame = None
            if text:
                yield text

    def finish(self) -> None:
        if self._frame is not None:
            raise ValueError("its zstd ends early")


def decoder_of(encoding: str) -> Decoder:
    """Return what takes an answer of this `Content-Encoding` apart.

    Raises ValueError: it is none that was asked for.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return _Plain()
        case "gzip" | "x-gzip":
            return _Gzip()
        case "zstd":
            return _Zstd()
    raise ValueError(f"nobody asked for an encoding other than {ACCEPTED}")

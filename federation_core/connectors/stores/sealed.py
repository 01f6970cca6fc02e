"""How bytes rest in Redis: compressed, in a small envelope that names how to open it.

Rule: what comes out of Redis is opened with a cap on its size, because a worker that is not trusted wrote it. The
first byte names the scheme, so that a release which also encrypts can still read what rests there.
"""

from __future__ import annotations

import threading

import zstandard

from federation_core.errors import Malformed, TooLarge

#: The most one part or one result may be when it is opened.
MAX_BYTES = 256 * 1024 * 1024
_ZSTD = b"\x01"
_LEVEL = 3


class _OfThread(threading.local):
    """What compresses and opens: not for two threads at once, and making it costs more than a small part does."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self.decompressor = zstandard.ZstdDecompressor()


_of_thread = _OfThread()


def seal(data: bytes, max_bytes: int = MAX_BYTES) -> bytes:
    """Return `data` as it is stored.

    Raises TooLarge: it is more than `max_bytes`.
    """
    if len(data) > max_bytes:
        raise TooLarge("too many bytes to store", limit="bytes", asked=len(data), allowed=max_bytes)
    return _ZSTD + _of_thread.compressor.compress(data)


def unseal(sealed: bytes, max_bytes: int = MAX_BYTES) -> bytes:
    """Return what `seal` was given.

    Raises Malformed: it was not made by `seal`, or is damaged. TooLarge: it would be more than `max_bytes`.
    """
    if sealed[:1] != _ZSTD:
        raise Malformed("stored bytes are not in a format this release reads")
    frame = sealed[1:]
    try:
        # The library's own cap is ignored where the frame states a size, so the stated size is checked first.
        size = zstandard.frame_content_size(frame)
        if size < 0:
            raise Malformed("stored bytes do not say how large they are")
        if size > max_bytes:
            raise TooLarge("stored bytes are too large to open", limit="bytes", asked=size, allowed=max_bytes)
        data: bytes = _of_thread.decompressor.decompress(frame, max_output_size=max_bytes)
    except zstandard.ZstdError as exc:
        raise Malformed(f"stored bytes are damaged: {exc}") from exc
    return data

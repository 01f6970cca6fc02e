"""How bytes rest in Redis: compressed, in a small envelope that names how to open it.

Rule: what comes out of Redis is opened with a cap on its size, because a worker that is not trusted wrote it. The
first byte names the scheme, so that a release which also encrypts can still read what rests there.

Most parts are small, and more than half of a small part are words that all parts have: those are written in reference
to a text that both sides know.
"""

from __future__ import annotations

import threading

import zstandard

from federation_core.errors import Malformed, TooLarge

#: The most one part or one result may be when it is opened.
MAX_BYTES = 256 * 1024 * 1024
#: Scheme 1 is zstd alone, which is read and no longer written; scheme 2 is zstd with `_WORDS`.
_ZSTD, _ZSTD_WITH_WORDS = b"\x01", b"\x02"
_LEVEL = 4
#: What parts have in common, as they have it, and what is most alike at the end. It belongs to the scheme and never
#: changes: better words are another scheme.
_WORDS = (
    b"\xa9namespace\xa9container\xa8instance\xa7service\xa4node\xa3pod\xa3job\xa2le\xa8__name__"
    b"\x8b\xa1v\x01\xa8query_id\xd9 \xaacluster_id\xa4prod\xa8payloads\x81\xa1a\xc4"
    b"\x87\xa4form\xa5frame\xa4kind\xa6vector\xa4grid\x93\xcf\x00\x00\x01\xa0\xcd\xea`"
    b"\xa6series\x01\xa6labels\x83\xa5names\x91\x91\xa5shape\xc4\x01\x00\xa7columns\x91\x92\x91\xc0"
    b"\xa7present\xc0\xa6values\x81\xa3all\xc4\x08\x00\x00\x00\x00\x00\x00"
    b"\xa5error\xc0\xa8warnings\x90\xa9truncated\xa0\xa6hidden\x00"
    b"\xa5stats\x83\xa6series\x01\xa4rows\x01\xa5bytes\x00\xaaelapsed_ms\x05\xacwatermark_ms\xc0"
)


class _OfThread(threading.local):
    """What compresses and opens: not for two threads at once, and making it costs more than a small part does."""

    def __init__(self) -> None:
        words = zstandard.ZstdCompressionDict(_WORDS, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        words.precompute_compress(level=_LEVEL)
        self.compressor = zstandard.ZstdCompressor(
            level=_LEVEL, dict_data=words, write_checksum=True, write_dict_id=False
        )
        decompressor = zstandard.ZstdDecompressor(dict_data=words)
        self.decompressors = {_ZSTD: zstandard.ZstdDecompressor(), _ZSTD_WITH_WORDS: decompressor}


_of_thread = _OfThread()


def seal(data: bytes, max_bytes: int = MAX_BYTES) -> bytes:
    """Return `data` as it is stored.

    Raises TooLarge: it is more than `max_bytes`.
    """
    if len(data) > max_bytes:
        raise TooLarge("too many bytes to store", limit="bytes", asked=len(data), allowed=max_bytes)
    return _ZSTD_WITH_WORDS + _of_thread.compressor.compress(data)


def unseal(sealed: bytes, max_bytes: int = MAX_BYTES) -> bytes:
    """Return what `seal` was given.

    Raises Malformed: it was not made by `seal`, or is damaged. TooLarge: it would be more than `max_bytes`.
    """
    decompressor = _of_thread.decompressors.get(sealed[:1])
    if decompressor is None:
        raise Malformed("stored bytes are not in a format this release reads")
    frame = sealed[1:]
    try:
        # The library's own cap is ignored where the frame states a size, so the stated size is checked first.
        size = zstandard.frame_content_size(frame)
        if size < 0:
            raise Malformed("stored bytes do not say how large they are")
        if size > max_bytes:
            raise TooLarge("stored bytes are too large to open", limit="bytes", asked=size, allowed=max_bytes)
        data: bytes = decompressor.decompress(frame, max_output_size=max_bytes)
    except zstandard.ZstdError as exc:
        raise Malformed(f"stored bytes are damaged: {exc}") from exc
    return data

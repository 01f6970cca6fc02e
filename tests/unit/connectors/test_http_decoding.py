"""What an answer's encoding unfolds to, whatever is cut, mixed or made to be huge."""

from __future__ import annotations

import gzip
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from federation_core.connectors.http_decoding import decoder_of

ENCODERS = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress, "": bytes}


def decoded(encoding: str, raw: bytes, piece: int = 1 << 20) -> bytes:
    decoder = decoder_of(encoding)
    text = b"".join(part for at in range(0, len(raw), piece) for part in decoder.decode(raw[at : at + piece]))
    decoder.finish()
    return text


@pytest.mark.parametrize("encoding", ENCODERS)
@given(texts=st.lists(st.binary(max_size=4000), max_size=3), piece=st.integers(1, 5000))
def test_what_was_encoded_comes_out_whatever_it_is_cut_into(encoding: str, texts: list[bytes], piece: int) -> None:
    raw = b"".join(ENCODERS[encoding](text) for text in texts)
    assert decoded(encoding, raw, piece) == b"".join(texts)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@given(text=st.binary(min_size=1, max_size=400), data=st.data())
def test_an_encoding_that_ends_early_is_no_answer(encoding: str, text: bytes, data: st.DataObject) -> None:
    raw = ENCODERS[encoding](text)
    with pytest.raises(ValueError, match="ends early"):
        decoded(encoding, raw[: data.draw(st.integers(1, len(raw) - 1))])


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_what_is_not_the_encoding_that_it_says_is_no_answer(encoding: str) -> None:
    with pytest.raises(ValueError, match=f"it is no {encoding}"):
        decoded(encoding, b'{"status":"success"}')


@pytest.mark.parametrize("encoding", ["deflate", "br", "gzip, gzip", "nonsense"])
def test_an_encoding_nobody_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(ValueError, match="other than gzip, zstd"):
        decoder_of(encoding)


@pytest.mark.parametrize("encoding", [" GZIP ", "x-gzip"])
def test_an_encoding_has_more_than_one_spelling(encoding: str) -> None:
    assert decoded(encoding, gzip.compress(b"text")) == b"text"


def test_a_gzip_whose_checksum_is_wrong_is_no_answer() -> None:
    raw = bytearray(gzip.compress(b"text"))
    raw[-5] ^= 1
    with pytest.raises(ValueError, match="it is no gzip"):
        decoded("gzip", bytes(raw))


@pytest.mark.parametrize(("encoding", "most_bytes"), [("gzip", 1 << 18), ("zstd", 1 << 26)])
def test_of_a_bomb_little_comes_at_once(encoding: str, most_bytes: int) -> None:
    bomb = ENCODERS[encoding](bytes(100 << 20))
    assert len(bomb) < 1 << 20
    assert max(map(len, decoder_of(encoding).decode(bomb))) <= most_bytes


def test_a_window_of_zstd_beyond_what_http_allows_is_refused() -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    raw = zstandard.ZstdCompressor(compression_params=wide).compressobj().compress(zlib.compress(bytes(1000)) * 200_000)
    with pytest.raises(ValueError, match="it is no zstd"):
        decoded("zstd", raw)

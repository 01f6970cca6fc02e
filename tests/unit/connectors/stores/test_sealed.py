import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from federation_core.connectors.stores.sealed import seal, unseal
from federation_core.errors import Malformed, TooLarge
from federation_core.labels import Labels
from federation_core.outcome import Partial, Stats
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.wire import encode
from federation_core.wire import encode_partial

#: Sealed by the release in which scheme 2 began: a message made of its words, all of them.
RESTED = "0228b52ffd6438006500002070726f6401003137ea0202b88afca1"


@given(st.binary(max_size=4096))
def test_unseal_returns_what_was_sealed(data: bytes) -> None:
    assert unseal(seal(data)) == data


@given(st.binary(max_size=4096))
def test_what_was_sealed_without_the_words_is_still_read(data: bytes) -> None:
    assert unseal(b"\x01" + zstandard.ZstdCompressor(level=3, write_checksum=True).compress(data)) == data


def test_the_words_of_the_scheme_never_change() -> None:
    # What rests in Redis must be read after an upgrade; the checksum notices if it is not what was sealed.
    rested = unseal(bytes.fromhex(RESTED))
    assert rested.startswith(b"\xa9namespace")
    assert rested.endswith(b"\xacwatermark_ms\xc0prod")


def test_the_part_of_a_small_answer_is_hardly_more_than_its_own_values() -> None:
    grid = Grid(1_790_000_000_000, 0, 1)
    frame = Frame((Labels(),), grid, np.array([[17.25]]), np.ones((1, 1), dtype=np.bool_))
    partial = Partial("0f1e2d3c4b5a69788796a5b4c3d2e1f0", "prod", payloads={"a": frame}, stats=Stats(1, 1))
    assert len(seal(encode_partial(partial, encode))) < 120


def test_sealing_compresses() -> None:
    assert len(seal(b"up{cluster='prod'} 1 " * 1000)) < 200


def test_a_bomb_is_refused_before_it_is_opened() -> None:
    with pytest.raises(TooLarge) as caught:
        unseal(seal(bytes(10_000_000)), max_bytes=1_000_000)
    assert caught.value.details == {"limit": "bytes", "asked": 10_000_000, "allowed": 1_000_000}


def test_a_frame_that_hides_its_size_is_refused() -> None:
    hiding = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(10_000_000))
    with pytest.raises(Malformed, match="how large"):
        unseal(b"\x01" + hiding, max_bytes=1_000_000)


@pytest.mark.parametrize("damage", [b"", b"\x01", b"\x02abc", b"\x01abc", seal(b"x" * 100)[:-1], seal(b"abc")[1:]])
def test_damaged_bytes_are_malformed(damage: bytes) -> None:
    with pytest.raises(Malformed):
        unseal(damage)


def test_a_flipped_bit_is_noticed() -> None:
    sealed = bytearray(seal(bytes(range(256)) * 4))
    sealed[-1] ^= 1
    with pytest.raises(Malformed, match="damaged"):
        unseal(bytes(sealed))

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from federation_core.connectors.stores.sealed import seal, unseal
from federation_core.errors import Malformed, TooLarge


@given(st.binary(max_size=4096))
def test_unseal_returns_what_was_sealed(data: bytes) -> None:
    assert unseal(seal(data)) == data


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

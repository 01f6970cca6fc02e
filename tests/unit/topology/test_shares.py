"""Shares: the cap of shards in flight, by weight."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import InvalidConfig
from federation_core.topology.shares import shares


def test_a_cluster_of_three_times_the_weight_has_three_times_the_places() -> None:
    assert shares({"dev": 1.0, "test": 1.0, "prod": 3.0}, 100) == {"dev": 20, "test": 20, "prod": 60}


def test_thirds_lose_nothing_to_floating_point() -> None:
    assert set(shares(dict.fromkeys("abc", 0.1), 3).values()) == {1}


def test_a_cap_that_leaves_a_cluster_nothing_is_refused_with_one_that_would_do() -> None:
    weights = {"dev": 1.0, "prod": 9.0}
    with pytest.raises(InvalidConfig, match=r"cluster dev \(weight 1 of 10\) no place; at least 10"):
        shares(weights, 9)
    assert shares(weights, 10) == {"dev": 1, "prod": 9}


@given(st.dictionaries(st.text("abcdef", min_size=1), st.floats(0.1, 10), min_size=1), st.integers(2_000, 10_000))
def test_the_shares_never_exceed_the_cap_and_none_is_nothing(weights: dict[str, float], cap: int) -> None:
    own = shares(weights, cap)
    assert own.keys() == weights.keys()
    assert sum(own.values()) <= cap
    assert min(own.values()) >= 1

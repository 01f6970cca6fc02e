"""What Tempo refuses teaches what may be asked of it."""

from __future__ import annotations

import pytest

from federation_core.connectors.backends.tempo_bounds import Bounds

TOO_LONG = "the backend refuses the query: range specified by start and end exceeds {0}. received start=1 end=2"
TOO_MANY = "the backend refuses the query: limit {0} exceeds max limit {1}"


@pytest.mark.parametrize(("allowed", "seconds"), [("24h0m0s", 86_400), ("30m0s", 1_800), ("1s", 1), ("500ms", 1)])
def test_a_shorter_stretch_is_learnt(allowed: str, seconds: int) -> None:
    assert Bounds().after(TOO_LONG.format(allowed)) == Bounds(longest_s=seconds)


def test_a_lower_limit_is_learnt() -> None:
    assert Bounds().after(TOO_MANY.format(42, 20)) == Bounds(most=20)


@pytest.mark.parametrize(
    "words",
    [
        "invalid TraceQL query",
        TOO_LONG.format("168h0m0s"),
        TOO_LONG.format("400h0m0s"),
        TOO_LONG.format("forever"),
        TOO_MANY.format(42, 20_000),
    ],
)
def test_nothing_else_moves_a_bound_and_none_becomes_wider(words: str) -> None:
    assert Bounds().after(words) == Bounds()


def test_what_was_learnt_stays() -> None:
    learnt = Bounds().after(TOO_LONG.format("24h0m0s")).after(TOO_MANY.format(42, 20)).after(TOO_MANY.format(42, 30))
    assert learnt == Bounds(86_400, 20)

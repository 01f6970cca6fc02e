"""The Prefer header."""

from __future__ import annotations

import pytest

from webapp.prefer import Preference, read_preference


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", Preference()),
        ("respond-async", Preference(0, "respond-async")),
        ("wait=5", Preference(5000, "wait=5")),
        ("WAIT=5", Preference(5000, "wait=5")),
        ('wait="5"', Preference(5000, "wait=5")),
        ("wait=5; foo=bar, handling=lenient", Preference(5000, "wait=5")),
        ("wait=0", Preference(0, "wait=0")),
        ("wait=5, wait=9", Preference(5000, "wait=5")),
        ("respond-async,wait=2", Preference(2000, "respond-async, wait=2")),
        ("wait=9999", Preference(600_000, "wait=600")),
    ],
)
def test_preferences_are_read(header: str, expected: Preference) -> None:
    assert read_preference(header, 600_000) == expected

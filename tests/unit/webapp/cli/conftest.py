"""What the command line's tests share: a console that keeps what is printed, and a fixed zone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from rich.console import Console


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A zone with an offset, so that a time shown in UTC by mistake is seen."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def console() -> Console:
    """A wide console without colours; `console.file.getvalue()` is what was printed."""
    from io import StringIO

    return Console(file=StringIO(), width=200, color_system=None, highlight=False, markup=False)


def printed(console: Console) -> str:
    """Return what a console was given."""
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]

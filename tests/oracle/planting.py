"""How a fault is planted into the engine: by a change of one real function, taken back after the test.

Rule: what is changed is found by name and must be there, so that a fault does not outlive the code it was made for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from federation_core.signals.metrics.frame import Frame
from federation_core.signals.metrics.functions import FUNCTIONS
from federation_core.signals.metrics.functions.contract import Argument, Context

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Fault:
    """A fault of a family; `favoured` are the constructs that the generator draws often to find it."""

    family: str
    what: str
    favoured: tuple[str, ...]
    plant: Plant


def change_answer(name: str, change: Callable[[Frame, Sequence[Argument]], Frame]) -> Plant:
    """Change what a function returns."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        real = FUNCTIONS[name]

        def apply(arguments: Sequence[Argument], context: Context) -> Frame:
            return change(real.apply(arguments, context), arguments)

        monkeypatch.setitem(FUNCTIONS, name, replace(real, apply=apply))

    return plant


def change_arguments(name: str, change: Callable[[list[Any]], list[Any]]) -> Plant:
    """Change what a function is given."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        real = FUNCTIONS[name]

        def apply(arguments: Sequence[Argument], context: Context) -> Frame:
            return real.apply(change(list(arguments)), context)

        monkeypatch.setitem(FUNCTIONS, name, replace(real, apply=apply))

    return plant


def change_record(name: str, **changes: Any) -> Plant:
    """Change what is said of a function."""
    return lambda mp: mp.setitem(FUNCTIONS, name, replace(FUNCTIONS[name], **changes))


def exchange(name: str, other: str) -> Plant:
    """Let a function do what another does."""
    return lambda mp: mp.setitem(FUNCTIONS, name, replace(FUNCTIONS[other], name=name))


def with_values(frame: Frame, change: Callable[[Any], Any]) -> Frame:
    """Return the frame with changed values."""
    return replace(frame, values=change(frame.values))


def wrap(module: Any, name: str, wrapper: Callable[..., Any]) -> Plant:
    """Put `wrapper(real, …)` in the place of a function."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, **named: wrapper(real, *given, **named))

    return plant

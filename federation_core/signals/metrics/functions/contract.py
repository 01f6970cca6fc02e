"""The record of one PromQL function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from federation_core.signals.metrics.frame import Frame
from federation_core.signals.metrics.windows import Windows

#: What a function is given: a scalar or vector, or the windows of a matrix selector.
Argument: TypeAlias = Frame | Windows
#: Takes a warning that belongs to the answer.
Warn: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Function:
    """A function: `apply(arguments, warn)` returns the result on the arguments' grid.

    `keeps_name` tells whether the result is still the same metric. `per_series` tells whether every result
    series depends on the series of one cluster only, which is what lets it run below the cluster label.
    """

    name: str
    apply: Callable[[Sequence[Argument], Warn], Frame]
    keeps_name: bool = False
    per_series: bool = True


def windows_argument(argument: Argument) -> Windows:
    """Return the argument as windows; the parser has checked its type."""
    if not isinstance(argument, Windows):
        raise TypeError("a range vector was expected")
    return argument


def frame_argument(argument: Argument) -> Frame:
    """Return the argument as a frame; the parser has checked its type."""
    if not isinstance(argument, Frame):
        raise TypeError("an instant vector or scalar was expected")
    return argument

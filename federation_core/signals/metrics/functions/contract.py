"""The record of one PromQL function, and what a function is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from federation_core.signals.metrics.expr import Call
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.windows import Windows

#: A scalar or vector, the windows of a range vector, or a string.
Argument: TypeAlias = Frame | Windows | str
#: Takes an annotation that belongs to the answer.
Note: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Context:
    """What a function knows beside its arguments: the steps, the call as it is written, and whom to tell.

    `warn` and `info` take the text of an annotation without its prefix. `check` raises once nobody waits for the
    answer; `require_room` raises QueryTooLarge if so many values at once are more than the query may take, and `write`
    if so many more characters in labels are.
    """

    grid: Grid
    call: Call
    warn: Note
    info: Note
    check: Callable[[], None]
    require_room: Callable[[int], None]
    write: Callable[[int], None]


Apply: TypeAlias = Callable[[Sequence[Argument], Context], Frame]


@dataclass(frozen=True, slots=True)
class Function:
    """A function: `apply(arguments, context)` returns the result on the context's grid.

    The rows it returns carry the names of the series they come from; they are dropped afterwards, unless `keeps_name`
    tells that the result is still the same metric. `per_series` tells whether every result series depends on the series
    of one cluster only, which is what lets it run below the cluster label.
    """

    name: str
    apply: Apply
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


def string_argument(argument: Argument) -> str:
    """Return the argument as a string; the parser has checked its type."""
    if not isinstance(argument, str):
        raise TypeError("a string was expected")
    return argument

"""What one evaluation of the engine rests on and keeps to: its source, its room, and what it has to say.

Rule: what would take more room than the query may have is refused before the room is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from federation_core.errors import QueryTooLarge
from federation_core.signals.metrics.expr import MatrixSelector, VectorSelector
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.windows import Windows

#: How Prometheus begins its annotations, which is how an answer tells the two kinds apart.
WARNING, INFO = "PromQL warning: ", "PromQL info: "
#: How many annotations of a kind an answer has, as in Prometheus' API.
_SHOWN = 10
#: How much text takes the room of a value.
_CHARACTERS_PER_VALUE = 8


class Source(Protocol):
    """Where selectors get their data."""

    def vector(self, node: VectorSelector, grid: Grid) -> Frame:
        """Return the instant vector of a selector on the grid."""
        ...

    def timestamps(self, node: VectorSelector, grid: Grid) -> Frame:
        """Return the times, in seconds, of the samples of that instant vector."""
        ...

    def windows(self, node: MatrixSelector, grid: Grid) -> Windows:
        """Return the windows of a matrix selector on the grid."""
        ...


@dataclass(slots=True)
class Session:
    """What all parts of one evaluation share.

    `max_values` bounds series × steps of what is held at once, `check` raises once nobody waits for the answer, and
    `delayed_names` drops metric names at the very end, as Prometheus does if told to. `said` collects the annotations,
    each once. `written` is the text of labels that functions wrote, in characters, which counts until the end: frames
    share it, so nobody knows when it goes.
    """

    source: Source
    max_values: int
    check: Callable[[], None]
    delayed_names: bool
    said: dict[str, None] = field(default_factory=dict)
    held: int = 0
    written: int = 0

    def warn(self, text: str) -> None:
        """Note a warning."""
        self.said[WARNING + text] = None

    def info(self, text: str) -> None:
        """Note an information."""
        self.said[INFO + text] = None

    def annotations(self) -> tuple[str, ...]:
        """Return what was said, of each kind as much as Prometheus shows.

        Every series of a large answer may have something to say.
        """
        shown: list[str] = []
        for prefix, kind in ((WARNING, "warning"), (INFO, "info")):
            said = [text for text in self.said if text.startswith(prefix)]
            shown += said[:_SHOWN]
            if len(said) > _SHOWN:
                shown.append(f"{len(said) - _SHOWN} more {kind} annotations omitted")
        return tuple(shown)

    def require_room(self, values: int) -> None:
        """Raise QueryTooLarge if so many values more than are held now are too many; text counts as what it takes."""
        require_room(self.held + self.written // _CHARACTERS_PER_VALUE + values, self.max_values)

    def write(self, characters: int) -> None:
        """Count so much text before it is written into labels.

        Raises QueryTooLarge.
        """
        self.written += characters
        self.require_room(0)


def require_room(asked: int, allowed: int) -> None:
    """Raise QueryTooLarge if so many values at once are more than are allowed."""
    if asked > allowed:
        raise QueryTooLarge(
            f"the query needs {asked} values (series × steps) at once, above {allowed}",
            limit="max_values",
            asked=asked,
            allowed=allowed,
        )

"""Standard output and standard error as rich consoles, and text made safe to show on a terminal.

Rule: what came from a cluster is data: no character of it may move a cursor, ring a bell or be read as markup.
"""

from __future__ import annotations

import os
import re
import sys

from rich.console import Console
from rich.text import Text

#: Columns of output that goes to a file or a pipe, where nobody has a window.
_PIPE_WIDTH = 160
#: C0 and C1 controls but tab, and the characters that reorder text, which make a log line read as another.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
#: Colours of clusters, in the order in which they are named.
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red", "bright_cyan", "bright_magenta", "bright_green")


def output() -> Console:
    """Return a console on standard output."""
    return Console(width=None if sys.stdout.isatty() else _pipe_width(), highlight=False, markup=False, emoji=False)


def messages() -> Console:
    """Return a console on standard error."""
    width = None if sys.stderr.isatty() else _pipe_width()
    return Console(stderr=True, width=width, highlight=False, markup=False, emoji=False)


def printable(text: str) -> str:
    """Return the text with every control character as a visible escape.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return _CONTROL.sub(_escaped, text)


def plain(value: object, style: str = "") -> Text:
    """Return a value as text that rich shows as it is."""
    return Text(printable(str(value)), style=style)


def colours(names: list[str]) -> dict[str, str]:
    """Give each name a colour that it keeps within one answer."""
    return {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(names)}


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _pipe_width() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdigit() and int(columns) > 0 else _PIPE_WIDTH

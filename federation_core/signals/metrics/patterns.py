"""How much the regular expressions of one query may cost.

Rule: RE2 alone judges a pattern, each is compiled once, and what all of a query's patterns come to is bounded before
any of them is used: a few characters such as `\\pL{100}` can make a program of a megabyte.
"""

from __future__ import annotations

from collections.abc import Sequence

from federation_core.errors import InvalidRequest
from federation_core.labels import compile_regex
from federation_core.signals.metrics.guards import syntax_error, too_large

#: Different patterns; fewer than are kept compiled, so that none is compiled again for every series.
MOST_PATTERNS = 100
#: RE2's instructions for all of them; a plain character is one, so a text full of plain patterns is well below.
MOST_INSTRUCTIONS = 250_000


def require_patterns(patterns: Sequence[tuple[str, int]], text: str) -> None:
    """Compile a query's patterns, given with their places in its text.

    Raises QuerySyntaxError: RE2 refuses one. QueryTooLarge: there are too many, or they are too large together.
    """
    places = dict(reversed(patterns))
    if len(places) > MOST_PATTERNS:
        raise too_large("different regular expressions", len(places), MOST_PATTERNS)
    instructions = 0
    for pattern, at in places.items():
        try:
            instructions += compile_regex(pattern).programsize
        except InvalidRequest as exc:
            raise syntax_error(exc.message, text, at) from None
        if instructions > MOST_INSTRUCTIONS:
            raise too_large("instructions in its regular expressions", instructions, MOST_INSTRUCTIONS)

"""The question for exemplars, and its printing.

Rule: an expression is asked about by its selectors, and those are alternatives: the exemplars of every series that
satisfies any of them. What the expression makes of the series decides nothing.
Source: Prometheus documentation, "HTTP API / Querying exemplars".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from federation_core.labels import Selector
from federation_core.selector_text import selector_text


@dataclass(frozen=True, slots=True)
class Wanted:
    """The exemplars of the series that satisfy any of `selectors`."""

    selectors: tuple[Selector, ...]


def to_text(expr: Wanted) -> str:
    """Print a question so that it reads back to the same one; it is PromQL too.

    >>> from federation_core.labels import Matcher, MatchOp
    >>> to_text(Wanted((Selector((Matcher("job", MatchOp.EQ, "api"),)),)))
    '{job="api"}'
    """
    return " or ".join(map(selector_text, expr.selectors))


def map_selectors(expr: Any, fn: Callable[[Selector], Selector]) -> Wanted:
    """Return the question with `fn` applied to each of its selectors.

    Raises TypeError: not a question of this signal.
    """
    if not isinstance(expr, Wanted):
        raise TypeError(f"not a question for exemplars: {type(expr).__name__}")
    return replace(expr, selectors=tuple(fn(selector) for selector in expr.selectors))

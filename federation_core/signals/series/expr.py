"""The questions about what series there are, and their printing.

Rule: several selectors are alternatives: a series is meant if it satisfies any of them. A selector that every series
would satisfy is written as `{__name__=~".+"}`, because backends refuse one that accepts the empty label set.
Source: Prometheus documentation, "HTTP API / Querying metadata".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from federation_core.labels import ANY, Selector, quote
from federation_core.selector_text import selector_text


class Question(StrEnum):
    """What is to be listed."""

    SERIES = "series"
    LABELS = "labels"
    VALUES = "values"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class Discovery:
    """One question about the series that satisfy any of `selectors`; `label` is the one whose values are asked for."""

    question: Question
    selectors: tuple[Selector, ...] = (Selector((ANY,)),)
    label: str = ""


def to_text(expr: Discovery) -> str:
    """Print a question so that it reads back to the same one.

    >>> to_text(Discovery(Question.VALUES, label="job"))
    'values "job" {__name__=~".+"}'
    """
    about = f" {quote(expr.label)}" if expr.question is Question.VALUES else ""
    return f"{expr.question.value}{about} {' or '.join(map(selector_text, expr.selectors))}"


def map_selectors(expr: Any, fn: Callable[[Selector], Selector]) -> Discovery:
    """Return the question with `fn` applied to each of its selectors.

    Raises TypeError: not a question of this signal.
    """
    if not isinstance(expr, Discovery):
        raise TypeError(f"not a question about series: {type(expr).__name__}")
    return replace(expr, selectors=tuple(fn(selector) for selector in expr.selectors))

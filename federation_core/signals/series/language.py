"""Reading questions about series.

    series {job="api"} or {__name__="up"}     values "service" {namespace="shop"}
    labels {__name__=~".+"}                   metadata {__name__="http_requests_total"}

Rule: selectors are PromQL's within braces; a text without one asks about every series. What is not understood is
refused with its place.
"""

from __future__ import annotations

import re
from functools import lru_cache

from federation_core.labels import Selector, backend_accepts
from federation_core.scanner import Scanner
from federation_core.selector_text import read_selector
from federation_core.signals.series.expr import Discovery, Question

_WORD = re.compile(r"[A-Za-z_]+")
_OR = re.compile(r"or\b")


@lru_cache(maxsize=128)
def parse(text: str) -> Discovery:
    """Read a question.

    Raises QuerySyntaxError (with line and column), QueryTooLarge.

    >>> parse('values "job"').label
    'job'
    """
    scanner = Scanner(text)
    at = scanner.skip_space()
    word = scanner.match(_WORD)
    if word not in set(Question):
        raise scanner.error(f"expected one of {', '.join(Question)}, found {word or scanner.here()!r}", at)
    question = Question(word)
    label = scanner.string("the label whose values are asked for") if question is Question.VALUES else ""
    if question is Question.VALUES and not label:
        raise scanner.error("a label has a name", at)
    selectors = [] if scanner.at_end else [read_selector(scanner)]
    while not scanner.at_end:
        if not scanner.match(_OR):
            raise scanner.error(f"expected or between two selectors, found {scanner.here()}")
        selectors.append(read_selector(scanner))
    return Discovery(question, tuple(map(backend_accepts, selectors or [Selector()])), label)

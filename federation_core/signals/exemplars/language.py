"""Reading questions for exemplars.

    http_request_duration_seconds_bucket{job="api"} or {__name__=~"grpc_.+",job="api"}

Rule: selectors are PromQL's, with a metric's name before the braces or not; several are joined by `or`. What is not
understood is refused with its place.
"""

from __future__ import annotations

import re
from functools import lru_cache

from federation_core.labels import NAME, Matcher, MatchOp, Selector, backend_accepts
from federation_core.scanner import Scanner
from federation_core.selector_text import read_selector
from federation_core.signals.exemplars.expr import Wanted

_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_OR = re.compile(r"or\b")


@lru_cache(maxsize=128)
def parse(text: str) -> Wanted:
    """Read a question.

    Raises QuerySyntaxError (with line and column), QueryTooLarge.

    >>> str(parse("up").selectors[0])
    'up'
    """
    scanner = Scanner(text)
    selectors = [_selector(scanner)]
    while not scanner.at_end:
        if not scanner.match(_OR):
            raise scanner.error(f"expected or between two selectors, found {scanner.here()}")
        selectors.append(_selector(scanner))
    return Wanted(tuple(dict.fromkeys(map(backend_accepts, selectors))))


def _selector(scanner: Scanner) -> Selector:
    at = scanner.skip_space()
    name = scanner.match(_NAME)
    if not name:
        return read_selector(scanner)
    named = Matcher(NAME, MatchOp.EQ, name)
    if scanner.peek() != "{":
        return Selector((named,))
    selector = read_selector(scanner)
    if any(matcher.label == NAME for matcher in selector.matchers):
        raise scanner.error(f"the metric's name is given twice: {name} and in the braces", at)
    return Selector((named, *selector.matchers))

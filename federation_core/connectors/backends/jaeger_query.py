"""What Jaeger's search is asked so that it finds every trace in which a span of one service satisfies ours.

Rule: what is asked may find more and never less, in any store; what it finds is judged again. Jaeger looks at one
service, one operation, bounds of the duration and tags as texts; of a search one such condition is sent and no more.
Cassandra looks for each in an index of its own, as far as the limit goes, and keeps what is in all it found; with
another condition beside a duration it ignores it or refuses. Elasticsearch reads a tag's value as a pattern.
Source: Jaeger documentation, "APIs", and what its stores look for: "Deployment / Storage backends".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from federation_core.connectors.backends.jaeger_spans import NS_PER_US
from federation_core.labels import MatchOp
from federation_core.signals.traces.expr import CompareOp, SpanSearch
from federation_core.signals.traces.payload import SpanStatus

#: The tag that stands for a status of its own.
ERROR: Final = "error"
#: Cassandra indexes no longer tags.
_LONGEST_TAG: Final = 250
#: A value that means itself as a pattern of Lucene.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_ /:;,=%!.-]+")
#: What a number may start with: stores print numbers each in its way.
_DOUBTFUL: Final = frozenset("0123456789+-.nNiI")
_SPAN: Final = "span."
#: Tags that say what a span has a field for.
_OURS: Final = (ERROR, "span.kind", "span.status", "scope.", "otel.", "resource.")
#: As selective as a value of so many characters; of several tags the longest is the rarest, as far as one can tell.
_ERROR_CHARS: Final = 8
#: Go reads no longer duration.
_LONGEST_US: Final = (2**63 - 1) // NS_PER_US


@dataclass(frozen=True, slots=True)
class JaegerQuery:
    """A condition beside service and time; a duration of None has no bound, in microseconds."""

    operation: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    min_us: int | None = None
    max_us: int | None = None


def to_query(search: SpanSearch, *, by_error: bool = True) -> JaegerQuery:
    """Return what of a search Jaeger can be asked; with the tag `error` or without."""
    tags = dict(_tags(search))
    if by_error and _asks_for_errors(search):
        tags[ERROR] = "true"
    if tags:
        name = max(tags, key=lambda name: _ERROR_CHARS if name == ERROR else len(tags[name]))
        return JaegerQuery(tags={name: tags[name]})
    names = (m.value for m in search.selector.matchers if m.label == "name" and m.op is MatchOp.EQ)
    # A duration is looked for within an operation.
    return JaegerQuery(next(names, ""), {}, *_durations_us(search))


def _tags(search: SpanSearch) -> Iterator[tuple[str, str]]:
    for matcher in search.selector.matchers:
        name = matcher.label.removeprefix(_SPAN)
        if matcher.op is MatchOp.EQ and matcher.label.startswith(_SPAN) and _is_sure(name, matcher.value):
            yield name, matcher.value


def _is_sure(name: str, value: str) -> bool:
    """Tell whether every store finds a tag that reads as this text by its text."""
    if name.startswith(_OURS) or len(value) > _LONGEST_TAG or not _PLAIN.fullmatch(value):
        return False
    return value[0] not in _DOUBTFUL or (value.isdecimal() and (value == "0" or value[0] != "0"))


def _asks_for_errors(search: SpanSearch) -> bool:
    return any(
        comparison.field == "status" and comparison.op is CompareOp.EQ and comparison.value is SpanStatus.ERROR
        for comparison in search.comparisons
    )


def _durations_us(search: SpanSearch) -> tuple[int | None, int | None]:
    """Return bounds of the duration that a span of just that length lies within, also where they are exclusive."""
    low_us, high_us = 0, _LONGEST_US + 1
    for comparison in search.comparisons:
        value = comparison.value
        if comparison.field == "duration" and isinstance(value, int):
            if comparison.op in (CompareOp.GT, CompareOp.GE, CompareOp.EQ):
                low_us = max(low_us, value // NS_PER_US - 1)
            if comparison.op in (CompareOp.LT, CompareOp.LE, CompareOp.EQ):
                # What is longer by less than a microsecond looks just as long to us.
                high_us = min(high_us, value // NS_PER_US + 1)
    # Nothing is both longer and shorter, and Jaeger refuses to look for it.
    known = low_us < high_us <= _LONGEST_US
    return low_us or None, high_us if known else None

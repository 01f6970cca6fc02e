"""What Jaeger's search is asked so that it finds every trace in which a span of one service satisfies ours.

Rule: what is asked may find more and never less; what it finds is judged again. Jaeger looks at one service, one
operation, bounds of the duration and tags as texts; of a search only such conditions are sent.
Source: Jaeger documentation, "APIs"; which tags its stores look for, "Deployment / Storage backends".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from federation_core.connectors.backends.jaeger_spans import NS_PER_US
from federation_core.labels import MatchOp
from federation_core.signals.traces.expr import CompareOp, SpanSearch
from federation_core.signals.traces.payload import SpanStatus

#: Cassandra indexes no longer tags.
_LONGEST_TAG: Final = 250
#: What a number or the beginning of JSON may start with: stores print numbers each in its way and do not index JSON.
_DOUBTFUL: Final = frozenset("0123456789+-.{[nNiI")
_SPAN: Final = "span."
#: Tags that say what a span has a field for.
_OURS: Final = ("error", "span.kind", "otel.")


@dataclass(frozen=True, slots=True)
class JaegerQuery:
    """Conditions beside service and time; a duration of None has no bound, in microseconds."""

    operation: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    min_us: int | None = None
    max_us: int | None = None


def to_query(search: SpanSearch) -> JaegerQuery:
    """Return what of a search Jaeger can be asked."""
    operation, tags = "", dict[str, str]()
    for matcher in search.selector.matchers:
        if matcher.op is not MatchOp.EQ or not matcher.value:
            continue
        if matcher.label == "name":
            operation = matcher.value
        name = matcher.label.removeprefix(_SPAN)
        if matcher.label.startswith(_SPAN) and _is_sure(name, matcher.value):
            tags[name] = matcher.value
    low_us, high_us = 0, None
    for comparison in search.comparisons:
        value = comparison.value
        if comparison.field == "status" and comparison.op is CompareOp.EQ and value is SpanStatus.ERROR:
            tags["error"] = "true"
        if comparison.field == "duration" and isinstance(value, int):
            if comparison.op in (CompareOp.GT, CompareOp.GE, CompareOp.EQ):
                low_us = max(low_us, value // NS_PER_US)
            if comparison.op in (CompareOp.LT, CompareOp.LE, CompareOp.EQ):
                # What is longer by less than a microsecond looks just as long to us.
                bound_us = value // NS_PER_US + 1
                high_us = bound_us if high_us is None else min(high_us, bound_us)
    if tags:
        # Cassandra takes tags or a duration, not both.
        return JaegerQuery(operation, tags)
    return JaegerQuery(operation, {}, low_us or None, high_us)


def _is_sure(name: str, value: str) -> bool:
    """Tell whether every store finds a tag that reads as this text by its text."""
    if name.startswith(_OURS) or len(value) > _LONGEST_TAG or not value.isascii():
        return False
    return value[0] not in _DOUBTFUL or (value.isdecimal() and (value == "0" or value[0] != "0"))

"""Spans, whole traces and search results as they travel between a cluster and the centre.

Rule: ids are lower-case hexadecimal of full length (32 digits for a trace, 16 for a span; "" for no parent), times
are nanoseconds of the cluster's own clock, and nothing is corrected in place: an adjusted time is the raw one plus
`skew_ns`.

    by id    connector → TracePart           merge → Trace
    search   connector → FoundTraces   run → Summaries   merge → Summaries
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from federation_core.query import TimeRange

NS_PER_MS = 1_000_000


class SpanKind(StrEnum):
    """The span kinds of OpenTelemetry."""

    UNSPECIFIED = "unspecified"
    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class SpanStatus(StrEnum):
    """The status codes of OpenTelemetry."""

    UNSET = "unset"
    OK = "ok"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened during a span, for example an exception with its stack trace."""

    t_ns: int
    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """A reference from a span to another span, often of another trace."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


#: Identifies a span within its trace: both halves of a call may share one id (the Zipkin model), never one kind.
SpanKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Span:
    """One operation. `attributes` are its own, `resource` those of the process that made it.

    `cluster` is empty until the centre has merged; `skew_ns` is what must be added to `start_ns` to read it on
    the clock of the root's cluster.
    """

    trace_id: str
    span_id: str
    parent_id: str
    operation: str
    service: str
    start_ns: int
    duration_ns: int
    kind: SpanKind = SpanKind.UNSPECIFIED
    namespace: str = ""
    pod: str = ""
    status: SpanStatus = SpanStatus.UNSET
    status_message: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    resource: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()
    cluster: str = ""
    skew_ns: int = 0

    @property
    def key(self) -> SpanKey:
        """What identifies the span within its trace."""
        return (self.span_id, self.kind.value)

    @property
    def end_ns(self) -> int:
        """When it ended, on its own cluster's clock."""
        return self.start_ns + self.duration_ns

    @property
    def adjusted_start_ns(self) -> int:
        """When it started, on the clock of the root's cluster."""
        return self.start_ns + self.skew_ns

    @property
    def adjusted_end_ns(self) -> int:
        """When it ended, on the clock of the root's cluster."""
        return self.start_ns + self.skew_ns + self.duration_ns


@dataclass(frozen=True, slots=True)
class TracePart:
    """The spans of one trace that one cluster holds, in any order; no spans where it holds none."""

    trace_id: str
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundTraces:
    """What a connector found: for each trace with a matching span, *all* its spans in this cluster.

    Newest (or oldest) matching span first, as asked; `more` says that further traces match.
    """

    parts: tuple[TracePart, ...] = ()
    more: bool = False


@dataclass(frozen=True, slots=True)
class PathSegment:
    """A stretch of the critical path: what the trace waited for, on the clock of the root's cluster."""

    span_id: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole trace, put together from every cluster that answered; spans in tree order.

    `root` is None where no answering cluster holds a span without a parent. `orphans` are spans whose parent was
    not found. `clusters` are all clusters that hold a copy of any span.
    """

    trace_id: str
    spans: tuple[Span, ...] = ()
    clusters: tuple[str, ...] = ()
    root: SpanKey | None = None
    orphans: tuple[SpanKey, ...] = ()
    critical_path: tuple[PathSegment, ...] = ()

    @property
    def root_span(self) -> Span | None:
        """The root's span."""
        return next((span for span in self.spans if span.key == self.root), None)

    @property
    def start_ns(self) -> int:
        """When the first span started, on raw clocks; 0 where there are no spans."""
        return min((span.start_ns for span in self.spans), default=0)

    @property
    def end_ns(self) -> int:
        """When the last span ended, on raw clocks; 0 where there are no spans."""
        return max((span.end_ns for span in self.spans), default=0)

    @property
    def duration_ns(self) -> int:
        """Last end minus first start, whichever spans these are."""
        return self.end_ns - self.start_ns


@dataclass(frozen=True, slots=True)
class RootSpan:
    """The head of a trace, as a search result shows it."""

    service: str
    operation: str
    start_ns: int
    duration_ns: int


@dataclass(frozen=True, slots=True)
class Summary:
    """One trace of a search result, made from the visible spans of the clusters in which it matched.

    Keys are carried instead of counts, so that a span two clusters hold is counted once. `matched_ns` is the start
    of the newest matching span (of the oldest where the direction is forward): the order of the result.
    """

    trace_id: str
    matched_ns: int
    start_ns: int
    end_ns: int
    spans: tuple[SpanKey, ...]
    matched: tuple[SpanKey, ...]
    errors: tuple[SpanKey, ...]
    services: tuple[str, ...]
    clusters: tuple[str, ...] = ()
    root: RootSpan | None = None


@dataclass(frozen=True, slots=True)
class Summaries:
    """Search results in the direction asked. `more` says that further traces match beyond the last one."""

    traces: tuple[Summary, ...] = ()
    more: bool = False


Payload = TracePart | Trace | Summaries


def window_ns(time_range: TimeRange) -> tuple[int, int]:
    """Return the range as [start, end) in nanoseconds; a span belongs to it by its start."""
    return time_range.start_ms * NS_PER_MS, time_range.end_ms * NS_PER_MS

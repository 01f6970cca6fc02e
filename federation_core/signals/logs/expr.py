"""The syntax tree of our LogQL subset, its printing, and what it means for one entry.

Rule: a filter is a condition on one entry and all must hold, so their order never changes an answer. A line filter
finds its text or pattern anywhere in the line; a label filter's pattern is anchored and sees the stream's labels
and the entry's metadata, the stream's first (Grafana Loki documentation, "Log queries").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from federation_core.labels import Labels, Matcher, Selector, compile_regex, quote
from federation_core.signals.logs.payload import Entries, Entry, Mask, Texts


class LineOp(StrEnum):
    """The four line filters."""

    CONTAINS = "|="
    LACKS = "!="
    FINDS = "|~"
    FINDS_NOT = "!~"


@dataclass(frozen=True, slots=True)
class LineFilter:
    """A condition on the line, for example `|= "timeout"`."""

    op: LineOp
    text: str

    def judge(self) -> Callable[[str], bool]:
        """Return what tells whether a line satisfies the condition.

        Raises InvalidRequest: the pattern is not RE2.
        """
        text = self.text
        match self.op:
            case LineOp.CONTAINS:
                return lambda line: text in line
            case LineOp.LACKS:
                return lambda line: text not in line
            case LineOp.FINDS:
                finds = compile_line_pattern(text).search
                return lambda line: finds(line) is not None
            case LineOp.FINDS_NOT:
                finds = compile_line_pattern(text).search
                return lambda line: finds(line) is None

    def accepts(self, line: str) -> bool:
        """Tell whether a line satisfies the condition.

        Raises InvalidRequest: the pattern is not RE2.
        """
        return self.judge()(line)

    def accepted(self, lines: Texts) -> Mask:
        """Tell of each line whether it satisfies the condition.

        Raises InvalidRequest: the pattern is not RE2.
        """
        return np.fromiter(map(self.judge(), lines.tolist()), dtype=np.bool_, count=len(lines))

    def __str__(self) -> str:
        return f"{self.op.value} {quote(self.text)}"


@dataclass(frozen=True, slots=True)
class LabelFilter:
    """A condition on a label of the stream or on metadata of the entry, for example `| level="error"`."""

    matcher: Matcher

    def accepts(self, labels: Labels, metadata: Labels) -> bool:
        """Tell whether an entry's labels and metadata satisfy the condition."""
        name = self.matcher.label
        return self.matcher.matches(labels.get(name) or metadata.get(name))

    def accepted(self, entries: Entries) -> Mask:
        """Tell of each entry whether it satisfies the condition; what entries share is judged once."""
        sets, size = entries.sets, len(entries.sets)
        pairs, inverse = np.unique(entries.labels * size + entries.metadata, return_inverse=True)
        judged = [self.accepts(sets[pair // size], sets[pair % size]) for pair in pairs.tolist()]
        return np.array(judged, dtype=np.bool_)[inverse]

    def __str__(self) -> str:
        return f"| {self.matcher}"


Stage = LineFilter | LabelFilter


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A stream selector and the filters behind it. An empty selector selects every stream."""

    selector: Selector
    stages: tuple[Stage, ...] = ()

    @property
    def line_filters(self) -> tuple[LineFilter, ...]:
        """The conditions on the line, for a store that can evaluate them itself."""
        return tuple(stage for stage in self.stages if isinstance(stage, LineFilter))

    @property
    def label_filters(self) -> tuple[LabelFilter, ...]:
        """The conditions on labels and metadata, for a store that can evaluate them itself."""
        return tuple(stage for stage in self.stages if isinstance(stage, LabelFilter))


def print_query(query: LogQuery) -> str:
    """Print a query as LogQL that reads back to the same tree."""
    selector = "{" + ", ".join(str(matcher) for matcher in query.selector.matchers) + "}"
    return " ".join([selector, *(str(stage) for stage in query.stages)])


def map_selectors(query: Any, fn: Callable[[Selector], Selector]) -> LogQuery:
    """Return the query with `fn` applied to its stream selector.

    Raises TypeError: not a node of this language.
    """
    if not isinstance(query, LogQuery):
        raise TypeError(f"not a log query: {type(query).__name__}")
    return replace(query, selector=fn(query.selector))


def matches(query: LogQuery, entry: Entry) -> bool:
    """Tell whether an entry is an answer to the query, its time aside."""
    return query.selector.matches(entry.labels) and all(
        stage.accepts(entry.line) if isinstance(stage, LineFilter) else stage.accepts(entry.labels, entry.metadata)
        for stage in query.stages
    )


def passing(query: LogQuery, entries: Entries) -> Entries:
    """Keep the entries that pass every filter, of those of streams that the selector chose."""
    for stage in query.stages:
        kept = stage.accepted(entries.line) if isinstance(stage, LineFilter) else stage.accepted(entries)
        if not kept.all():
            entries = entries.take(kept)
    return entries


def compile_line_pattern(pattern: str) -> Any:
    """Compile a line filter's RE2 pattern for use with `search`; its dot does not match a newline.

    Raises InvalidRequest: RE2 does not accept the pattern.
    """
    return compile_regex(pattern, dot_matches_newline=False)

"""label_replace and label_join: functions of the labels alone.

Rule: the expression is RE2 and must match the whole value; the replacement is expanded as Go expands a template. A
label that becomes empty is removed. What is written is charged before it is made, for every series, until the end of
the evaluation: calls within calls could otherwise double a text without end, and operands hold one such text each.
Source: Prometheus documentation, "Functions / label_replace, label_join"; documentation of Go's Regexp.Expand.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from federation_core.errors import InvalidRequest, QueryExecutionError
from federation_core.labels import NAME, Labels, compile_regex
from federation_core.signals.metrics.frame import Bools, Frame
from federation_core.signals.metrics.functions.contract import (
    Argument,
    Context,
    Function,
    frame_argument,
    string_argument,
)

_ESCAPED = re.compile(r"\\.", re.DOTALL)


def _label_replace(arguments: Sequence[Argument], context: Context) -> Frame:
    frame = frame_argument(arguments[0])
    destination, replacement, source, pattern = map(string_argument, arguments[1:])
    regex = _compiled(pattern)
    _require_name(destination, "destination", "label_replace")
    template = list(_template(replacement, regex.groupindex, regex.groups))
    expanded: dict[str, str | None] = {}
    for value, count in Counter(labels.get(source) for labels in frame.labels).items():
        context.check()
        found = regex.search(value)
        if found is None:
            expanded[value] = None
            continue
        parts = [part if isinstance(part, str) else found.group(part) or "" for part in template]
        context.write(count * sum(map(len, parts)))
        expanded[value] = "".join(parts)
    rewritten = [expanded[labels.get(source)] for labels in frame.labels]
    changed = np.array([text is not None for text in rewritten], dtype=np.bool_)
    pairs = zip(frame.labels, rewritten, strict=True)
    result = (labels if text is None else labels.with_label(destination, text) for labels, text in pairs)
    return _relabelled(frame, result, destination, changed)


def _label_join(arguments: Sequence[Argument], context: Context) -> Frame:
    frame = frame_argument(arguments[0])
    destination, separator, *sources = map(string_argument, arguments[1:])
    for source in sources:
        _require_name(source, "source", "label_join")
    _require_name(destination, "destination", "label_join")
    between = len(separator) * max(0, len(sources) - 1)
    result = []
    for labels in frame.labels:
        context.check()
        parts = [labels.get(source) for source in sources]
        context.write(between + sum(map(len, parts)))
        result.append(labels.with_label(destination, separator.join(parts)))
    return _relabelled(frame, iter(result), destination, np.ones(frame.series_count, dtype=np.bool_))


def _relabelled(frame: Frame, labels: Iterator[Labels], destination: str, changed: Bools) -> Frame:
    unnamed = frame.unnamed
    if unnamed is not None and destination == NAME:
        # A name that was written is not the one that was to be dropped.
        unnamed = unnamed & ~changed
    return replace(frame, labels=tuple(labels), unnamed=unnamed)


def _compiled(pattern: str) -> Any:
    if "\\C" in _ESCAPED.findall(pattern):
        # Go has no single bytes of a character, and half a character is no label.
        raise QueryExecutionError(f"invalid regular expression in label_replace(): {pattern}: it matches single bytes")
    try:
        # Put together as a text and searched for, as Prometheus does it: what closes the group is still an expression.
        return compile_regex(f"^(?s:{pattern})$", dot_matches_newline=False)
    except InvalidRequest as exc:
        raise QueryExecutionError(f"invalid regular expression in label_replace(): {pattern}: {exc.message}") from None


def _require_name(label: str, role: str, function: str) -> None:
    # Any text is a name in Prometheus 3; halves of surrogate pairs are none.
    shown = label.encode(errors="backslashreplace").decode()
    if not label or shown != label:
        raise QueryExecutionError(f"invalid {role} label name in {function}(): {shown}")


def _template(text: str, names: Mapping[str, int], groups: int) -> Iterator[str | int]:
    """Yield the texts and the numbers of the groups that a replacement consists of; unknown groups are nothing."""
    before, *rest = text.split("$")
    yield before
    while rest:
        after = rest.pop(0)
        if not after and rest:
            # "$$" is a dollar sign, and what follows it is text.
            yield "$" + rest.pop(0)
            continue
        name, end = _reference(after)
        if not name:
            yield "$" + after
            continue
        group = int(name) if _is_number(name) else names.get(name, groups + 1)
        if group <= groups:
            yield group
        yield after[end:]


def _reference(text: str) -> tuple[str, int]:
    """Return the name of the group that is referred to behind a dollar sign, and where the reference ends."""
    start = 1 if text.startswith("{") else 0
    end = start
    while end < len(text) and (text[end].isalpha() or text[end].isdecimal() or text[end] == "_"):
        end += 1
    if start and not text.startswith("}", end):
        return "", 0
    return text[start:end], end + start


def _is_number(name: str) -> bool:
    # A name of digits with a leading zero, or of too many, is a name, and no group has it.
    return name.isascii() and name.isdigit() and len(name) < 9 and (name == "0" or not name.startswith("0"))


FUNCTIONS = (
    Function("label_join", _label_join, keeps_name=True),
    Function("label_replace", _label_replace, keeps_name=True),
)

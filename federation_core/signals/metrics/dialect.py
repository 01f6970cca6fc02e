"""What a backend's own engine understands, and an expression in its spelling.

Rule: a leaf is given to an engine only if it is Prometheus' own and its version is known to have all that the leaf
uses; nothing is found out by trial. What is experimental somewhere is not relied on: it may be switched off.
Source: Prometheus' change log; documentation, "Functions".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from federation_core.labels import Selector, backend_accepts
from federation_core.signals.metrics.expr import (
    Aggregate,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    StringLiteral,
    VectorSelector,
    children,
    map_children,
)
from federation_core.signals.metrics.functions import FUNCTIONS
from federation_core.signals.metrics.printer import RESERVED, label_text

#: `@`, negative offsets and trigonometry are in every release from here on; older engines are given selectors only.
_OLDEST = (2, 33)
_THIRD = (3, 0)
#: Functions by the release from which on they are certain to be there.
_SINCE = {
    **dict.fromkeys(FUNCTIONS, _OLDEST),
    "day_of_year": (2, 38),
    **dict.fromkeys(("histogram_count", "histogram_sum", "histogram_fraction"), (2, 40)),
    **dict.fromkeys(("histogram_avg", "histogram_stddev", "histogram_stdvar"), _THIRD),
}
#: What some releases have behind a switch, or not at all.
_EXPERIMENTAL = frozenset(
    {"double_exponential_smoothing", "mad_over_time", "first_over_time", "sort_by_label", "sort_by_label_desc"}
    | {"ts_of_first_over_time", "ts_of_last_over_time", "ts_of_max_over_time", "ts_of_min_over_time"}
    | {"histogram_quantiles", "min_of", "max_of", "limitk", "limit_ratio"}
)
#: From this release on the lists of series, names and values may be limited.
_LIMITED = (2, 51)
#: Before its third release Prometheus called it so, and had it without a switch.
_SMOOTHING, _SMOOTHING_BEFORE_3 = "double_exponential_smoothing", "holt_winters"
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Dialect:
    """An engine: its name and, for Prometheus itself, its release.

    `exact`: it evaluates as Prometheus does, so that leaves may be given to it. `on_grids`: at least a plain selector
    has the value at every step that it has in Prometheus, stale markers observed; else it has raw samples only.
    `nan_is_stale`: a NaN among its raw samples is a stale marker and nothing else. `approximate`: leaves are given to
    it although it is not exact, because the configuration says so.
    """

    engine: str
    version: tuple[int, int] = _OLDEST
    exact: bool = False
    on_grids: bool = False
    nan_is_stale: bool = False
    approximate: bool = False

    @property
    def word(self) -> str:
        """All of it in a word, which `read_word` reads.

        >>> Dialect("Prometheus", (2, 42), exact=True, on_grids=True).word
        'Prometheus/2.42/eg'
        """
        flags = "".join(letter for letter, name in _FLAGS.items() if getattr(self, name))
        return f"{self.engine}/{self.version[0]}.{self.version[1]}/{flags}"

    @property
    def limits_lists(self) -> bool:
        """Whether a `limit` ends a list of series, names or values, with more than the limit never told as less.

        Which rows are left is not promised. Where several stores are limited one by one and their replicas united
        afterwards, fewer than the limit may be left of more.
        """
        return self.engine == "Prometheus" and self.version >= _LIMITED

    def answerable(self, selector: Selector) -> Selector | None:
        """Return a selector without conditions that this engine cannot read; None where no series of it meets them.

        Before its third release no series of Prometheus has a label whose name is no word: it is as good as empty.
        """
        if self.engine != "Prometheus" or self.version >= _THIRD:
            return selector
        strange = [matcher for matcher in selector.matchers if not _is_plain(matcher.label)]
        if not all(matcher.matches("") for matcher in strange):
            return None
        return backend_accepts(Selector(tuple(matcher for matcher in selector.matchers if matcher not in strange)))

    def spelled(self, expr: Expr) -> Expr | None:
        """Return a resolved expression as this engine spells it; None where it may not know a part of it."""
        if self.version < _OLDEST:
            return None
        if self.version < _THIRD and not all(map(_is_plain, labels_of(expr))):
            return None
        return self._spelled(expr)

    def _spelled(self, expr: Expr) -> Expr | None:
        below = {child: self._spelled(child) for child in children(expr)}
        if None in below.values() or not self._knows(expr):
            return None
        seen = map_children(expr, lambda child: below[child] or child)
        if isinstance(seen, Call) and seen.function == _SMOOTHING:
            return replace(seen, function=_SMOOTHING_BEFORE_3)
        return seen

    def _knows(self, expr: Expr) -> bool:
        match expr:
            case Call(function=name) if name == _SMOOTHING:
                return self.version < _THIRD
            case Call(function=name):
                return name not in _EXPERIMENTAL and self.version >= _SINCE[name]
            case Aggregate(operator=name):
                return name not in _EXPERIMENTAL
            case Binary(matching=matching):
                return matching.fill_left is None and matching.fill_right is None
        return True


#: An engine of which nothing is known but that it speaks the API. It is asked for the values of selectors, as whoever
#: has stale markers observes them there and leaves them out of raw samples.
UNKNOWN = Dialect("unknown", on_grids=True)
#: What a word says with one letter.
_FLAGS = {"e": "exact", "g": "on_grids", "n": "nan_is_stale", "a": "approximate"}
_WORDED = re.compile(r"([A-Za-z]{1,30})/(\d{1,4})\.(\d{1,4})/([a-z]*)")


def read_word(word: str) -> Dialect | None:
    """Return the engine that a word stands for; None where it says something else, as another release may."""
    read = _WORDED.fullmatch(word)
    if read is None:
        return None
    return Dialect(
        read[1], (int(read[2]), int(read[3])), **{name: letter in read[4] for letter, name in _FLAGS.items()}
    )


def _is_plain(label: str) -> bool:
    # Before the third release a name was a word, and one that the grammar reads otherwise could not be quoted.
    return _WORD.fullmatch(label) is not None and label_text(label) == label and label.lower() not in RESERVED


def labels_of(expr: Expr) -> Iterator[str]:
    """Yield every label name that an expression uses."""
    match expr:
        case VectorSelector(selector=selector) | MatrixSelector(selector=selector):
            # An equality on the name that is no word stands in the braces, where it is a value like any other.
            yield from (matcher.label for matcher in selector.matchers)
        case Aggregate(grouping=grouping):
            yield from grouping.labels
            if isinstance(expr.parameter, StringLiteral):
                yield expr.parameter.value
        case Binary(matching=matching):
            yield from (*matching.labels, *matching.include)
        case Call(function="label_replace", arguments=(_, target, _, source, _)):
            yield from _texts(target, source)
        case Call(function="label_join", arguments=(_, target, _, *sources)):
            yield from _texts(target, *sources)
    for child in children(expr):
        yield from labels_of(child)


def _texts(*arguments: Expr) -> Iterator[str]:
    return (argument.value for argument in arguments if isinstance(argument, StringLiteral))

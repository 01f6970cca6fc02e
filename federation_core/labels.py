"""Label sets, matchers and selectors: the vocabulary every signal shares.

Rule: a regular expression is RE2 and anchored at both ends, and a label that is absent equals the empty string
(Prometheus documentation, "Querying basics / Time series selectors"). Python's own `re` is never used on a
user's pattern: it backtracks without bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Self

import re2

from federation_core.errors import InvalidRequest

NAME = "__name__"
#: The virtual label that names the cluster a series, stream or span comes from.
CLUSTER = "cluster"
_EXPORTED_PREFIX = "exported_"
#: Where a backend's own, different `cluster` label is shown (Prometheus documentation, "Configuration / honor_labels").
EXPORTED_CLUSTER = _EXPORTED_PREFIX + CLUSTER


class Labels(tuple[tuple[str, str], ...]):
    """An immutable label set: pairs sorted by name, no empty values, hashable and totally ordered.

    >>> Labels.of({"b": "2", "a": "1"}).with_label("c", "3")
    Labels({'a': '1', 'b': '2', 'c': '3'})
    """

    __slots__ = ()

    @classmethod
    def of(cls, pairs: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> Self:
        """Build a label set; pairs whose value is empty are dropped, as an empty label is an absent one."""
        items = pairs.items() if isinstance(pairs, Mapping) else pairs
        return cls(sorted((name, value) for name, value in items if value != ""))

    def get(self, name: str, default: str = "") -> str:
        """Return the value of `name`, or `default` where it is absent."""
        for key, value in self:
            if key == name:
                return value
        return default

    def names(self) -> Iterator[str]:
        """Yield the label names in order."""
        return (name for name, _ in self)

    def only(self, names: Iterable[str]) -> Self:
        """Keep the named labels, as `by (...)` does."""
        kept = frozenset(names)
        return type(self)([pair for pair in self if pair[0] in kept])

    def without(self, names: Iterable[str]) -> Self:
        """Drop the named labels, as `without (...)` does; the metric name stays unless it is named."""
        dropped = frozenset(names)
        return type(self)([pair for pair in self if pair[0] not in dropped])

    def with_label(self, name: str, value: str) -> Self:
        """Set one label, replacing a former value; an empty value removes it."""
        pairs = [pair for pair in self if pair[0] != name]
        if value:
            pairs.append((name, value))
            pairs.sort()
        return type(self)(pairs)

    def as_dict(self) -> dict[str, str]:
        """Return a new plain dictionary of the pairs."""
        return dict(self)

    def __repr__(self) -> str:
        return f"Labels({dict(self)!r})"


def set_aside(labels: Labels, cluster: str) -> Labels:
    """Return a series' labels without a label `cluster`: dropped if it names this cluster, else renamed.

    >>> set_aside(Labels.of({"cluster": "eu"}), "prod"), set_aside(Labels.of({"cluster": "prod"}), "prod")
    (Labels({'exported_cluster': 'eu'}), Labels({}))
    """
    own = labels.get(CLUSTER)
    if not own:
        return labels
    rest = labels.without((CLUSTER,))
    if own == cluster:
        return rest
    taken, name = set(rest.names()), EXPORTED_CLUSTER
    while name in taken:
        name = _EXPORTED_PREFIX + name
    return rest.with_label(name, own)


class MatchOp(StrEnum):
    """The four match operators of PromQL and LogQL."""

    EQ = "="
    NE = "!="
    RE = "=~"
    NRE = "!~"


def _words(exc: Exception) -> str:
    """RE2 reports its errors as bytes."""
    if isinstance(exc, UnicodeEncodeError):
        return "it holds half of a surrogate pair"
    reason = exc.args[0] if exc.args else ""
    words = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    if words.startswith("pattern too large"):
        return f"it takes more than {_PATTERN_BYTES >> 20} MB when it is compiled; write it shorter, or count to less"
    return words


#: What one compiled pattern may hold in memory; ten thousand characters of plain alternatives take a quarter of it.
_PATTERN_BYTES = 2 << 20
# RE2 bounds what it compiles to, not what it makes of a pattern before: a copy for every repetition, hundreds of ranges
# for every class of Unicode.
_REPETITION = re.compile(r"\{([0-9]{1,4})[0-9]*(?:,([0-9]{0,4})[0-9]*)?\}")
_MOST_REPETITIONS = 10_000
_UNICODE_CLASS = re.compile(r"\\[pP]")
_MOST_UNICODE_CLASSES = 500
#: How much of a pattern an error shows.
_SHOWN_CHARS = 100


# Patterns are users' texts: what is kept of them is bounded by their number times their size, 256 MB at the very worst.
@lru_cache(maxsize=128)
def compile_regex(pattern: str, *, dot_matches_newline: bool = True) -> Any:
    """Compile an RE2 pattern, for `fullmatch` on a label's value, or for `search` in a line.

    In a matcher the dot matches a newline too, as Prometheus compiles matchers with the `s` flag.

    Raises InvalidRequest: RE2 does not accept the pattern, or it is too large.
    """
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = dot_matches_newline
    options.max_mem = _PATTERN_BYTES
    excess = _excess(pattern)
    if excess:
        raise _bad_pattern(pattern, excess)
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as exc:
        raise _bad_pattern(pattern, _words(exc)) from None


def _excess(pattern: str) -> str:
    """Say what of a pattern is too much to be compiled at all; empty if nothing is."""
    repetitions = sum(int(most or least) for least, most in _REPETITION.findall(pattern))
    if repetitions > _MOST_REPETITIONS:
        return f"it counts to {repetitions} in all its repetitions, above {_MOST_REPETITIONS}"
    classes = len(_UNICODE_CLASS.findall(pattern))
    if classes > _MOST_UNICODE_CLASSES:
        return f"it has {classes} classes of Unicode, above {_MOST_UNICODE_CLASSES}"
    return ""


def _bad_pattern(pattern: str, why: str) -> InvalidRequest:
    shown = pattern if len(pattern) <= _SHOWN_CHARS else pattern[:_SHOWN_CHARS] + "…"
    # RE2 repeats what it refuses.
    why = why[:_SHOWN_CHARS]
    return InvalidRequest(
        f"bad regular expression {shown!r}: {why}", field="matcher", got=shown, expected="an RE2 pattern"
    )


@dataclass(frozen=True, slots=True, order=True)
class Matcher:
    """One condition on one label, for example `env=~"prod|stage"`."""

    label: str
    op: MatchOp
    value: str

    def matches(self, value: str) -> bool:
        """Tell whether a label value (empty when absent) satisfies the condition.

        Raises InvalidRequest: the pattern is not RE2.
        """
        match self.op:
            case MatchOp.EQ:
                return value == self.value
            case MatchOp.NE:
                return value != self.value
            case MatchOp.RE:
                return compile_regex(self.value).fullmatch(value) is not None
            case MatchOp.NRE:
                return compile_regex(self.value).fullmatch(value) is None

    def __str__(self) -> str:
        return f"{self.label}{self.op.value}{quote(self.value)}"


@dataclass(frozen=True, slots=True)
class Selector:
    """Matchers that must all hold; a metric name is the matcher `__name__="..."` among them."""

    matchers: tuple[Matcher, ...] = ()

    @property
    def name(self) -> str:
        """The metric name if an equality matcher fixes it, else the empty string."""
        for matcher in self.matchers:
            if matcher.label == NAME and matcher.op is MatchOp.EQ:
                return matcher.value
        return ""

    def matches(self, labels: Labels) -> bool:
        """Tell whether a label set satisfies every matcher."""
        values = dict(labels)
        return all(matcher.matches(values.get(matcher.label, "")) for matcher in self.matchers)

    def constrain(self, matchers: Iterable[Matcher]) -> Selector:
        """Add conditions and keep the user's own: a conflict yields the true answer, which is empty.

        Conditions already present are not repeated, so constraining twice changes nothing.
        """
        added = [matcher for matcher in matchers if matcher not in self.matchers]
        return Selector(self.matchers + tuple(added)) if added else self

    def carries(self, matchers: Iterable[Matcher]) -> bool:
        """Tell whether every one of `matchers` is among this selector's conditions."""
        return set(matchers) <= set(self.matchers)

    def split_label(self, label: str) -> tuple[tuple[Matcher, ...], Selector]:
        """Return the conditions on `label`, and the selector without them."""
        on = tuple(m for m in self.matchers if m.label == label)
        return on, Selector(tuple(m for m in self.matchers if m.label != label))


#: Any series at all: a metric without a name does not exist.
ANY = Matcher(NAME, MatchOp.RE, ".+")


def backend_accepts(selector: Selector) -> Selector:
    """Return the selector with a condition that the empty label set does not satisfy, adding one where there is none.

    Backends refuse a selector without one. Source: Prometheus documentation, "Querying basics".

    >>> str(backend_accepts(Selector()).matchers[0])
    '__name__=~".+"'
    """
    if any(not matcher.matches("") for matcher in selector.matchers):
        return selector
    return Selector((ANY, *selector.matchers))


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def quote(text: str) -> str:
    """Print a string literal that PromQL and LogQL read back to the same text.

    >>> quote('say "hi"')
    '"say \\\\"hi\\\\""'
    """
    out = []
    for char in text:
        if char in _ESCAPES:
            out.append(_ESCAPES[char])
        elif ord(char) < 0x20 or ord(char) == 0x7F:
            out.append(f"\\x{ord(char):02x}")
        else:
            out.append(char)
    return '"' + "".join(out) + '"'

"""Which streams a query is about, said so that Loki takes it.

Rule: Loki wants one matcher that no stream without the label satisfies, and `{}`, which remains of `{cluster="prod"}`,
has none. The same streams are then asked for in parts that do not overlap and leave nothing out: those that have a
label, those without it that have another, and so on until no stream is left. There mostly is one part, because Loki
gives every stream a `service_name`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from federation_core.labels import Labels, Matcher, MatchOp, Selector

#: Labels that streams mostly have, the likeliest first.
_LIKELY: Final = ("service_name", "job", "namespace")
_TAKEN: Final = (MatchOp.EQ, MatchOp.RE)


def parts_of(
    selector: Selector,
    label_names: Callable[[], Iterable[str]],
    streams: Callable[[Sequence[Selector]], list[Labels]],
) -> list[Selector]:
    """Return selectors that Loki takes; every stream that `selector` accepts is accepted by exactly one of them.

    `label_names` asks Loki for the names of all labels, `streams` for the streams that any selector accepts; neither
    is asked where the selector is taken as it is.
    """
    firm = [matcher for matcher in selector.matchers if not matcher.matches("")]
    if any(matcher.op in _TAKEN for matcher in firm):
        return [selector]
    if firm:
        return [selector.constrain([_has(firm[0].label)])]
    names = sorted(label_names())
    if not names:
        return []
    first = next((name for name in _LIKELY if name in names), names[0])
    others = [selector.constrain([_lacks(first), _has(name)]) for name in names if name != first]
    left = [labels for labels in (streams(others) if others else ()) if labels and not labels.get(first)]
    parts, lacking = [selector.constrain([_has(first)])], [_lacks(first)]
    while left:
        name = _commonest(left)
        parts.append(selector.constrain([*lacking, _has(name)]))
        lacking.append(_lacks(name))
        left = [labels for labels in left if not labels.get(name)]
    return parts


def _commonest(streams: list[Labels]) -> str:
    counted = Counter(name for labels in streams for name in labels.names())
    return min(counted, key=lambda name: (-counted[name], name))


def _has(name: str) -> Matcher:
    return Matcher(name, MatchOp.RE, ".+")


def _lacks(name: str) -> Matcher:
    return Matcher(name, MatchOp.EQ, "")

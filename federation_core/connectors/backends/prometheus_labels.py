"""Which labels a backend's series have of their own, which decides what its engine may be given.

Rule: an engine may evaluate as if there were no label `cluster` only where no series has it, or where every one has it
with the cluster's own name; and as if there were no replicas only where no series has a label of theirs. What was found
holds for a short time, for a span of time that is somewhat wider than asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from federation_core.connectors.backends.prometheus_api import PrometheusApi, seconds
from federation_core.errors import Malformed, Rejected
from federation_core.labels import CLUSTER, NAME, Matcher, MatchOp, Selector
from federation_core.query import Deadline
from federation_core.signals.metrics.printer import selector_text

#: How long a finding holds: a label that appears is respected after this time.
_HOLDS_S: Final = 60.0
#: Spans are widened to multiples of this, so that the refreshes of a dashboard ask the same.
_ROUND_MS: Final = 600_000
_REMEMBERED: Final = 1024

Key = tuple[str, tuple[Selector, ...], int, int]


@dataclass(slots=True)
class OwnLabels:
    """Knows for some selectors and times which labels are free; safe to use from several threads."""

    api: PrometheusApi
    #: What tells the replicas apart that the backend's series are of.
    replica_labels: tuple[str, ...] = ()
    clock_s: Callable[[], float] = time.monotonic
    _known: dict[Key, tuple[bool, float]] = field(default_factory=dict)

    def is_cluster_free(self, selectors: Sequence[Selector], start_ms: int, end_ms: int, deadline: Deadline) -> bool:
        """Tell whether `cluster` may be attached to whatever is made of these series, as if they did not have it.

        Raises Unreachable, TimedOut, QueryCanceled.
        """

        def ask(asked: Sequence[Selector], start_ms: int, end_ms: int) -> bool:
            values = self._values(CLUSTER, asked, start_ms, end_ms, deadline)
            if not values:
                return True
            if values != [self.api.http.cluster]:
                return False
            without = Matcher(CLUSTER, MatchOp.EQ, "")
            bare = [replace(selector, matchers=(*selector.matchers, without)) for selector in asked]
            return not self._values(NAME, bare, start_ms, end_ms, deadline)

        return self._found(CLUSTER, ask, selectors, start_ms, end_ms)

    def are_replicas_free(self, selectors: Sequence[Selector], start_ms: int, end_ms: int, deadline: Deadline) -> bool:
        """Tell whether no series is a replica's.

        Raises Unreachable, TimedOut, QueryCanceled.
        """

        def ask(asked: Sequence[Selector], start_ms: int, end_ms: int) -> bool:
            return not any(self._values(name, asked, start_ms, end_ms, deadline) for name in self.replica_labels)

        return self._found("replicas", ask, selectors, start_ms, end_ms)

    def _found(
        self,
        question: str,
        ask: Callable[[Sequence[Selector], int, int], bool],
        selectors: Sequence[Selector],
        start_ms: int,
        end_ms: int,
    ) -> bool:
        start_ms = start_ms // _ROUND_MS * _ROUND_MS
        end_ms = -(-end_ms // _ROUND_MS) * _ROUND_MS
        asked = tuple(sorted(set(selectors), key=lambda s: s.matchers))
        key, now_s = (question, asked, start_ms, end_ms), self.clock_s()
        known = self._known.get(key)
        if known is not None and now_s < known[1]:
            return known[0]
        try:
            free = ask(asked, start_ms, end_ms)
        except (Malformed, Rejected):
            # What cannot be proven is not assumed; it is asked again with the next query.
            return False
        if len(self._known) >= _REMEMBERED:
            self._known = {}
        self._known[key] = (free, now_s + _HOLDS_S)
        return free

    def _values(
        self, label: str, selectors: Sequence[Selector], start_ms: int, end_ms: int, deadline: Deadline
    ) -> list[str]:
        fields = [("match[]", selector_text(selector)) for selector in selectors]
        fields += [("start", seconds(start_ms)), ("end", seconds(end_ms))]
        data = self.api.get(f"label/{label}/values", fields, deadline).data
        if not isinstance(data, list):
            raise Malformed("the values of a label are no list", cluster=self.api.http.cluster)
        return [str(value) for value in data if value]

"""The spans seen lately, by trace: who a parent runs in, and whether a span was seen before.

Rule: memory is bounded by generations; what they let go of lies in the store, and is looked up there whenever a
batch reaches back in time far enough to meet it. So a parent is found, and a span sent twice is noticed, also
across restarts and out-of-order files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from federation_core.connectors.otlp.resources import Owner
from federation_core.connectors.otlp.spans import SpanRow

#: Most spans in one of the two generations (about 26 MB of Python objects each).
GENERATION_SPANS: Final = 100_000
GENERATION_MS: Final = 600_000
#: How far outside a batch's own time its parents and repeats are looked for.
SLACK_NS: Final = 300 * 1_000_000_000

#: span id → (who, fingerprint), for one trace.
Known = dict[str, tuple[Owner, int]]
#: One span as read back from a store.
Stored = tuple[str, str, Owner, int]
#: (traces, earliest ns, latest ns) → the spans of these traces that the store holds around that time.
LookUp = Callable[[list[str], int, int], Iterable[Stored]]


def fingerprint(name: str, start_ns: int, duration_ns: int) -> int:
    """Return what makes two spans with one id the same span: name, start and duration."""
    return hash((name, start_ns, duration_ns))


class SpanIndex:
    """Two generations of spans in memory, the store behind them.

    `stored_max_ns` is the end of the latest span the store already holds, 0 for an empty store.
    """

    def __init__(self, look_up: LookUp, stored_max_ns: int) -> None:
        self._look_up = look_up
        self._young: dict[str, Known] = {}
        self._old: dict[str, Known] = {}
        self._young_spans = 0
        self._young_max_ns = 0
        self._old_max_ns = 0
        #: Spans up to here may be in the store only.
        self._unseen_max_ns = stored_max_ns
        self._young_since_ms: int | None = None

    def __len__(self) -> int:
        return sum(map(len, self._young.values())) + sum(map(len, self._old.values()))

    def add(self, rows: Iterable[SpanRow]) -> list[SpanRow]:
        """Remember a batch; return the spans that were not known already."""
        rows = list(rows)
        if not rows:
            return []
        self._recall(rows)
        fresh: list[SpanRow] = []
        for row in rows:
            known = self._young.get(row.trace_id)
            if known is None:
                # A trace still in use moves to the young generation whole.
                known = self._young[row.trace_id] = self._old.pop(row.trace_id, {})
                self._young_spans += len(known)
            print_ = fingerprint(row.name, row.start_ns, row.duration_ns)
            seen = known.get(row.span_id)
            if seen is not None and seen == (row.resource.owner, print_):
                continue
            known[row.span_id] = (row.resource.owner, print_)
            fresh.append(row)
        self._young_spans += len(fresh)
        self._young_max_ns = max(self._young_max_ns, max(row.start_ns + row.duration_ns for row in rows))
        if self._young_spans > GENERATION_SPANS:
            self._turn()
        return fresh

    def owner_of(self, trace_id: str, span_id: str) -> Owner | None:
        """Return who a span runs in, None where it is not known."""
        known = self._young.get(trace_id) or self._old.get(trace_id)
        found = known.get(span_id) if known else None
        return found[0] if found else None

    def age(self, now_ms: int) -> None:
        """Let go of what is older than two generations' time; called while live."""
        if self._young_since_ms is None:
            self._young_since_ms = now_ms
        elif now_ms - self._young_since_ms > GENERATION_MS:
            self._turn()
            self._young_since_ms = now_ms

    def _turn(self) -> None:
        self._unseen_max_ns = max(self._unseen_max_ns, self._old_max_ns)
        self._old, self._old_max_ns = self._young, self._young_max_ns
        self._young, self._young_spans, self._young_max_ns = {}, 0, 0

    def _recall(self, rows: list[SpanRow]) -> None:
        """Bring back from the store what a batch may refer to and memory has lost."""
        first_ns = min(row.start_ns for row in rows) - SLACK_NS
        if first_ns > self._unseen_max_ns:
            return
        last_ns = max(row.start_ns + row.duration_ns for row in rows) + SLACK_NS
        for trace_id, span_id, owner, print_ in self._look_up(list({row.trace_id for row in rows}), first_ns, last_ns):
            known = self._young.setdefault(trace_id, self._old.pop(trace_id, {}))
            if span_id not in known:
                known[span_id] = (owner, print_)
                self._young_spans += 1

"""Metrics derived from spans and logs: requests and latency per operation, calls per edge, log records per level.

Rule: only entry spans count: roots, and spans whose parent runs in another pod or service instance. Children arrive
before their parents, so a span is judged when its parent is known, or when it is certain not to come; each entry
span counts exactly once. `docs/embedded-store.md` is the written form of everything here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

import msgpack
import numpy as np

from federation_core.connectors.otlp.derive_counters import STEP_MS, Array, Counters, Key, step_of_ms
from federation_core.connectors.otlp.derive_index import LookUp, SpanIndex
from federation_core.connectors.otlp.derive_series import (
    LOG_WIDTH,
    REMOTE,
    SPAN_WIDTH,
    series_numbers,
    series_values,
    span_row,
)
from federation_core.connectors.otlp.logs import LogRow
from federation_core.connectors.otlp.resources import Owner
from federation_core.connectors.otlp.samples import sample_columns
from federation_core.connectors.otlp.spans import ERROR, SpanRow
from federation_core.connectors.stores.segments_layout import Columns
from federation_core.connectors.stores.segments_series import SeriesTable

#: Kinds that start in another process: without a parent at hand, the parent is remote.
_FROM_ELSEWHERE: Final = frozenset({"server", "consumer"})
#: How long any other span waits for a parent that has not come.
HOLD_STEPS: Final = 60_000 // STEP_MS
#: Most spans that wait for a parent; beyond it the longest waiting are judged.
MAX_HELD: Final = 200_000
#: Most sums that wait for their step; beyond it an import closes the older half.
MAX_PENDING: Final = 200_000
#: Samples of one stage of closing, at most (but for one step).
STAGE_SAMPLES: Final = 500_000
_STATE_VERSION: Final = 1
FOREVER: Final = 2**62


class Held(NamedTuple):
    """A span whose parent is not known yet."""

    parent_id: str
    owner: Owner
    name: str
    kind: str
    step: int
    duration_ns: int
    failed: bool


class Derivation:
    """The derived metrics of one store; its state goes through `dump` and `load`."""

    def __init__(self, series: SeriesTable, look_up: LookUp, stored_max_ns: int) -> None:
        self._series = series
        self._index = SpanIndex(look_up, stored_max_ns)
        self._spans = Counters(SPAN_WIDTH)
        self._logs = Counters(LOG_WIDTH)
        self._held: dict[str, list[Held]] = {}
        self._held_count = 0
        self._numbers: dict[Key, Array] = {}
        self._generation = series.generation

    def add_spans(self, rows: Iterable[SpanRow]) -> list[SpanRow]:
        """Count a batch of spans; return those that were not in the store already."""
        fresh = self._index.add(rows)
        for row in fresh:
            step = step_of_ms(-(-(row.start_ns + row.duration_ns) // 1_000_000))
            failed = row.status == ERROR
            held = Held(row.parent_id, row.resource.owner, row.name, row.kind, step, row.duration_ns, failed)
            if not self._judge(row.trace_id, held):
                self._held.setdefault(row.trace_id, []).append(held)
                self._held_count += 1
        # A parent may stand behind its child in the batch, or come a batch later.
        for trace_id in {row.trace_id for row in fresh}.intersection(self._held):
            self._settle(trace_id, partial(self._judge, trace_id))
        if self._held_count > MAX_HELD:
            self._release_oldest()
        return fresh

    def add_logs(self, rows: Iterable[LogRow]) -> None:
        """Count a batch of log records."""
        for row in rows:
            step = step_of_ms(-(-row.t_ns // 1_000_000))
            self._logs.add(("log", row.resource.owner.service, row.level), step, (1.0,))

    def touch(self, steps: Iterable[int]) -> None:
        """Note for which steps telemetry of any kind arrived: counters go on flat there and five minutes on."""
        for step in steps:
            self._spans.touch(step)
            self._logs.touch(step)

    @property
    def crowded_step(self) -> int | None:
        """A step up to which an import must close to stay within its memory; None while there is room."""
        return self._spans.middle_step() if self._spans.pending > MAX_PENDING else None

    def judge_orphans(self, until_step: int, *, everything: bool = False) -> None:
        """Judge spans whose parent has not come as called from elsewhere, before their step closes.

        At once if their kind says so or `everything` is to be closed, else once they have waited a minute.
        """
        for trace_id in list(self._held):
            self._settle(trace_id, partial(self._overdue, until_step, everything))

    @property
    def last_waiting_step(self) -> int:
        """The latest step with counts in it that is still open; 0 where there is none."""
        return max(self._spans.last_waiting_step, self._logs.last_waiting_step)

    def stages(self, until_step: int) -> list[int]:
        """Return steps to close one after the other, so that a long stretch is not one large batch of samples."""
        live = sorted({*self._spans.live_steps(until_step).tolist(), *self._logs.live_steps(until_step).tolist()})
        per_step = 1 + len(self._spans.keys) * (SPAN_WIDTH + 2) + len(self._logs.keys)
        stride = max(1, STAGE_SAMPLES // per_step)
        return [*live[stride - 1 : -1 : stride], until_step]

    def close(self, until_step: int) -> Iterator[Columns]:
        """Close all steps up to `until_step` and yield the samples due; the iterator must be used up."""
        self._index.age(until_step * STEP_MS)
        for counters in (self._spans, self._logs):
            names = list(counters.keys)
            for steps, keys, rows in counters.close(until_step):
                yield from self._columns(names, steps, keys, rows)

    def forget_idle(self, before_ms: int) -> None:
        """Drop counters that have not risen since before the retention."""
        for counters in (self._spans, self._logs):
            counters.forget_idle(step_of_ms(before_ms))
        alive = self._spans.keys | self._logs.keys
        self._numbers = {key: numbers for key, numbers in self._numbers.items() if key in alive}

    def _judge(self, trace_id: str, held: Held) -> bool:
        """Count a span if its parent is known; tell whether it was."""
        if not held.parent_id:
            self._count(held, None)
            return True
        parent = self._index.owner_of(trace_id, held.parent_id)
        if parent is None:
            return False
        if not parent.same_pod(held.owner):
            self._count(held, parent.service)
        elif (parent.service, parent.instance) != (held.owner.service, held.owner.instance):
            self._count(held, None)
        return True

    def _overdue(self, until_step: int, everything: bool, held: Held) -> bool:
        patience = 0 if everything or held.kind in _FROM_ELSEWHERE else HOLD_STEPS
        if held.step + patience > until_step:
            return False
        self._count(held, REMOTE)
        return True

    def _count(self, held: Held, client: str | None) -> None:
        """Count an entry span, and the call along its edge if a client called it from another pod."""
        row = span_row(held.duration_ns, held.failed)
        owner = held.owner
        self._spans.add(("http", owner.namespace, owner.service, owner.pod, held.name), held.step, row)
        if client is not None:
            self._spans.add(("edge", client, owner.service), held.step, row)

    def _settle(self, trace_id: str, done: Callable[[Held], bool]) -> None:
        """Drop the held spans of a trace for which `done` is true."""
        waiting = self._held[trace_id]
        left = [held for held in waiting if not done(held)]
        self._held_count -= len(waiting) - len(left)
        if left:
            self._held[trace_id] = left
        else:
            del self._held[trace_id]

    def _release_oldest(self) -> None:
        """Judge the half of the held spans that has waited longest; insertion order is order of arrival."""
        for trace_id in list(self._held):
            if self._held_count <= MAX_HELD // 2:
                return
            self._settle(trace_id, partial(self._overdue, FOREVER, True))

    def _columns(self, names: list[Key], steps: Array, keys: Array, rows: Array) -> Iterator[Columns]:
        """Turn counter values into samples, family by family (they differ in their series)."""
        if self._generation != self._series.generation:
            self._numbers.clear()
            self._generation = self._series.generation
        families = np.array([name[0] for name in names], dtype=object)[keys]
        for family in set(families.tolist()):
            mine = families == family
            used, where = np.unique(keys[mine], return_inverse=True)
            numbers = np.stack([self._number(names[key]) for key in used])[where]
            values = series_values(family, rows[mine])
            times_ms = np.repeat(steps[mine] * STEP_MS, values.shape[1])
            yield sample_columns(numbers.ravel().astype(np.uint32), times_ms, values.ravel())

    def _number(self, key: Key) -> Array:
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = series_numbers(self._series, key)
        return found

    def dump(self) -> dict[str, Any]:
        """Return what must survive a restart, as msgpack values."""
        return {
            "v": _STATE_VERSION,
            "spans": self._spans.dump(),
            "logs": self._logs.dump(),
            "held": [[trace_id, *held] for trace_id, waiting in self._held.items() for held in waiting],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `dump` returned."""
        self._spans.load(state["spans"])
        self._logs.load(state["logs"])
        for trace_id, parent_id, owner, *rest in state["held"]:
            self._held.setdefault(trace_id, []).append(Held(parent_id, Owner(*owner), *rest))
            self._held_count += 1


def pack(state: dict[str, Any]) -> bytes:
    """Return state as bytes."""
    packed: bytes = msgpack.packb(state)
    return packed


def unpack(content: bytes) -> dict[str, Any]:
    """Read state back.

    Raises ValueError: it is damaged, or written by a later release.
    """
    state = msgpack.unpackb(content)
    version = state.get("v") if isinstance(state, dict) else None
    if version != _STATE_VERSION:
        raise ValueError(f"it is of version {version!r}, this release reads {_STATE_VERSION}")
    found: dict[str, Any] = state
    return found

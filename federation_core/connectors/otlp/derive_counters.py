"""Cumulative counters on a grid of steps: increments in, samples out.

Rule: every increment is in exactly one sample's rise. It counts in the step its event ended in, or, when that step is
written already, in the first one still open. A counter starts with a zero one step before its first rise and goes
on flat while telemetry arrives; after a silence it resumes one step early, so that `rate` and `increase` see all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

STEP_MS: Final = 15_000
#: Steps a counter goes on flat after the last telemetry: five minutes.
LIVE_STEPS: Final = 300_000 // STEP_MS
#: Increments kept as they came before they are summed per step and key.
COMPACT_AT: Final = 50_000
#: Counter values handed on at a time; bounds the memory of closing many steps at once.
CHUNK_VALUES: Final = 400_000
_KEY_BITS: Final = 24

Array = np.ndarray[Any, np.dtype[Any]]
#: A counter's identity, as JSON values.
Key = tuple[str, ...]


def step_of_ms(t_ms: int) -> int:
    """Return the step an instant belongs to: step n covers (n - 1, n] × 15 s."""
    return -(-t_ms // STEP_MS)


class Counters:
    """Counters of one kind of event, each `width` values wide."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.keys: dict[Key, int] = {}
        self.closed_step: int | None = None
        self._sums = np.zeros((0, width))
        self._first = np.zeros(0, dtype=np.int64)
        self._last = np.zeros(0, dtype=np.int64)
        self._emitted_step = -1
        self._activity: set[int] = set()
        #: Sums by (step << 24 | key), and increments not yet summed.
        self._codes = np.zeros(0, dtype=np.int64)
        self._rows = np.zeros((0, width))
        self._fresh: list[tuple[int, int]] = []
        self._fresh_rows: list[tuple[float, ...]] = []

    @property
    def pending(self) -> int:
        """Number of increments, or of sums of them, that wait for their step to close."""
        return len(self._codes) + len(self._fresh)

    def touch(self, step: int) -> None:
        """Note that telemetry arrived for a step."""
        self._activity.add(self._open(step))

    def add(self, key: Key, step: int, row: tuple[float, ...]) -> None:
        """Count one event that ended in `step`; `row` is its increment of each value."""
        index = self.keys.get(key)
        if index is None:
            index = self.keys[key] = len(self.keys)
        step = self._open(step)
        self._activity.add(step)
        self._fresh.append((step, index))
        self._fresh_rows.append(row)
        if len(self._fresh) >= COMPACT_AT:
            self._compact()

    @property
    def last_waiting_step(self) -> int:
        """The latest step with increments that wait; 0 where none do."""
        self._compact()
        return int(self._codes[-1]) >> _KEY_BITS if len(self._codes) else 0

    def middle_step(self) -> int | None:
        """Return the median step that waits, None where nothing does."""
        self._compact()
        return int(np.median(self._codes >> _KEY_BITS)) if len(self._codes) else None

    def _open(self, step: int) -> int:
        return step if self.closed_step is None or step > self.closed_step else self.closed_step + 1

    def _compact(self) -> None:
        if not self._fresh:
            return
        fresh = np.array(self._fresh, dtype=np.int64)
        codes = np.concatenate([self._codes, (fresh[:, 0] << _KEY_BITS) | fresh[:, 1]])
        rows = np.concatenate([self._rows, np.array(self._fresh_rows, dtype=np.float64)])
        self._codes, where = np.unique(codes, return_inverse=True)
        self._rows = np.zeros((len(self._codes), self.width))
        np.add.at(self._rows, where, rows)
        self._fresh.clear()
        self._fresh_rows.clear()

    def close(self, until_step: int) -> Iterator[tuple[Array, Array, Array]]:
        """Close all steps up to `until_step`; yield (steps, key indices, values: N × width) of the samples due.

        Steps without telemetry near them yield nothing, so a jump of the clock costs nothing.
        """
        self._compact()
        due = (self._codes >> _KEY_BITS) <= until_step
        codes, rows = self._codes[due], self._rows[due]
        self._codes, self._rows = self._codes[~due], self._rows[~due]
        self._admit(codes)
        steps = self.live_steps(until_step)
        if len(steps) and self.keys:
            yield from self._samples(steps, codes, rows)
        if self.closed_step is None or until_step > self.closed_step:
            # Before its first event a kind of counter has no grid: an import of logs may follow one of traces.
            if self.closed_step is not None or self.keys:
                self.closed_step = until_step
            self._activity = {step for step in self._activity if step > until_step - LIVE_STEPS}

    def _admit(self, codes: Array) -> None:
        """Note the first and last step of every key that counts; `codes` are in ascending order of step."""
        grown = len(self.keys) - len(self._first)
        if grown:
            self._sums = np.concatenate([self._sums, np.zeros((grown, self.width))])
            self._first = np.concatenate([self._first, np.full(grown, np.iinfo(np.int64).max)])
            self._last = np.concatenate([self._last, np.full(grown, -1)])
        steps, keys = codes >> _KEY_BITS, codes & ((1 << _KEY_BITS) - 1)
        np.minimum.at(self._first, keys, steps)
        np.maximum.at(self._last, keys, steps)

    def live_steps(self, until_step: int) -> Array:
        """Return the steps to write, ascending: those with telemetry in them or up to five minutes before."""
        after = -1 if self.closed_step is None else self.closed_step
        live: set[int] = set()
        for step in sorted(self._activity):
            live.update(range(max(step, after + 1), min(step + LIVE_STEPS, until_step) + 1))
        return np.array(sorted(live), dtype=np.int64)

    def _samples(self, steps: Array, codes: Array, rows: Array) -> Iterator[tuple[Array, Array, Array]]:
        starts = np.flatnonzero(np.diff(steps, prepend=-2) > 1)
        # A run of steps is preceded by one more, on which counters are still what they were before it.
        leading = steps[starts] - 1
        axis = np.insert(steps, starts, leading)
        is_leading = np.zeros(len(axis), dtype=bool)
        is_leading[starts + np.arange(len(starts))] = True
        count = len(self._first)
        chunk = max(1, CHUNK_VALUES // max(1, count * self.width))
        for begin in range(0, len(axis), chunk):
            part, lead = axis[begin : begin + chunk], is_leading[begin : begin + chunk]
            within = np.isin(codes >> _KEY_BITS, part[~lead])
            place = np.searchsorted(part, codes[within] >> _KEY_BITS)
            # Runs lie at least two steps apart, so a leading step is on the axis once and `place` is exact.
            values = np.zeros((len(part), count, self.width))
            values[place, codes[within] & ((1 << _KEY_BITS) - 1)] = rows[within]
            values[0] += self._sums
            values = np.cumsum(values, axis=0)
            self._sums = values[-1].copy()
            due = part[:, None] >= self._first[None, :] - 1
            repeated = lead & (part == self._emitted_step)
            due[repeated] &= (self._first == self._emitted_step + 1)[None, :]
            which, keys = np.nonzero(due)
            if len(which):
                yield part[which], keys, values[which, keys]
        self._emitted_step = int(steps[-1])

    def forget_idle(self, before_step: int) -> bool:
        """Drop counters whose last rise is before a step; tell whether any went (key indices then change)."""
        self._compact()
        waiting = set((self._codes & ((1 << _KEY_BITS) - 1)).tolist())
        known = len(self._first)
        kept = [
            (key, old)
            for key, old in self.keys.items()
            if old >= known or old in waiting or self._last[old] >= before_step
        ]
        if len(kept) == len(self.keys):
            return False
        renumbered = {old: new for new, (_, old) in enumerate(kept)}
        self.keys = {key: renumbered[old] for key, old in kept}
        rows = [old for _, old in kept if old < known]
        self._sums, self._first, self._last = self._sums[rows], self._first[rows], self._last[rows]
        if len(self._codes):
            keys = np.array([renumbered[int(code & ((1 << _KEY_BITS) - 1))] for code in self._codes], dtype=np.int64)
            self._codes = (self._codes >> _KEY_BITS << _KEY_BITS) | keys
        return True

    def dump(self) -> dict[str, Any]:
        """Return the whole state as msgpack values."""
        self._compact()
        return {
            "keys": [list(key) for key in self.keys],
            "closed": self.closed_step,
            "emitted": self._emitted_step,
            "activity": sorted(self._activity),
            "sums": self._sums.tobytes(),
            "first": self._first.tobytes(),
            "last": self._last.tobytes(),
            "codes": self._codes.tobytes(),
            "rows": self._rows.tobytes(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `dump` returned."""
        self.keys = {tuple(key): index for index, key in enumerate(state["keys"])}
        self.closed_step, self._emitted_step = state["closed"], state["emitted"]
        self._activity = set(state["activity"])
        self._sums = np.frombuffer(state["sums"]).reshape(-1, self.width).copy()
        self._first = np.frombuffer(state["first"], dtype=np.int64).copy()
        self._last = np.frombuffer(state["last"], dtype=np.int64).copy()
        self._codes = np.frombuffer(state["codes"], dtype=np.int64).copy()
        self._rows = np.frombuffer(state["rows"]).reshape(-1, self.width).copy()

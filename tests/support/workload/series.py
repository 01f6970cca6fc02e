"""Six clusters' series for a list of expressions, so that they have something to answer with.

The same list gives the same series. Every sample is off the steps of the queries, as in lab_data, so that left-open and
left-closed windows agree; and counters begin high, as in high_counters. Planted on purpose: lost scrapes, counter
resets, series that have ended, NaN, and clusters that have nothing for an expression.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from federation_core.labels import NAME, Labels, Matcher, MatchOp, Selector
from federation_core.signals.metrics.expr import Expr
from tests.support.sample_store import Series
from tests.support.workload.label_rows import accepted_clusters, accepts, rows_of
from tests.support.workload.schemas import BOUND, GIVEN, Schemas
from tests.support.workload.wishes import Use, Wish, uses_of

T0_S = 1_790_006_400
STEP_S, SCRAPES = 25, 80
#: When the queries are asked, at the latest.
NOW_S = T0_S + STEP_S * (SCRAPES - 4)
CLUSTERS = tuple(f"cluster-{number}" for number in range(1, 7))
#: Rows an expression gets with what it wishes for, rows tried for that, and rows it gets in any case.
_WISHED, _TRIED, _LEAST = 3, 4, 2
_MISSING = 0.15
_COUNTED = frozenset({"rate", "irate", "increase"})
#: How fast counters grow a second, and how large gauges are.
_MAGNITUDES = (0.0, 0.04, 1.0, 1.0, 3.0, 7.0, 40.0, 2e3)
_NO_WISH = Wish()


@dataclass(frozen=True)
class Metric:
    """A metric's name, the labels that conditions name, the functions directly around it."""

    name: str
    labels: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()


@dataclass
class _Making:
    """The series that are being made: by cluster and labels, what was wished of them."""

    schemas: Schemas
    counters: frozenset[str]
    #: What several series of a metric must not be alike in, None: in nothing at all; see `Use`.
    seen: dict[str, frozenset[str] | None] = field(default_factory=dict)
    rows: dict[str, dict[Labels, Wish]] = field(default_factory=lambda: {name: {} for name in CLUSTERS})

    def look_at(self, use: Use) -> None:
        name = use.selector.name
        kept = self.seen.get(name, frozenset())
        self.seen[name] = None if kept is None or use.seen is None else kept | use.seen

    def add(self, uses: Sequence[Use], rng: random.Random) -> None:
        """Add rows that the selectors hit: with what is wished of them, where nobody else has a say.

        Clusters that the selectors reject have such rows too, so that it matters that they are rejected.
        """
        asked = [use.selector for use in uses]
        able = accepted_clusters(asked, CLUSTERS) or list(CLUSTERS)
        rejected = [name for name in CLUSTERS if name not in able]
        chosen = [able[0], *rng.sample(able[1:], rng.randrange(len(able)))]
        others = rng.sample(rejected, min(2, len(rejected)))
        wished = 0
        for number in range(_TRIED):
            rows = rows_of(asked, self.schemas, number)
            labelled = [
                (use, Labels.of({NAME: use.selector.name, **row}))
                for use, row in zip(uses, rows, strict=True)
                if row is not None
            ]
            for cluster in (*chosen, *others):
                granted = cluster in able and wished < _WISHED and self._has_room(cluster, labelled)
                wished += granted
                if granted or number < _LEAST:
                    # Away from the first cluster something may be missing, unless it is needed.
                    there = [one for one in labelled if granted or cluster == able[0] or rng.random() >= _MISSING]
                    self._put(cluster, [*there, *self._siblings(there, rng)], number, granted)

    def _siblings(self, labelled: Sequence[tuple[Use, Labels]], rng: random.Random) -> Iterator[tuple[Use, Labels]]:
        """Yield series that differ from a row's in what nobody looks at: sums and averages are then of several."""
        for use, labels in labelled:
            seen = self.seen[use.selector.name]
            if seen is None:
                continue
            free = [
                name
                for name in labels.names()
                if name != NAME and name not in seen and accepts(use.selector, name, f"{name}-5")
            ]
            # How many there are differs from cluster to cluster, or an average of averages would be right.
            for _ in range(rng.randrange(3) if free else 0):
                name = rng.choice(free)
                yield use, labels.with_label(name, f"{name}-{rng.randrange(5, 8)}")

    def _has_room(self, cluster: str, labelled: Sequence[tuple[Use, Labels]]) -> bool:
        """Tell whether all wishes of an expression can be granted here."""
        granted: dict[Labels, Wish] = {}
        for use, labels in labelled:
            if use.wish.hidden or use.wish.value is None:
                continue
            there = self.rows[cluster].get(labels, granted.get(labels, use.wish))
            if there != use.wish:
                return False
            granted[labels] = use.wish
        return True

    def _put(self, cluster: str, labelled: Sequence[tuple[Use, Labels]], number: int, granted: bool) -> None:
        kept = self.rows[cluster]
        for use, labels in labelled:
            if use.wish.hidden and not number:
                continue
            wish = use.wish if granted and not use.wish.hidden else _NO_WISH
            if kept.get(labels, _NO_WISH) == _NO_WISH:
                kept[labels] = wish

    def series_of(self, cluster: str, labels: Labels, wish: Wish) -> Iterator[Series]:
        """Yield a row's series: one, or one per bucket."""
        rng = random.Random(f"{cluster}/{labels}")
        phase_ms = 1000 * rng.randrange(STEP_S - 1) + rng.randrange(1, 1000)
        # What nobody wishes for may have ended long before the query.
        ended = rng.randrange(10, SCRAPES - 20) if wish == _NO_WISH and rng.random() < 0.03 else SCRAPES
        scrapes = [i for i in range(ended) if rng.random() >= 0.004]
        times_ms = [(T0_S + i * STEP_S) * 1000 + phase_ms for i in scrapes]
        for added, values in self._values(labels.get(NAME), wish, rng):
            yield Labels.of([*labels, *added]), times_ms, [values[i] for i in scrapes]

    def _values(self, name: str, wish: Wish, rng: random.Random) -> Iterator[tuple[list[tuple[str, str]], list[float]]]:
        slope = rng.choice(_MAGNITUDES) if wish.value is None else wish.value
        if self.schemas.has_bounds(name):
            bounds, reached = self.schemas.bounds_of(name), [0.0] * SCRAPES
            slope, reset = slope if wish.per_second else rng.choice(_MAGNITUDES), rng.randrange(SCRAPES * 5)
            for bound in bounds:
                more = _rising(rng, slope / len(bounds), reset)
                reached = [old + new for old, new in zip(reached, more, strict=True)]
                yield [(BOUND, bound)], reached
        elif wish.per_second or (name in self.counters and wish.value is None):
            reset = rng.randrange(SCRAPES * 5) if name in self.counters else 0
            yield [], _rising(rng, slope or float(wish.changing), reset)
        elif wish.changing:
            yield [], [float(rng.randrange(3)) for _ in range(SCRAPES)]
        elif wish.value is not None:
            yield [], [wish.value] * SCRAPES
        else:
            yield [], _wandering(rng, slope)


def _rising(rng: random.Random, slope: float, reset: int) -> list[float]:
    """Return a counter's values; it begins, and begins again, far above what it grows by in any window."""
    growth = slope * STEP_S
    value, values = 10 * SCRAPES * growth, []
    for i in range(SCRAPES):
        value = (2 * SCRAPES * growth if i and i == reset else value) + growth * rng.uniform(0.8, 1.2)
        values.append(value)
    return values


def _wandering(rng: random.Random, size: float) -> list[float]:
    value, values = 0.0, []
    nan_from = rng.randrange(SCRAPES * 20)
    for i in range(SCRAPES):
        value = max(0.0, value + rng.choice((-1, 0, 0, 1, 2)))
        values.append(math.nan if nan_from <= i < nan_from + 6 else size * value)
    return values


def stores_for(exprs: Sequence[Expr], metrics: Sequence[Metric] = ()) -> dict[str, list[Series]]:
    """Return six clusters' series, without the label `cluster`: every metric has some, and what is asked meets them."""
    schemas = Schemas.of(exprs)
    making = _Making(schemas, frozenset(metric.name for metric in metrics if metric.functions & _COUNTED))
    for metric in metrics:
        schemas.labels[metric.name] |= metric.labels - GIVEN
    asked = [uses for expr in exprs if (uses := uses_of(expr, NOW_S))]
    for use in (use for uses in asked for use in uses):
        making.look_at(use)
    for number, uses in enumerate(asked):
        making.add(uses, random.Random(f"workload/{number}"))
    made = {labels.get(NAME) for rows in making.rows.values() for labels in rows}
    for metric in metrics:
        if metric.name not in made:
            use = _use_of(metric)
            making.look_at(use)
            making.add([use], random.Random(f"workload/{metric.name}"))
    return {
        cluster: [one for labels, wish in rows.items() for one in making.series_of(cluster, labels, wish)]
        for cluster, rows in making.rows.items()
    }


def _use_of(metric: Metric) -> Use:
    """Return a metric by itself, with conditions that accept anything: its rows have its labels and no more wishes."""
    conditions = tuple(Matcher(label, MatchOp.RE, ".*") for label in sorted(metric.labels))
    return Use(Selector((Matcher(NAME, MatchOp.EQ, metric.name), *conditions)), _NO_WISH, frozenset())

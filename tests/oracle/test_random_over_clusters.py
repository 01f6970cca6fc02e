"""Random queries over everything: clusters, put together, answer as the engine does that holds all their series.

The queries are those that Prometheus itself is asked in test_random_against_prometheus; what one engine answers is
held against it there. The series are cut over two to six clusters anew in every run, and their parts arrive in any
order. Every run draws a new seed and names it; `APPSENTRY_SEED=…` repeats a run.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from federation_core.errors import FederationError, QueryExecutionError
from federation_core.labels import Labels
from federation_core.query import TimeRange
from federation_core.signals.metrics.prometheus_json import to_json
from tests.conftest import Say
from tests.oracle.answers import Answer, Engine, Outcome, Refusal, difference, read_data
from tests.oracle.random_net import Mismatch, drawn, shrink
from tests.support.random_queries import PROMETHEUS_3, Tree
from tests.support.sample_store import Series, federate

pytestmark = pytest.mark.heavy
QUERIES = int(os.environ.get("APPSENTRY_RANDOM_QUERIES", "2000"))
SEED = int(os.environ.get("APPSENTRY_SEED", random.SystemRandom().randrange(2**32)))
RERUN = f"APPSENTRY_SEED={SEED}"
WAYS = (2, 3, 4, 5, 6)

Stores = Mapping[str, Sequence[Series]]


def cut(stores: Stores, ways: int, rng: random.Random) -> dict[str, list[Series]]:
    """Deal all series to so many clusters at random; of equal label sets each cluster gets one at most."""
    names = rng.sample(sorted(stores), ways)
    held: dict[str, dict[Labels, Series]] = {name: {} for name in names}
    for series in (series for kept in stores.values() for series in kept):
        free = [name for name in names if series[0] not in held[name]]
        if free:
            held[rng.choice(free)][series[0]] = series
    return {name: list(kept.values()) for name, kept in held.items()}


def federated(text: str, stores: Stores, asked: TimeRange, order: Sequence[str]) -> Outcome:
    try:
        return read_data(to_json(federate(text, stores, asked, order)[0]))
    except QueryExecutionError as exc:
        return Refusal("execution", exc.message)
    except FederationError as exc:
        return Refusal(type(exc).__name__, exc.message)


@pytest.mark.parametrize("ways", WAYS)
def test_clusters_answer_as_one_engine(ways: int, stores: Stores, say: Say) -> None:
    rng, told, queries = random.Random(f"{SEED}/{ways}"), Counter[str](), -(-QUERIES // len(WAYS))
    shares = cut(stores, ways, rng)
    engine = Engine.over(shares)

    def compare(tree: Tree, asked: TimeRange) -> str:
        text, order = tree.text(PROMETHEUS_3), rng.sample(sorted(shares), ways)
        want, got = engine.answer(text, asked), federated(text, shares, asked, order)
        if isinstance(want, Refusal) and want.kind == "execution" and isinstance(got, Answer):
            # What nobody evaluates raises no error (docs/merge-semantics.md, "Exactness"): an answer is then allowed.
            told["answered where one engine refuses"] += 1
            return ""
        told["refused" if isinstance(want, Refusal) else "empty" if want.is_empty else "answered"] += 1
        return difference(got, want, chosen=tree.facts.chosen)

    different = [Mismatch(tree, asked, how) for tree, asked in drawn(rng, queries) if (how := compare(tree, asked))]
    say(f"{RERUN}, {queries} queries over {ways} clusters: {dict(told)}")
    assert told["answered"] >= 0.6 * queries, RERUN
    assert told["answered where one engine refuses"] <= 0.02 * queries, RERUN
    shown = "\n".join(str(shrink(found, compare)) for found in different[:5])
    assert not different, f"{RERUN}: {len(different)} of {queries} are answered differently, the first ones:\n{shown}"

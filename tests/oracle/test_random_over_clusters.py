"""Random queries over everything: six clusters, put together, answer as the engine does that holds all their series.

The queries are those that Prometheus itself is asked in test_random_against_prometheus; what one engine answers is
held against it there. Every run draws a new seed and names it; `APPSENTRY_SEED=…` repeats a run.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from federation_core.errors import FederationError, QueryExecutionError
from federation_core.query import TimeRange
from federation_core.signals.metrics.prometheus_json import to_json
from tests.oracle.answers import Answer, Engine, Outcome, Refusal, difference, read_data
from tests.oracle.random_net import Mismatch, drawn, shrink
from tests.support.random_queries import PROMETHEUS_3, Tree
from tests.support.sample_store import Series, federate

pytestmark = pytest.mark.heavy
QUERIES = int(os.environ.get("APPSENTRY_RANDOM_QUERIES", "1000"))
SEED = int(os.environ.get("APPSENTRY_SEED", random.SystemRandom().randrange(2**32)))
RERUN = f"APPSENTRY_SEED={SEED}"


def federated(text: str, stores: Mapping[str, Sequence[Series]], asked: TimeRange) -> Outcome:
    try:
        return read_data(to_json(federate(text, stores, asked)[0]))
    except QueryExecutionError as exc:
        return Refusal("execution", exc.message)
    except FederationError as exc:
        return Refusal(type(exc).__name__, exc.message)


def test_six_clusters_answer_as_one_engine(
    stores: Mapping[str, Sequence[Series]], capsys: pytest.CaptureFixture[str]
) -> None:
    engine, rng, told = Engine.over(stores), random.Random(SEED), Counter[str]()

    def compare(tree: Tree, asked: TimeRange) -> str:
        text = tree.text(PROMETHEUS_3)
        want, got = engine.answer(text, asked), federated(text, stores, asked)
        if isinstance(want, Refusal) and want.kind == "execution" and isinstance(got, Answer):
            # What nobody evaluates raises no error (docs/merge-semantics.md, "Exactness"): an answer is then allowed.
            told["answered where one engine refuses"] += 1
            return ""
        told["refused" if isinstance(want, Refusal) else "empty" if want.is_empty else "answered"] += 1
        return difference(got, want, chosen=tree.facts.chosen)

    different = [Mismatch(tree, asked, how) for tree, asked in drawn(rng, QUERIES) if (how := compare(tree, asked))]
    with capsys.disabled():
        print(f"\n{RERUN}, {QUERIES} queries over six clusters: {dict(told)}")
    assert told["answered"] >= 0.7 * QUERIES, RERUN
    assert told["answered where one engine refuses"] <= 0.02 * QUERIES, RERUN
    shown = "\n".join(str(shrink(found, compare)) for found in different[:5])
    assert not different, f"{RERUN}: {len(different)} of {QUERIES} are answered differently, the first ones:\n{shown}"

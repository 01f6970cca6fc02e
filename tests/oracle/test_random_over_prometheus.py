"""Random queries over six real Prometheus servers, put together, answer as the one that holds all their samples.

Once their engines are given all they answer exactly, and once nothing but selectors: what is pushed is then held
against Prometheus itself, and so are the selections and samples that our engine works on. Every other cluster's series
have a label `cluster` of their own already, which says the same. Every run draws a new seed
and names it; `APPSENTRY_SEED=…` repeats a run.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from federation_core.connectors import Connector
from federation_core.errors import FederationError, QueryExecutionError
from federation_core.query import TimeRange
from federation_core.signals.metrics.prometheus_json import to_json
from tests.conftest import Say
from tests.oracle.answers import Answer, Outcome, Refusal, difference, read, read_data
from tests.oracle.random_net import Mismatch, drawn
from tests.support.connected import federate_over
from tests.support.prometheus_lab import lab
from tests.support.random_queries import PROMETHEUS_2, PROMETHEUS_3
from tests.support.sample_store import Series

pytestmark = pytest.mark.heavy
QUERIES = int(os.environ.get("APPSENTRY_RANDOM_QUERIES", "300"))
SEED = int(os.environ.get("APPSENTRY_SEED", random.SystemRandom().randrange(2**32)))
RERUN = f"APPSENTRY_SEED={SEED}"


def federated(text: str, connectors: Mapping[str, Connector], asked: TimeRange) -> Outcome:
    try:
        return read_data(to_json(federate_over(text, connectors, asked)[0]))
    except QueryExecutionError as exc:
        return Refusal("execution", exc.message)
    except FederationError as exc:
        return Refusal(type(exc).__name__, exc.message)


def test_six_servers_answer_as_one(
    prometheus_binary: str,
    high_stores: Mapping[str, Sequence[Series]],
    tmp_path: Path,
    say: Say,
) -> None:
    different, told = [], Counter[str]()
    labelled = sorted(high_stores)[::2]
    with lab(prometheus_binary, tmp_path, high_stores, labelled) as started:
        connectors = {pushdown: started.connectors(pushdown) for pushdown in ("exact", "off")}
        for tree, asked in drawn(random.Random(SEED), QUERIES):
            want = read(started.oracle.ask(tree.text(PROMETHEUS_2), asked))
            told["refused" if isinstance(want, Refusal) else "empty" if want.is_empty else "answered"] += 1
            for pushdown, opened in connectors.items():
                got = federated(tree.text(PROMETHEUS_3), opened, asked)
                if isinstance(want, Refusal) and want.kind == "execution" and isinstance(got, Answer):
                    # What nobody evaluates raises no error (docs/merge-semantics.md, "Exactness").
                    told[f"answered where one refuses, pushdown {pushdown}"] += 1
                elif how := difference(got, want, chosen=tree.facts.chosen):
                    different.append(Mismatch(tree, asked, f"pushdown {pushdown}: {how}"))
    say(f"{RERUN}, {QUERIES} queries over six servers: {dict(told)}")
    shown = "\n".join(map(str, different[:5]))
    assert not different, f"{RERUN}: {len(different)} answers are different, the first ones:\n{shown}"
    assert told["answered"] >= 0.7 * QUERIES, RERUN

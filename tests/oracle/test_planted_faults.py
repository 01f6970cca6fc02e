"""The net proven: a fault planted into any family of functions, or any part of the engine, is caught.

`APPSENTRY_SEED=…` repeats a run.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import random
from collections.abc import Mapping, Sequence

import pytest

from federation_core.signals.metrics import functions
from tests.oracle.answers import Engine
from tests.oracle.planted_faults import FAULTS
from tests.oracle.planting import Fault
from tests.oracle.random_net import Net
from tests.support.prometheus_server import PrometheusClient
from tests.support.sample_store import Series

pytestmark = pytest.mark.heavy
SEED = int(os.environ.get("APPSENTRY_SEED", random.SystemRandom().randrange(2**32)))
#: Queries within which every fault must be caught; most are by the first fifty, none yet took 500.
WITHIN = 3000


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{fault.family}: {fault.what}" for fault in FAULTS])
def test_a_planted_fault_is_caught(
    fault: Fault,
    high_prometheus: PrometheusClient,
    high_stores: Mapping[str, Sequence[Series]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault.plant(monkeypatch)
    net = Net(high_prometheus, Engine.over(high_stores), random.Random(f"{SEED}/{fault.family}/{fault.what}"))
    found = next(net.mismatches(WITHIN, fault.favoured), None)
    assert found is not None, f"APPSENTRY_SEED={SEED}: not caught by {net.tally.queries} queries"
    # What is found is the fault, not something else that happens to be wrong.
    assert set(fault.favoured) & set(found.tree.constructs()), str(found)


def test_a_mismatch_is_shrunk_to_what_matters(
    high_prometheus: PrometheusClient, high_stores: Mapping[str, Sequence[Series]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = next(fault for fault in FAULTS if fault.family == "dates")
    fault.plant(monkeypatch)
    net = Net(high_prometheus, Engine.over(high_stores), random.Random(SEED))
    found = next(found for found in net.mismatches(WITHIN, fault.favoured) if found.tree.size > 6)
    shrunk = net.shrunk(found)
    # The function over one selector, or over a scalar's vector, or with no argument.
    assert shrunk.tree.size <= 3, f"APPSENTRY_SEED={SEED}: {found}\n{shrunk}"
    assert fault.favoured[0] in str(shrunk)
    assert shrunk.asked.start_ms == shrunk.asked.end_ms


def test_every_family_of_functions_has_a_planted_fault() -> None:
    modules = [
        importlib.import_module(f"{functions.__name__}.{found.name}")
        for found in pkgutil.iter_modules(functions.__path__)
    ]
    families = {module.__name__.rpartition(".")[2] for module in modules if hasattr(module, "FUNCTIONS")}
    assert families <= {fault.family for fault in FAULTS}

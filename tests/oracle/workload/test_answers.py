"""Six real Prometheus servers answer expressions of public dashboards and rules as the one that holds all samples.

Instant and range queries of every expression, the servers' engines being given all they answer exactly; and instant
queries once more with nothing but selectors asked of them, which is what our own engine works on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from federation_core.connectors import Connector
from federation_core.errors import FederationError, QueryExecutionError
from federation_core.query import TimeRange
from federation_core.signals.metrics.expr import Aggregate, Call, Expr, children
from federation_core.signals.metrics.printer import to_text
from federation_core.signals.metrics.prometheus_json import to_json
from tests.conftest import Say
from tests.oracle.answers import Answer, Outcome, Refusal, difference, read, read_data
from tests.support.connected import federate_over
from tests.support.prometheus_lab import Lab, lab
from tests.support.workload import Workload
from tests.support.workload.series import NOW_S, stores_for

pytestmark = pytest.mark.heavy
INSTANT = TimeRange(NOW_S * 1000, NOW_S * 1000)
RANGE = TimeRange((NOW_S - 900) * 1000, NOW_S * 1000, 180_000)


@pytest.fixture(scope="module")
def servers(prometheus_binary: str, workload: Workload, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Six clusters' servers and the one that holds everything."""
    stores = stores_for(workload.exprs, workload.metrics)
    with lab(prometheus_binary, tmp_path_factory.mktemp("workload"), stores) as started:
        yield started


def federated(text: str, connectors: dict[str, Connector], asked: TimeRange) -> Outcome:
    try:
        return read_data(to_json(federate_over(text, connectors, asked)[0]))
    except QueryExecutionError as exc:
        return Refusal("execution", exc.message)
    except FederationError as exc:
        return Refusal(type(exc).__name__, exc.message)


def may_tie(expr: Expr) -> bool:
    chooses = isinstance(expr, Aggregate) and expr.operator in ("topk", "bottomk")
    return chooses or any(map(may_tie, children(expr)))


def is_sorted(expr: Expr, asked: TimeRange) -> bool:
    return isinstance(expr, Call) and expr.function.startswith("sort") and not asked.step_ms


@pytest.mark.parametrize(
    ("asked", "pushdown"), [(INSTANT, "exact"), (RANGE, "exact"), (INSTANT, "off")], ids=["instant", "range", "beside"]
)
def test_six_servers_answer_as_one(servers: Lab, workload: Workload, asked: TimeRange, pushdown: str, say: Say) -> None:
    connectors = servers.connectors(pushdown)
    told, different = Counter[str](), []
    for text, expr in zip(workload.texts, workload.exprs, strict=True):
        want, got = read(servers.oracle.ask(text, asked)), federated(text, connectors, asked)
        ordered = is_sorted(expr, asked)
        if found := difference(got, want, ordered=ordered):
            if may_tie(expr) and not difference(got, want, chosen=True, ordered=ordered):
                told["another choice among ties"] += 1
            else:
                different.append(f"{text}\n    {found}")
        told["refused" if isinstance(want, Refusal) else "empty" if want.is_empty else "answered"] += 1
    say(f"{len(workload.texts)} expressions over six servers, pushdown {pushdown}: {dict(told)}")
    shown = "\n".join(different[:5])
    assert not different, f"{len(different)} answers are different, the first ones:\n{shown}"
    assert told["answered"] >= 0.9 * len(workload.texts)


def test_what_we_print_means_the_same_to_prometheus(servers: Lab, workload: Workload) -> None:
    for text, expr in zip(workload.texts, workload.exprs, strict=True):
        printed, written = (read(servers.oracle.ask(query, INSTANT)) for query in (to_text(expr), text))
        if isinstance(written, Answer):
            assert difference(printed, written, chosen=may_tie(expr)) == "", text
        else:
            assert isinstance(printed, Refusal), text

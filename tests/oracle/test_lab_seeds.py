"""The lab: six real Prometheus servers behind our connectors answer as the one that holds everything.

The data of several seeds, and ways in which backends have a label `cluster` of their own. The verdicts are those of the
lab's own `compare.py`. Besides its queries ours are asked, which know other functions, and some about the labels that
are made where backends have such a label. Of `topk` the series chosen among equals may be others.
"""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from federation_core.connectors import Connector
from federation_core.errors import FederationError, MergeConflict, QueryExecutionError
from federation_core.labels import CLUSTER, NAME, Labels
from federation_core.signals.metrics.expr import selectors
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.prometheus_json import to_json
from tests.conftest import Say
from tests.lab import compare
from tests.lab.gen import CLUSTERS
from tests.oracle.test_against_prometheus import QUERIES, time_range_of
from tests.support.connected import federate_over
from tests.support.lab_members import ORACLE, OWN, Row, add_rows, lab_on, rows_of, written
from tests.support.prometheus_lab import connector
from tests.support.prometheus_server import prometheus_on
from tests.support.sample_store import Series
from tests.support.victoria_metrics import victoria_metrics_holding

pytestmark = pytest.mark.heavy
SEEDS = range(7, 13)
LAB = compare.read_queries(Path(compare.__file__).parent / "queries.txt")
#: The lab's times are whole seconds.
OURS = [(when, query) for when, query in QUERIES if "." not in when]
ALL = [*LAB, *OURS]
EXPORTED = [
    ("i@12000", query)
    for query in (
        "sum by (cluster, exported_cluster, exported_exported_cluster) (up)",
        'queue_depth{exported_cluster="eu",service="checkout"}',
        'sum by (cluster) (queue_depth{exported_cluster="us"})',
        'count by (cluster) (queue_depth{exported_cluster!="eu"})',
        'count by (cluster) (queue_depth{exported_cluster!="",exported_exported_cluster=~"c|eu"})',
        "sum without (exported_cluster, pod) (queue_depth) > 10",
        "max without (cluster) (rate(http_requests_total{code='500'}[5m]))",
        "count_values by (exported_cluster) ('v', up)",
    )
]
Prometheus = str


@dataclass(frozen=True)
class Judged:
    """One query and the lab's verdict on our answer."""

    query: str
    verdict: str
    why: str

    def __str__(self) -> str:
        return f"{self.verdict} {self.query}: {self.why}"


def ask(text: str, connectors: Mapping[str, Connector], when: str) -> dict[str, Any]:
    """Answer in the envelope of Prometheus' API; what is no error of the engine is raised."""
    try:
        payload, _ = federate_over(text, connectors, time_range_of(when))
    except QueryExecutionError as exc:
        return {"status": "error", "errorType": "execution", "error": exc.message}
    except FederationError as exc:
        exc.add_note(f"{when} {text}")
        raise
    return {"status": "success", "data": to_json(payload)}


def judge(oracle: str, connectors: Mapping[str, Connector], queries: Iterable[tuple[str, str]]) -> list[Judged]:
    """Hold our answers against the oracle's."""
    api = compare.Api(f"http://{oracle}", 60)
    try:
        return [
            Judged(text, *compare.judge(text, api.query(when, text)[0], ask(text, connectors, when), 1e-9))
            for when, text in queries
        ]
    finally:
        if api.conn is not None:
            api.conn.close()


def require_right(judged: list[Judged], what: str, say: Say) -> None:
    """Print the tally, and fail with what is wrong."""
    say(f"{what}: {dict(sorted(Counter(one.verdict for one in judged).items()))} of {len(judged)}")
    wrong = [one for one in judged if one.verdict not in ("same", "tie", "both-error")]
    assert not wrong, f"{len(wrong)} are wrong:\n" + "\n".join(map(str, wrong[:10]))
    # The verdicts would say the same of queries that are all refused.
    assert sum(one.verdict == "both-error" for one in judged) <= 0.05 * len(judged)


@pytest.fixture
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.mark.parametrize("seed", SEEDS)
def test_every_seed_is_answered_as_by_one_prometheus(
    prometheus_binary: Prometheus, seed: int, run_folder: Path, say: Say
) -> None:
    assert len(LAB) == 75
    with lab_on(prometheus_binary, written(seed, run_folder) / "plain") as started:
        require_right(judge(started.oracle.address, started.connectors("exact"), LAB), f"lab, seed {seed}", say)


@pytest.mark.parametrize(("pushdown", "queries"), [("off", ALL), ("exact", OURS)], ids=["off", "exact"])
def test_engines_that_are_given_selectors_alone_or_all_they_answer_exactly(
    prometheus_binary: Prometheus,
    pushdown: str,
    queries: list[tuple[str, str]],
    run_folder: Path,
    say: Say,
) -> None:
    with lab_on(prometheus_binary, written(7, run_folder) / "plain") as started:
        judged = judge(started.oracle.address, started.connectors(pushdown), queries)
    require_right(judged, f"pushdown {pushdown}, seed 7", say)


@pytest.mark.parametrize(("seed", "own"), [(seed, kind) for seed, (kind, _) in OWN.items()])
def test_backends_whose_series_have_a_label_cluster_of_their_own(
    prometheus_binary: Prometheus, seed: int, own: str, run_folder: Path, say: Say
) -> None:
    with lab_on(prometheus_binary, written(seed, run_folder) / own) as started:
        judged = judge(started.oracle.address, started.connectors("exact"), (*ALL, *EXPORTED))
    require_right(judged, f"{own} label cluster, seed {seed}", say)


def test_backends_of_which_some_series_have_a_label_cluster_and_others_not(
    prometheus_binary: Prometheus,
    tmp_path: Path,
    run_folder: Path,
    say: Say,
) -> None:
    """`prod` holds what another cluster, `eu`, has sent to it; in `shared-services` some series say where they are."""
    folder = shutil.copytree(written(7, run_folder) / "plain", tmp_path / "lab")
    sent = rows_of(7, "dev")
    add_rows(folder / "prod", sent, cluster="eu")
    add_rows(folder / ORACLE, sent, cluster="prod", exported_cluster="eu")
    own = rows_of(7, "test", lambda name, labels: "redis" not in labels.values() and name != "service_build_info")
    for server in ("shared-services", ORACLE):
        add_rows(folder / server, own, cluster="shared-services")
    with lab_on(prometheus_binary, folder) as started:
        judged = judge(started.oracle.address, started.connectors("exact"), (*ALL, *EXPORTED))
    require_right(judged, "some series with a label cluster, seed 7", say)


def test_one_series_both_with_and_without_the_label_is_a_conflict_of_the_queries_that_read_it(
    prometheus_binary: Prometheus,
    tmp_path: Path,
    run_folder: Path,
    say: Say,
) -> None:
    twice = rows_of(7, "prod", lambda name, labels: name == "queue_depth" and labels["service"] == "checkout")[-1]
    prod = shutil.copytree(written(7, run_folder) / "plain" / "prod", tmp_path / "prod")
    add_rows(prod, [twice], cluster="prod")
    shown = Labels.of({**twice[3], NAME: twice[2], CLUSTER: "prod"})
    reading = [any(s.selector.matches(shown) for s in selectors(parse(text))) for _, text in ALL]
    assert 30 < sum(reading) < len(ALL) - 30
    with ExitStack() as running:
        started = running.enter_context(lab_on(prometheus_binary, written(7, run_folder) / "plain"))
        other = running.enter_context(prometheus_on(prometheus_binary, prod))
        connectors = started.connectors("exact") | {"prod": connector("prod", other)}
        others = [query for query, reads in zip(ALL, reading, strict=True) if not reads]
        require_right(judge(started.oracle.address, connectors, others), "beside a conflict, seed 7", say)
        for (when, text), reads in zip(ALL, reading, strict=True):
            if reads:
                with pytest.raises(MergeConflict, match="cluster prod holds a series both with and without"):
                    federate_over(text, connectors, time_range_of(when))


def test_victoria_metrics_answers_as_one_prometheus_by_its_raw_samples(
    prometheus_binary: Prometheus, tmp_path: Path, run_folder: Path, say: Say
) -> None:
    """Two clusters of it among six: its engine extrapolates by rules of its own and is given nothing to evaluate.

    It keeps no NaN that is written, which `cache_hit_ratio` has: what reads this metric is held against one Prometheus
    that does not have these samples either.
    """
    rows = {name: rows_of(7, name) for name in CLUSTERS}
    with ExitStack() as running:
        started = running.enter_context(lab_on(prometheus_binary, written(7, run_folder) / "plain"))
        connectors = started.connectors("exact")
        for name in ("prod", "stage"):
            address = running.enter_context(victoria_metrics_holding(list(map(as_series, rows[name])), tmp_path / name))
            connectors[name] = connector(name, address)
            rows[name] = [(*row, [p for p in points if not math.isnan(p[1])]) for *row, points in rows[name]]
        for name in CLUSTERS:
            read = [row for row in rows[name] if row[2] in ("cache_hit_ratio", "queue_depth")]
            add_rows(tmp_path / ORACLE, read, cluster=name)
        without_nan = running.enter_context(prometheus_on(prometheus_binary, tmp_path / ORACLE))
        lossy = [asked for asked in ALL if "cache_hit_ratio" in asked[1]]
        lossless = [asked for asked in ALL if asked not in lossy]
        judged = judge(started.oracle.address, connectors, lossless)
        require_right([*judged, *judge(without_nan, connectors, lossy)], "VictoriaMetrics in two, seed 7", say)
        assert [one for one in judge(started.oracle.address, connectors, lossy) if one.verdict == "DIFF"]


def as_series(row: Row) -> Series:
    """Return a series as tests of ours have it: labels, times in ms, values."""
    _, _, name, labels, points = row
    return Labels.of({**labels, NAME: name}), [round(float(t) * 1000) for t, _ in points], [float(v) for _, v in points]

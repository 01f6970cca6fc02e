"""What a plan says of the engines in its clusters: who evaluates what, and where windows are taken differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from federation_core.config import Backend, Cluster
from federation_core.connectors import connect
from federation_core.plan import Shard
from federation_core.query import TimeRange
from federation_core.signals.metrics import KIND
from federation_core.signals.metrics.dialect import UNKNOWN, Dialect, read_word
from federation_core.signals.metrics.engines import OURS, engine_of
from tests.support.prometheus_replies import PROMETHEUS_3, answering, success
from tests.support.sample_store import FAR_DEADLINE, MemoryConnector, query_of, scope_of

SECOND = Dialect("Prometheus", (2, 42), exact=True, on_grids=True)
THIRD = Dialect("Prometheus", (3, 5), exact=True, on_grids=True)
MIMIR = Dialect("Mimir", (2, 33), exact=True, on_grids=True)
VICTORIA = Dialect("VictoriaMetrics", nan_is_stale=True)
BENT = Dialect("VictoriaMetrics", nan_is_stale=True, approximate=True)
SWITCHED_OFF = Dialect("Prometheus", (2, 42), on_grids=True)
SILENT = Dialect("unknown", on_grids=True)
RATE = "sum(rate(x[5m]))"


def notes(text: str, engines: Mapping[str, Dialect | str]) -> list[str]:
    """Return what is said of a query over the clusters that `engines` names; "" is one whose engine is not known."""
    query = query_of(text, TimeRange(0, 600_000, 60_000))
    split = KIND.split(KIND.parse(text), query, sorted(engines))
    shards = [Shard("q", name, "metrics", leaves, scope_of([name]), 0) for name, leaves in split.leaves.items()]
    words = {name: engine if isinstance(engine, str) else engine.word for name, engine in engines.items() if engine}
    return list(KIND.engine_notes(split.root, shards, words))


def mixed(text: str, engines: Mapping[str, Dialect | str]) -> list[str]:
    return [note for note in notes(text, engines) if note.startswith("windows")]


@pytest.mark.parametrize("dialect", [SECOND, THIRD, MIMIR, VICTORIA, BENT, SWITCHED_OFF, SILENT, UNKNOWN])
def test_a_word_says_all_of_an_engine(dialect: Dialect) -> None:
    assert read_word(dialect.word) == dialect
    assert len(dialect.word) <= 80


@pytest.mark.parametrize("word", ["", OURS, "Prometheus", "Prometheus/2", "Prometheus/2.42", "a b/1.1/", "x/1.1/e\n"])
def test_a_word_that_is_none_is_not_read(word: str) -> None:
    assert read_word(word) is None


def test_a_store_without_an_engine_has_ours() -> None:
    assert engine_of(MemoryConnector([]), FAR_DEADLINE) == OURS


def test_clusters_with_one_engine_are_named_together() -> None:
    assert notes(RATE, {"dev": SECOND, "prod": SECOND, "stage": OURS}) == [
        "engine of dev, prod: Prometheus 2.42, evaluates leaf a",
        "engine of stage: ours, on the samples of the store beside it",
        *mixed(RATE, {"dev": SECOND, "prod": SECOND, "stage": OURS}),
    ]


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (
            VICTORIA,
            "VictoriaMetrics (has rules of its own, so it is given no whole leaves), is asked for raw samples, on",
        ),
        (
            BENT,
            "VictoriaMetrics, evaluates leaf a by its own rules (pushdown: approximate), so the answer is approximate",
        ),
        (SWITCHED_OFF, "Prometheus 2.42 (given no whole leaves: pushdown: off), is asked for plain selectors and raw"),
        (SILENT, "unknown (it does not say what it is, so it is given no whole leaves), is asked for plain selectors"),
        ("", "not known yet; its worker gives it only what is exact there"),
        ("what/ever", "not known (its worker says 'what/ever', which this release does not read)"),
    ],
    ids=["rules of its own", "approximate", "off", "unknown", "not yet", "another release"],
)
def test_it_is_said_which_clusters_are_asked_for_samples_and_why(engine: Dialect | str, said: str) -> None:
    (note,) = notes(RATE, {"prod": engine})
    assert note.startswith(f"engine of prod: {said}")


def test_a_leaf_that_a_release_may_not_know_is_evaluated_beside_it() -> None:
    (note,) = notes("sum(rate(x[5m])) + sum(mad_over_time(x[5m]))", {"prod": THIRD})
    assert note == (
        "engine of prod: Prometheus 3.5, evaluates leaf a,"
        " is asked for plain selectors and raw samples, on which our engine evaluates leaf b"
    )


def test_replicas_side_by_side_may_keep_a_leaf_from_the_engine() -> None:
    backend = Backend("metrics", "prometheus", url="http://p", origin="t:1", replica_labels=("replica",))
    with answering(lambda _: success(PROMETHEUS_3)) as server:
        opened = connect(Cluster("prod", "e", (backend,)), replace(backend, url=server.url))
        word = engine_of(opened, FAR_DEADLINE)
    assert read_word(word) == THIRD
    (note,) = notes(RATE, {"prod": word})
    assert note.endswith("evaluates leaf a, unless series it selects are replicas' (then our engine does)")


def test_a_range_that_the_root_looks_at_is_sent_as_samples() -> None:
    (note,) = notes("quantile_over_time(scalar(sum(x)), y[5m])", {"prod": THIRD})
    assert note == "engine of prod: Prometheus 3.5, evaluates leaf a, sends the raw samples of leaf b"


class TestAMix:
    @pytest.mark.parametrize("other", [THIRD, OURS, SWITCHED_OFF, VICTORIA], ids=lambda e: e if e == OURS else e.word)
    def test_the_second_release_beside_what_follows_the_third_is_named_where_there_is_a_range(
        self, other: Dialect | str
    ) -> None:
        (note,) = mixed(RATE, {"dev": other, "prod": SECOND})
        assert "is inside for Prometheus 2.42 (prod) and outside for " in note
        assert "(dev);" in note
        assert mixed("max_over_time((x > 1)[5m:1m])", {"dev": other, "prod": SECOND})

    @pytest.mark.parametrize("text", ["sum(x)", "x > 1", "sum(x offset 5m)"])
    def test_without_a_range_nothing_differs(self, text: str) -> None:
        assert mixed(text, {"dev": THIRD, "prod": SECOND}) == []

    @pytest.mark.parametrize(
        "engines",
        [
            {"dev": SECOND, "prod": SECOND},
            {"dev": THIRD, "prod": OURS, "test": VICTORIA},
            {"dev": MIMIR, "prod": MIMIR},
        ],
        ids=["all of the second", "all like the third", "all unknown"],
    )
    def test_engines_that_are_alike_are_no_mix(self, engines: Mapping[str, Dialect | str]) -> None:
        assert mixed(RATE, engines) == []

    def test_a_window_of_the_root_is_ours(self) -> None:
        text = "max_over_time(sum(rate(x[5m]))[10m:1m])"
        (note,) = mixed(text, {"prod": SECOND})
        assert "inside for Prometheus 2.42 (prod) and outside for our engine (the centre)" in note
        assert mixed(text, {"prod": THIRD}) == []

    def test_a_range_that_is_sent_as_samples_has_no_window_in_the_cluster(self) -> None:
        text = "quantile_over_time(scalar(sum(x)), y[5m])"
        assert mixed(text, {"dev": THIRD, "prod": SECOND}) == []

    def test_an_engine_whose_release_is_not_told_may_differ(self) -> None:
        (note,) = mixed(RATE, {"dev": MIMIR, "prod": OURS})
        assert note.startswith("windows may differ: Mimir (dev) does not tell which release of Prometheus")

    def test_one_that_is_switched_off_takes_windows_as_we_do(self) -> None:
        assert mixed(RATE, {"dev": SWITCHED_OFF, "prod": OURS}) == []

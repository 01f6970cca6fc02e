"""Prometheus as a backend keeps the contract: what it is asked, what is made of its answers and of its refusals.

That six real servers answer as the one that holds everything is shown in `tests/oracle/test_lab_seeds.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, Fetched, connect
from federation_core.connectors.backends.prometheus import Prometheus
from federation_core.errors import (
    ClusterError,
    InvalidConfig,
    MergeConflict,
    QueryExecutionError,
    QueryTooLarge,
    Unreachable,
)
from federation_core.labels import CLUSTER, NAME, Labels
from federation_core.plan import Leaf
from federation_core.query import Deadline, TimeRange
from federation_core.signals.metrics.frame import SampleColumns
from federation_core.signals.metrics.prometheus_json import to_json
from federation_core.tenancy import Limits, Scope
from tests.oracle import lab_data
from tests.oracle.answers import Answer, Refusal, difference, read_data
from tests.support.connected import federate_over
from tests.support.prometheus_lab import connector, with_label
from tests.support.prometheus_server import _free_port, prometheus_holding
from tests.support.sample_store import FAR_DEADLINE, STALE, Series, evaluate_one, every, scope_of, series
from tests.support.victoria_metrics import victoria_metrics_holding

pytestmark = pytest.mark.heavy
T0_MS = lab_data.T0_S * 1000
NOON = TimeRange(T0_MS + 4_000_000, T0_MS + 4_000_000)


@dataclass
class Remembering:
    """A connector that remembers what it sent on."""

    real: Prometheus
    sent: list[Leaf] = field(default_factory=list)

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def fetch_all(self, leaves: Sequence[Leaf], scope: Scope, deadline: Deadline) -> list[Fetched]:
        self.sent += leaves
        return self.real.fetch_all(leaves, scope, deadline)


def answer(query: str, connectors: Mapping[str, Connector], asked: TimeRange) -> Answer | Refusal:
    try:
        return read_data(to_json(federate_over(query, connectors, asked)[0]))
    except QueryExecutionError as exc:
        return Refusal("execution", exc.message)


@pytest.fixture(scope="module")
def odd(prometheus_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server whose metrics have a label `cluster` of their own, or not, or some of them."""

    def one(name: str, **labels: str) -> Series:
        times = [T0_MS + 3_600_000 + step * 15_000 for step in range(40)]
        return Labels.of({NAME: name, **labels}), times, [float(step) for step in range(40)]

    held = {
        "": [one("plain", a="1"), one("plain", a="2"), one("mixed", a="1"), one("half", a="1")],
        "prod": [one("same", a="1"), one("mixed", a="1"), one("half", a="2")],
        "eu": [one("other", a="1"), one("taken", a="1", exported_cluster="us")],
    }
    with prometheus_holding(prometheus_binary, held, tmp_path_factory.mktemp("odd")) as address:
        yield address


@dataclass
class Asked:
    rows: list[dict[str, str]]
    sent: list[str]


def ask_odd(address: str, query: str, pushdown: str = "exact") -> Asked:
    remembering = Remembering(connector("prod", address, pushdown))
    payload, _ = federate_over(query, {"prod": remembering}, NOON)
    found = read_data(to_json(payload))
    return Asked([dict(key) for key in found.rows], [leaf.text for leaf in remembering.sent])


class TestTheLabelCluster:
    def test_a_backend_without_it_is_given_the_leaf(self, odd: str) -> None:
        asked = ask_odd(odd, "sum by (a) (plain)")
        assert (asked.rows, asked.sent) == ([{"a": "1"}, {"a": "2"}], ["sum by (cluster, a) (plain)"])

    def test_its_own_name_is_the_same_label(self, odd: str) -> None:
        asked = ask_odd(odd, "max_over_time(same[1m])")
        assert (asked.rows, asked.sent) == ([{"a": "1", "cluster": "prod"}], ["max_over_time(same[1m])"])

    @pytest.mark.parametrize(
        ("query", "sent", "rows"),
        [
            ("same * max by (cluster, a) (same)", "same * max by (cluster, a) (same)", 1),
            ("same unless max by (cluster, a) (same)", "same unless max by (cluster, a) (same)", 0),
            ("same and on (cluster) (same)", "same and on (cluster) same", 1),
            ("same or max without (b) (same)", "same or max without (b) (same)", 1),
        ],
    )
    def test_what_keeps_the_label_still_matches_what_has_it(self, odd: str, query: str, sent: str, rows: int) -> None:
        asked = ask_odd(odd, query)
        assert (len(asked.rows), asked.sent) == (rows, [sent])

    def test_another_value_is_moved_aside_before_anything_is_evaluated(self, odd: str) -> None:
        asked = ask_odd(odd, "sum by (cluster, exported_cluster) (other)")
        assert (asked.rows, asked.sent) == ([{"cluster": "prod", "exported_cluster": "eu"}], ["other"])

    def test_a_name_that_is_taken_is_not_overwritten(self, odd: str) -> None:
        (row,) = ask_odd(odd, 'taken{exported_exported_cluster="eu",exported_cluster="us"}').rows
        assert (row["exported_cluster"], row["exported_exported_cluster"]) == ("us", "eu")

    @pytest.mark.parametrize(("value", "rows"), [("eu", 1), ("prod", 0), ("", 0)])
    def test_conditions_on_it_are_decided_here(self, odd: str, value: str, rows: int) -> None:
        asked = ask_odd(odd, f'other{{exported_cluster="{value}"}}')
        assert (len(asked.rows), asked.sent) == (rows, ["other"])

    @pytest.mark.parametrize("pushdown", ["exact", "off"])
    @pytest.mark.parametrize("query", ['{cluster="prod",a!="1"}', '{exported_cluster="eu",__name__!="mixed"}'])
    def test_what_is_left_of_the_conditions_is_what_the_backend_takes(
        self, odd: str, query: str, pushdown: str
    ) -> None:
        assert ask_odd(odd, f"count({query})", pushdown).rows == [{}]

    @pytest.mark.parametrize("pushdown", ["exact", "off"])
    @pytest.mark.parametrize("query", ["mixed", "sum(mixed)", "rate(mixed[5m])"])
    def test_a_series_with_it_and_the_same_without_are_a_conflict(self, odd: str, query: str, pushdown: str) -> None:
        with pytest.raises(MergeConflict, match="both with and without"):
            ask_odd(odd, query, pushdown)

    def test_series_some_of_which_have_it_are_not_pushed(self, odd: str) -> None:
        asked = ask_odd(odd, "sum by (cluster) (half)")
        assert (asked.rows, asked.sent) == ([{"cluster": "prod"}], ["half"])

    def test_parts_some_of_which_have_it_are_not_pushed(self, odd: str) -> None:
        (sent,) = ask_odd(odd, "count(plain) + count(same)").sent
        assert "count" not in sent


class TestOneRequest:
    def test_parts_on_one_grid_go_together(self, odd: str) -> None:
        assert ask_odd(odd, "sum(plain) / count(plain)").sent == [
            'label_replace(sum by (cluster) (plain), "__part", "a", "", "")'
            ' or label_replace(count by (cluster) (plain), "__part", "b", "", "")'
        ]

    def test_beside_the_engine_all_selectors_on_one_grid_go_together(self, odd: str) -> None:
        sent = ask_odd(odd, "sum(plain) / count(same) - max(timestamp(plain)) + sum(rate(plain[1m]))", "off").sent
        assert [text.count("label_replace") for text in sent] == [3, 0]
        assert sent[1] == "plain[1m]"


class TestRaw:
    def raw(self, address: str, text: str, limits: Limits | None = None) -> SampleColumns:
        leaf = Leaf("raw", text, NOON)
        payload = connector("prod", address).fetch(leaf, scope_of(["prod"], limits), FAR_DEADLINE).payload
        assert isinstance(payload, SampleColumns)
        return payload

    def test_the_window_is_open_at_its_start_and_closed_at_its_end(self, odd: str) -> None:
        found = self.raw(odd, 'plain{a="1"}[30s] @ 1790010000 offset -30s')
        assert ((found.t_ms - T0_MS - 3_600_000) // 1000).tolist() == [15, 30]

    def test_more_samples_than_allowed_are_refused_while_they_come(self, odd: str) -> None:
        with pytest.raises(QueryTooLarge) as caught:
            self.raw(odd, "plain[1h]", Limits(max_samples=53))
        assert (caught.value.limit, caught.value.allowed) == ("max_samples", 53)
        assert self.raw(odd, "plain[1h]", Limits(max_samples=54)).sample_count == 54

    def test_no_series_are_no_columns(self, odd: str) -> None:
        assert self.raw(odd, "absent[1h]").series_count == 0


class TestRefusals:
    def test_what_the_engine_refuses_is_the_querys_error(self, odd: str) -> None:
        with pytest.raises(QueryExecutionError, match="many-to-many"):
            ask_odd(odd, "plain * on (cluster) plain")

    def test_a_dark_backend_is_the_clusters_error(self) -> None:
        with pytest.raises(Unreachable, match="no connection to the backend: Connection refused"):
            federate_over("sum(up)", {"prod": connector("prod", f"127.0.0.1:{_free_port()}")}, NOON)

    def test_a_backend_kind_needs_an_address_and_a_signal_it_has(self) -> None:
        for backend in (
            Backend("metrics", "prometheus", path="/x", origin="clusters.yaml:7"),
            Backend("logs", "prometheus", url="http://x", origin="clusters.yaml:7"),
        ):
            with pytest.raises(InvalidConfig, match=r"clusters\.yaml:7: a prometheus backend"):
                connect(Cluster("prod", "e", (backend,)), backend)


class TestInventory:
    def test_names_and_the_newest_time(self, odd: str) -> None:
        found = connector("prod", odd, signal="inventory").inventory(FAR_DEADLINE)
        assert found.metric_names == ("half", "mixed", "other", "plain", "same", "taken")
        assert set(found.label_names) == {NAME, "a", CLUSTER, "exported_cluster"}

    def test_ping(self, odd: str) -> None:
        connector("prod", odd).ping(FAR_DEADLINE)
        with pytest.raises(ClusterError):
            connector("prod", f"127.0.0.1:{_free_port()}").ping(FAR_DEADLINE)


def test_victoria_metrics_tells_where_a_series_ended(tmp_path: Path) -> None:
    held = [
        series('x{a="1"}', every(15_000, [1, 2, 3, STALE], T0_MS)),
        series('x{a="2"}', every(15_000, [4, STALE, 6, 7], T0_MS)),
        series('x{a="3"}', every(15_000, [8, 9, 10, 11], T0_MS)),
    ]
    with victoria_metrics_holding(held, tmp_path) as address:
        for asked in (TimeRange(T0_MS, T0_MS + 120_000, 5_000), TimeRange(T0_MS + 60_000, T0_MS + 60_000)):
            for query in ("x", "count(x)", "count_over_time(x[1m])", "rate(x[1m])"):
                want = read_data(to_json(evaluate_one(query, with_label({"": held}, CLUSTER, "prod")[""], asked)))
                assert difference(answer(query, {"prod": connector("prod", address)}, asked), want) == "", query

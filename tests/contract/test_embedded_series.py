"""What an embedded store says about its series: those with a sample in the interval, whatever segments they lie in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from federation_core import federate, tenancy
from federation_core.config import Backend, Cluster
from federation_core.connectors import Fetched, connect
from federation_core.connectors.otlp import Ingest
from federation_core.connectors.stores.segments import SegmentStore
from federation_core.errors import TimedOut, Unreachable
from federation_core.labels import Matcher, MatchOp
from federation_core.plan import Leaf, Shard
from federation_core.query import Deadline, TimeRange
from federation_core.signals import kind_named
from federation_core.signals.series.payload import Fact
from federation_core.tenancy import Limits, Scope
from tests.support.otlp_requests import T0_MS, counter, gauge, metrics, point, resource

FOREVER = Deadline(2**62)
OPEN = Scope("t", {"prod": ()})
WEB, ORDERS = resource("web"), resource("orders", namespace="payments")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three segments: `depth` at 10 and 20 s, `height` at 30 s, `sales` at 40 s."""
    folder = tmp_path_factory.mktemp("stores") / "prod"
    with SegmentStore(folder, cluster="prod") as store:
        ingest = Ingest(store, lag_ms=0)
        for owner, metric in (
            (WEB, gauge("depth", point(1.0, at_s=10), point(2.0, at_s=20), unit="m")),
            (ORDERS, gauge("height", point(3.0, at_s=30))),
            (ORDERS, counter("sales", point(4.0, at_s=40, startTimeUnixNano=str(T0_MS * 1_000_000)))),
        ):
            ingest.add(metrics(owner, metric))
            ingest.flush()
    return folder


def cluster_at(path: Path) -> Cluster:
    return Cluster("prod", "prod", (Backend("metrics", "embedded", path=str(path), origin="clusters.yaml:1"),))


def asked(path: Path, text: str, from_s: float = 0, to_s: float = 100, scope: Scope = OPEN) -> Fetched:
    cluster = cluster_at(path)
    backend = cluster.backend_for("series")
    assert backend is not None
    time_range = TimeRange(T0_MS + round(from_s * 1000), T0_MS + round(to_s * 1000))
    return connect(cluster, backend).fetch(Leaf("l", text, time_range), scope, FOREVER)


def names(path: Path, from_s: float, to_s: float) -> set[Any]:
    return set(asked(path, 'values "__name__"', from_s, to_s).payload.rows)


def test_a_series_is_there_if_it_has_a_sample_in_the_interval(path: Path) -> None:
    everything = names(path, 0, 100)
    assert {name.partition("_")[0] for name in everything} == {"depth", "height", "sales"}
    assert names(path, 10, 10) == names(path, 11, 20) == {name for name in everything if name.startswith("depth")}
    assert names(path, 11, 19) == set()
    assert names(path, 30, 30) == {"height"}
    assert names(path, 20.001, 30) == {"height"}


def test_a_segment_that_was_seen_whole_is_still_cut_by_time(path: Path) -> None:
    assert "height" in names(path, 0, 100)
    assert names(path, 12, 15) == set()


def test_selectors_are_alternatives(path: Path) -> None:
    both = asked(path, 'series {__name__="height"} or {service="web"} or {namespace="payments",__name__="height"}')
    assert sorted(row.get("service") for row in both.payload.rows) == ["orders", "web"]
    assert both.payload.rows[0].get("pod")


def test_labels_and_values(path: Path) -> None:
    assert {"__name__", "namespace", "service", "pod"} <= set(asked(path, "labels").payload.rows)
    assert sorted(asked(path, 'values "service"').payload.rows) == ["orders", "web"]
    assert asked(path, 'values "nothing"').payload.rows == ()


def test_metadata_is_told_of_what_the_selectors_mean(path: Path) -> None:
    assert asked(path, 'metadata {__name__="height"}').payload.rows == (Fact("height", "gauge"),)
    (sales,) = asked(path, 'metadata {__name__=~"sales.*"}').payload.rows
    assert sales.type == "counter"
    assert asked(path, 'metadata {__name__="height"}', 31, 40).payload.rows == ()


def test_more_than_the_tenant_may_have_is_cut_and_said(path: Path) -> None:
    scope = Scope("t", {"prod": ()}, limits=Limits(max_series=2))
    fetched = asked(path, "series", scope=scope)
    assert (len(fetched.payload.rows), fetched.truncated) == (2, "3 rows, above max_series 2")
    assert asked(path, 'series {service="web"}', scope=scope).truncated == ""


def test_a_tenants_conditions_hold_through_a_whole_shard(path: Path) -> None:
    """As a worker runs it: enforced text, verified, fetched, redacted."""
    kind = kind_named("series")
    scope = Scope("t", {"prod": (Matcher("namespace", MatchOp.EQ, "payments"),)})
    for text, expected in (
        ('values "service" {service="web"} or {__name__=~".+"}', ("orders",)),
        ('values "cluster"', ("prod",)),
        ('values "cluster" {service="web"}', ()),
    ):
        leaf = Leaf("l", tenancy.enforce(kind, text, scope, "prod"), TimeRange(T0_MS, T0_MS + 100_000))
        shard = Shard("q", "prod", "series", (leaf,), scope, 2**62)
        cluster = cluster_at(path)
        partial = federate.run_shard(shard, connect(cluster, cluster.backend_for("series")), lambda: T0_MS)  # type: ignore[arg-type]
        assert partial.error is None
        assert partial.payloads is not None
        assert partial.payloads["l"].rows == expected


def test_new_series_are_seen_when_they_are_written(tmp_path: Path) -> None:
    with SegmentStore(tmp_path / "prod", cluster="prod") as store:
        ingest = Ingest(store, lag_ms=0)
        for number in range(3):
            ingest.add(metrics(WEB, gauge(f"depth{number}", point(1.0, at_s=number))))
            ingest.flush()
            assert len(names(tmp_path / "prod", 0, 100)) == number + 1


def test_faults_name_the_cluster(path: Path, tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as caught:
        asked(tmp_path / "nowhere", "labels")
    assert caught.value.cluster == "prod"
    cluster = cluster_at(path)
    late = connect(cluster, cluster.backend_for("series"))  # type: ignore[arg-type]
    with pytest.raises(TimedOut):
        late.fetch(Leaf("l", "labels", TimeRange(0, 1)), OPEN, Deadline(1))

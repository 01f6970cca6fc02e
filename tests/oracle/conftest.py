"""The lab's samples and one real Prometheus that holds all of them, for every test of this folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

import pytest

from tests.oracle import lab_data
from tests.oracle.high_counters import lifted
from tests.support.prometheus_server import PrometheusClient, prometheus_holding
from tests.support.sample_store import Series


@pytest.fixture(scope="session")
def stores() -> dict[str, list[Series]]:
    """The series of every cluster."""
    return lab_data.clusters()


@pytest.fixture(scope="session")
def prometheus(
    prometheus_binary: str, stores: Mapping[str, Sequence[Series]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrometheusClient]:
    """Prometheus over the samples of all clusters."""
    folder = tmp_path_factory.mktemp("oracle")
    with prometheus_holding(prometheus_binary, stores, folder) as address, closing(PrometheusClient(address)) as client:
        yield client


@pytest.fixture(scope="session")
def high_stores(stores: Mapping[str, Sequence[Series]]) -> dict[str, list[Series]]:
    """The same series with counters that begin high."""
    return lifted(stores)


@pytest.fixture(scope="session")
def high_prometheus(
    prometheus_binary: str, high_stores: Mapping[str, Sequence[Series]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrometheusClient]:
    """Prometheus over the series whose counters begin high."""
    folder = tmp_path_factory.mktemp("high")
    with (
        prometheus_holding(prometheus_binary, high_stores, folder) as address,
        closing(PrometheusClient(address)) as client,
    ):
        yield client

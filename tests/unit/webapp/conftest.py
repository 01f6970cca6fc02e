"""Three clusters of one tenant-wide shop in memory, and the web application in front of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from flask import Flask
from flask.testing import FlaskClient

from federation_core.config import Auth, Backend, Cluster, Settings
from federation_core.signals.traces.payload import Span
from tests.support.exemplar_store import ExemplarStore, exemplified
from tests.support.log_stores import LogStore, entry
from tests.support.sample_store import MemoryConnector, every, labels, series
from tests.support.series_store import SeriesStore
from tests.unit.webapp.in_process import Clock, InProcess, SpanStore
from webapp import ask, create_app

#: 2026-11-24T05:00:00Z
NOW_MS = 1_795_496_400_000
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
KEY = "a-secret-of-at-least-thirty-two-bytes"
_SIGNALS = ("metrics", "traces", "logs")


def cluster(name: str, environment: str) -> Cluster:
    """Return a cluster with a backend in memory for every signal."""
    backends = tuple(Backend(signal, "memory", path=f"/{name}", origin="clusters.yaml:1") for signal in _SIGNALS)
    return Cluster(name, environment, backends, region="eu-west-1")


SETTINGS = Settings(clusters=(cluster("app-prod", "prod"), cluster("prod", "prod"), cluster("stage", "stage")))
TOKENS = replace(SETTINGS, auth=Auth(enabled=True, key=KEY, issuer="https://idp.example", audience="appsentry"))


def _stores(name: str, offset_ms: int) -> dict[tuple[str, str], object]:
    start_ms = NOW_MS - 600_000
    points = every(15_000, [float(i * 15) for i in range(41)], start_ms)
    shop = f'http_requests_total{{namespace="shop",service="cart",pod="cart-{name}"}}'
    bank = f'http_requests_total{{namespace="bank",service="ledger",pod="ledger-{name}"}}'
    span = Span(TRACE_ID, f"{offset_ms:016x}", "", f"GET /{name}", "cart", (NOW_MS - offset_ms) * 10**6, 10**6)
    return {
        (name, "metrics"): MemoryConnector([series(shop, points), series(bank, points)]),
        (name, "series"): SeriesStore([labels(shop), labels(bank)], {"http_requests_total": "counter"}),
        (name, "exemplars"): ExemplarStore(
            [
                exemplified(shop, (NOW_MS - 60_000, f"shop-{name}", "0.25"), (NOW_MS + 1_500, f"late-{name}", "1")),
                exemplified(bank, (NOW_MS - 60_000, f"bank-{name}", "1e-07")),
            ]
        ),
        (name, "logs"): LogStore.of(
            [
                entry(NOW_MS - offset_ms, f"timeout in {name}", namespace="shop", service="cart"),
                entry(NOW_MS - offset_ms - 1, f"fine in {name}", namespace="bank", service="ledger"),
            ]
        ),
        (name, "traces"): SpanStore((replace(span, namespace="shop"), replace(span, span_id="b" * 16, service="bank"))),
    }


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW_MS)


@pytest.fixture
def federation(clock: Clock) -> InProcess:
    stores: dict[tuple[str, str], object] = {}
    for index, name in enumerate(("app-prod", "prod", "stage"), start=1):
        stores |= _stores(name, index * 1000)
    return InProcess(stores, clock, served_clusters={"app-prod", "prod", "stage"})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def apps() -> Callable[[Settings], Flask]:
    """Build one application per settings, as most of a test's time would go into drawing the OpenAPI document."""

    @cache
    def built(settings: Settings) -> Flask:
        return create_app(settings, InProcess({}, Clock(0)), Clock(0))  # type: ignore[arg-type]

    return built


@pytest.fixture
def app(apps: Callable[[Settings], Flask], federation: InProcess, clock: Clock) -> Flask:
    return in_front_of(federation, apps(SETTINGS), SETTINGS, clock)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def tokens(apps: Callable[[Settings], Flask], federation: InProcess, clock: Clock) -> FlaskClient:
    """A client of the application that wants tokens."""
    return in_front_of(federation, apps(TOKENS), TOKENS, clock).test_client()


def in_front_of(federation: InProcess, app: Flask, settings: Settings, clock: Clock) -> Flask:
    """Let an application ask this federation from now on."""
    with app.app_context():
        ask.install(ask.Pipeline(settings, federation, clock))  # type: ignore[arg-type]
    return app

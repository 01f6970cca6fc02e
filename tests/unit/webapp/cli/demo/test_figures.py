"""The shop runs by its figures: what is emitted agrees with the tables measured on the recording."""

from collections import Counter, defaultdict
from statistics import median

import pytest

from tests.unit.webapp.cli.demo.emitted import HOUR_MS, ORIGIN_MS, Emitted, duration_ms, emitted, service
from webapp.cli.demo.journeys import JOURNEYS
from webapp.cli.demo.landscape import PRODUCTION, deployments
from webapp.cli.demo.services import LOG_LINES_SHARE, SERVICES, Latency
from webapp.cli.demo.shop import Shop

STAGE_HOURS = 8


@pytest.fixture(scope="module")
def long_run() -> Emitted:
    """Hours of stage, where no incident bends the figures."""
    return emitted(Shop(11, ORIGIN_MS), ORIGIN_MS, ORIGIN_MS + STAGE_HOURS * HOUR_MS, only="stage")


def test_calls_per_edge_and_request_agree_with_the_table(long_run: Emitted) -> None:
    spans = long_run.by_id()
    requests: Counter[str] = Counter()
    calls: Counter[tuple[str, str, str]] = Counter()
    journey_of = {journey.root.operation: name for name, journey in JOURNEYS.items()}
    journey_of_trace = {}
    for span in long_run.spans:
        if span["kind"] == 2 and not span["parentSpanId"]:
            journey_of_trace[span["traceId"]] = journey_of[span["name"]]
            requests[journey_of[span["name"]]] += 1
    for span in long_run.spans:
        if span["kind"] == 2 and span["parentSpanId"]:
            caller = service(spans[span["traceId"], span["parentSpanId"]])
            calls[journey_of_trace[span["traceId"]], caller, service(span)] += 1
    expected = {
        (name, *edge): mean * requests[name]
        for name, journey in JOURNEYS.items()
        for edge, mean in journey.edges().items()
    }
    assert set(calls) == set(expected)
    for edge, mean in expected.items():
        assert calls[edge] == pytest.approx(mean, rel=0.12, abs=4 * mean**0.5 + 3), edge


def test_every_journey_has_its_share(long_run: Emitted) -> None:
    roots = Counter(span["name"] for span in long_run.spans if span["kind"] == 2 and not span["parentSpanId"])
    for journey in JOURNEYS.values():
        share = roots[journey.root.operation] / roots.total()
        assert share == pytest.approx(journey.weight, abs=0.03), journey.name


@pytest.mark.parametrize("name", ["settings", "pricing", "categories", "products", "stock"])
def test_the_latency_of_a_service_without_calls_is_the_measured_one(long_run: Emitted, name: str) -> None:
    durations = [duration_ms(span) for span in long_run.spans if span["kind"] == 2 and service(span) == name]
    assert len(durations) > 300
    assert median(durations) == pytest.approx(SERVICES[name].latency.p50_ms, rel=0.08)


def test_log_lines_per_call_agree_with_the_table(long_run: Emitted) -> None:
    visits = Counter(service(span) for span in long_run.spans if span["kind"] == 2)
    lines = Counter(service(record) for record in long_run.records if record["severityText"] == "INFO")
    for name in ("orders", "catalog", "reservations", "checkout", "settings"):
        assert lines[name] / visits[name] == pytest.approx(SERVICES[name].info_lines, rel=0.1), name


def test_log_levels_are_as_the_table_says(long_run: Emitted) -> None:
    visits = Counter(service(span) for span in long_run.spans if span["kind"] == 2)
    warnings = Counter(service(record) for record in long_run.records if record["severityText"] == "WARN")
    assert warnings["orders"] / visits["orders"] == pytest.approx(0.592 * LOG_LINES_SHARE, rel=0.15)


def test_quantiles_of_a_latency_come_out_as_they_went_in() -> None:
    latency = Latency(1.0, 4.0, 20.0, 300.0)
    got = [latency.at(probability) for probability in (0.1, 0.5, 0.9, 0.99)]
    assert got == pytest.approx([1.0, 4.0, 20.0, 300.0])


def test_a_latency_rises_with_its_probability_and_stays_finite() -> None:
    latency = SERVICES["orders"].latency
    values = [latency.at(step / 1000) for step in range(1001)]
    assert values == sorted(values)
    assert values[-1] < 2 * latency.p99_ms


def test_the_shop_has_about_forty_services() -> None:
    assert 38 <= len(SERVICES) <= 44


def test_production_gives_its_busiest_services_two_pods() -> None:
    production = next(each for each in deployments(7) if each.name == PRODUCTION)
    twice = {name for name, pods in production.pods.items() if len(pods) == 2}
    assert twice == {"gateway", "orders", "reservations", "catalog", "stock"}


def test_the_mean_request_makes_as_many_calls_as_its_journey() -> None:
    # The recording's own counts per request of the same shape: 16.25 visits, the gateway's among them.
    assert sum(JOURNEYS["search"].edges().values()) + 1 == pytest.approx(16.25, abs=0.1)
    assert sum(JOURNEYS["checkout"].edges().values()) + 1 == pytest.approx(28.6, abs=0.2)


def test_every_call_names_a_service_of_the_table() -> None:
    called: dict[str, set[str]] = defaultdict(set)
    for name, journey in JOURNEYS.items():
        called[name] = set(journey.services()) - SERVICES.keys()
    assert not any(called.values())

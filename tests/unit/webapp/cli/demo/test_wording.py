"""Log lines of the simulated shop: every service has its texts, and they render in its style."""

import json

import pytest

from webapp.cli.demo import wording
from webapp.cli.demo.services import SERVICES

FACTS = {
    "operation": "GET /search",
    "customer": "c-1",
    "order": "o-1",
    "sku": "sku-1",
    "amount": "1.00 EUR",
    "count": 3,
    "ms": 20,
}


def test_every_service_has_something_to_say() -> None:
    assert wording.INFO.keys() == SERVICES.keys()


def test_every_service_that_warns_has_a_warning() -> None:
    assert {name for name, service in SERVICES.items() if service.warn_lines} == wording.WARN.keys()


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_text_can_be_filled(service: str) -> None:
    for text in (*wording.INFO[service], wording.WARN.get(service, "")):
        assert "{" not in wording.line(service, "INFO", text, FACTS).removeprefix("{")


def test_a_plain_service_writes_a_plain_line() -> None:
    assert wording.line("stock", "WARN", "{sku} is low", FACTS) == "WARN  [stock] sku-1 is low"


def test_other_services_write_one_json_object() -> None:
    line = json.loads(wording.line("pricing", "INFO", "{sku} costs {amount}", FACTS))
    assert line == {"level": "info", "logger": "pricing", "message": "sku-1 costs 1.00 EUR", "customer": "c-1"}


def test_a_line_without_a_request_names_no_customer() -> None:
    assert "customer" not in json.loads(wording.line("media-less", "INFO", "{count} done", {"count": 1}))


def test_payments_fail_because_of_the_acquirer() -> None:
    assert wording.fault_of("payments").stacktrace.startswith("shop.payments.AcquirerTimeout: card acquirer")
    assert "PoolExhausted" in wording.fault_of("stock").stacktrace

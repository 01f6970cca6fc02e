"""Two hours of the simulated shop, made once for all tests of its content."""

import pytest

from tests.unit.webapp.cli.demo.emitted import HOUR_MS, ORIGIN_MS, Emitted, emitted
from webapp.cli.demo.shop import Shop


@pytest.fixture(scope="package")
def two_hours() -> Emitted:
    return emitted(Shop(7, ORIGIN_MS), ORIGIN_MS, ORIGIN_MS + 2 * HOUR_MS)

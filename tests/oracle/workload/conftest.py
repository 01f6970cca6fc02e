"""The expressions of public dashboards and rules, where the recorded telemetry is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.workload import Workload


@pytest.fixture(scope="session")
def workload(test_data: Path) -> Workload:
    """Every expression, read."""
    return Workload.read(test_data / "data" / "promql-workload")

"""What every test may ask for: the recorded telemetry beside the checkout, and programs of the machine.

Rule: a test that lacks a part of the machine is skipped by name with what would bring it, never silently.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import hypothesis
import pytest

# How long an example takes is the machine's matter: timings belong in benchmarks.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# A shell that starts us in the background has SIGINT ignored, nohup SIGHUP, and every process we start would inherit
# that; the tests of these signals need them as a terminal gives them.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

Say: TypeAlias = Callable[[str], None]
_SAID = "said"

#: Debian packages that bring the programs some tests run for real.
PACKAGES = {
    "redis-server": "redis-server",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "victoria-metrics": "victoria-metrics",
    "chromium": "chromium",
}


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with `data/` and `recordings/`; skips the test where `APPSENTRY_TEST_DATA` is not set."""
    given = os.environ.get("APPSENTRY_TEST_DATA")
    if not given:
        pytest.skip("APPSENTRY_TEST_DATA is not set: the recorded telemetry is not part of the project")
    folder = Path(given)
    if not (folder / "data").is_dir():
        pytest.fail(f"APPSENTRY_TEST_DATA={given} has no folder data/")
    return folder


def require_program(name: str) -> str:
    """Return the path of a program of the machine; skip the test, naming its package, where it is missing."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install {PACKAGES[name]}")
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the folders in which none is disturbed by another that runs beside it."""
    folders = {Path(__file__).parent / name for name in ("contract", "oracle", "unit")}
    for item in items:
        if folders & set(item.path.parents):
            item.add_marker("paired")


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Say:
    """Put into words what a test has found, for the summary of the run, whichever process it runs in."""
    return lambda text: record_property(_SAID, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests have said."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, ())]
    said = [(report.nodeid, text) for report in reports for name, text in report.user_properties if name == _SAID]
    if said:
        terminalreporter.section("what tests have found")
    for test, text in sorted(said):
        terminalreporter.line(f"{test.rpartition('/')[2]}\n  {text}")


@pytest.fixture(scope="session")
def prometheus_binary() -> str:
    """A real Prometheus server."""
    return require_program("prometheus")

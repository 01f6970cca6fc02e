"""The demo as a user starts it: real processes, six clusters, one answer of each kind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.e2e.command_line import Running, run, wait_until

pytestmark = pytest.mark.heavy
CLUSTERS = ["app-prod", "dev", "prod", "shared-services", "stage", "test"]
RATE = "sum by (cluster) (rate(http_requests_total[5m]))"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def once(folder: Path) -> subprocess.CompletedProcess[str]:
    """One run, in an environment full of somebody else's settings."""
    theirs = {"REDIS_URL": "redis://127.0.0.1:9/0", "AUTH_ENABLED": "true", "CLUSTER_CONFIG": "/nowhere"}
    return run("demo", "--once", folder=folder, **theirs)


@pytest.fixture(scope="module")
def demo(folder: Path) -> Iterator[Running]:
    running = Running("demo", folder=folder)
    running.url()
    yield running
    running.close()


def ask(running: Running, folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Ask a running demo with `--json`; return exit code, body and standard error."""
    done = run(*arguments, "--json", "--server", running.url(), folder=folder)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_once_shows_three_answers_with_a_verdict_and_a_time_for_every_cluster(
    once: subprocess.CompletedProcess[str],
) -> None:
    assert once.returncode == 0, once.stdout + once.stderr
    sections = re.split(r"^── ", once.stdout, flags=re.M)[1:]
    assert len(sections) == 3
    for section in sections:
        verdicts = re.findall(r"^(\S+) +✓ ok +(\d+)", section, flags=re.M)
        assert [name for name, _ in verdicts] == CLUSTERS
        assert "6 of 6 clusters answered" in section


def test_once_shows_a_rate_in_every_cluster(once: subprocess.CompletedProcess[str]) -> None:
    rate = re.split(r"^── ", once.stdout, flags=re.M)[1]
    means = dict(re.findall(r"^━━ +(\S+) +\S+ +\S+ +(\S+)", rate, flags=re.M))
    assert sorted(means) == CLUSTERS
    assert all(float(mean) > 0 for mean in means.values())


def test_once_shows_a_trace_across_three_clusters(once: subprocess.CompletedProcess[str]) -> None:
    trace = re.split(r"^── ", once.stdout, flags=re.M)[2]
    assert "in 3 clusters: app-prod, prod, shared-services" in trace


def test_once_shows_what_went_wrong_in_the_logs(once: subprocess.CompletedProcess[str]) -> None:
    logs = re.split(r"^── ", once.stdout, flags=re.M)[3]
    assert re.search(r"app-prod +error +payments ", logs)


def test_every_cluster_answers_and_the_shop_goes_on(demo: Running, folder: Path) -> None:
    code, first, _ = ask(demo, folder, "query", RATE, "--from", "-10m")
    assert code == 0
    assert sorted(series["metric"]["cluster"] for series in first["result"]) == CLUSTERS

    def newest() -> dict[str, int]:
        rows = ask(demo, folder, "query", RATE, "--at", "now")[1]["coverage"]["clusters"]
        return {row["cluster"]: row["watermarkMs"] for row in rows}

    before = newest()
    wait_until(lambda: newest()["prod"] > before["prod"], lambda: before)


def test_the_openapi_page_is_there(demo: Running) -> None:
    with urlopen(f"{demo.url()}/api/openapi.json", timeout=10) as response:
        assert json.load(response)["openapi"].startswith("3.1")


def test_it_says_what_to_find_and_how_to_ask(demo: Running) -> None:
    demo.until(lambda: "Ctrl-C ends the demo" in demo.said())
    assert "appsentry query 'sum by (cluster) (rate(http_requests_total[5m]))'" in demo.said()
    assert "its card acquirer answers nothing" in demo.said()


def test_the_port_of_a_running_demo_is_busy_and_that_is_said(demo: Running, folder: Path) -> None:
    port = demo.url().rpartition(":")[2]
    done = run("demo", "--once", "--port", port, folder=folder)
    assert done.returncode == 1
    assert f"port {port} is in use by another program; give another with --port" in done.stderr


def test_two_demos_run_side_by_side_and_one_that_is_killed_leaves_nothing(demo: Running, folder: Path) -> None:
    second = Running("demo", "--seed", "7", folder=folder)
    try:
        assert second.url() != demo.url()
        assert ask(second, folder, "query", RATE, "--at", "now")[0] == 0
        assert len(second.family()) >= 6
        second.end(signal.SIGKILL)
        wait_until(lambda: not second.family(), second.family)
        assert ask(demo, folder, "query", RATE, "--at", "now")[0] == 0
    finally:
        second.close()


#: What a role's command line contains, and how messages call it.
ROLES = {
    "web": "gunicorn",
    "cluster worker": " workers cluster ",
    "merge worker": " workers merge ",
    "redis": "redis-server",
    "feeder": "demo.feeder",
}


def test_a_role_that_is_killed_is_started_again_and_it_is_said(folder: Path) -> None:
    running = Running("demo", folder=folder)

    def pids(part: str) -> set[int]:
        return {pid for pid, command in running.family().items() if part in command}

    def answered() -> bool:
        return run("query", RATE, "--at", "now", "--server", running.url(), folder=folder).returncode == 0

    try:
        running.url()
        for title, part in ROLES.items():
            before = pids(part)
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            running.until(lambda title=title: f"{title} ended (signal SIGKILL) and is started again" in running.said())
            running.until(lambda part=part, before=before: bool(pids(part) - before))
            running.until(answered)
        assert running.end(signal.SIGTERM) == 0
        assert running.family() == {}
    finally:
        running.close()


def test_whoever_asks_while_the_web_role_is_dead_is_answered_by_the_next(demo: Running, folder: Path) -> None:
    for pid in [pid for pid, command in demo.family().items() if "gunicorn" in command]:
        os.kill(pid, signal.SIGKILL)
    with urlopen(f"{demo.url()}/health", timeout=60) as response:
        assert response.status == 200


def test_the_feeder_goes_on_behind_what_it_has_written(demo: Running, folder: Path) -> None:
    [feeder] = [pid for pid, command in demo.family().items() if "demo.feeder" in command]
    os.kill(feeder, signal.SIGKILL)
    demo.until(lambda: "feeder ended (signal SIGKILL) and is started again" in demo.said())

    def watermark() -> int:
        rows = ask(demo, folder, "query", RATE, "--at", "now")[1]["coverage"]["clusters"]
        return next(int(row["watermarkMs"] or 0) for row in rows if row["cluster"] == "prod")

    before = watermark()
    wait_until(lambda: watermark() > before + 5_000, watermark)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_it_starts_leaves_no_process(folder: Path, number: signal.Signals) -> None:
    running = Running("demo", folder=folder)
    try:
        running.until(lambda: any("workers" in command for command in running.family().values()))
        assert running.end(number) == 130
        assert running.family() == {}
    finally:
        running.close()


def test_ctrl_c_leaves_no_process_and_no_folder(demo: Running) -> None:
    log = re.search(r"The log of all roles is (\S+)/stack\.log", demo.said())
    assert log is not None
    assert Path(log[1]).is_dir()
    assert demo.end(signal.SIGINT) == 0
    assert demo.family() == {}
    assert not Path(log[1]).exists()

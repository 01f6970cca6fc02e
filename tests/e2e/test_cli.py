"""The commands against roles that are started one by one, so that one of them can be missing."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from federation_core.connectors.stores.redis import EmbeddedRedis
from federation_core.times import format_time
from tests.e2e.command_line import Running, run, wait_until
from tests.support.stack import CLUSTERS, COUNTS, METRIC, write_config, write_stores

pytestmark = pytest.mark.heavy
OTHERS = [name for name in CLUSTERS if name != "stage"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class Roles:
    """An installation whose stage worker is a role of its own."""

    folder: Path
    url: str
    environ: dict[str, str]
    at: str
    web: Running
    stage: Running

    def ask(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command; return exit code, standard output and standard error."""
        done = run(*arguments, folder=self.folder, APPSENTRY_URL=self.url)
        return done.returncode, done.stdout, done.stderr

    def sum(self, *arguments: str) -> tuple[int, dict[str, Any], str]:
        """Ask for the sum of the counter, which tells the clusters it is made of."""
        code, out, err = self.ask("query", f"sum({METRIC})", "--at", self.at, "--json", *arguments)
        return code, json.loads(out), err

    def alive(self) -> set[str]:
        """Return the clusters that a worker serves."""
        code, out, _ = self.ask("clusters", "--json")
        return {row["name"] for row in json.loads(out)["clusters"] if row["worker"]["alive"]} if code == 0 else set()

    def start_stage(self) -> None:
        """Start stage's worker and wait until it works and is known: a killed one counts as alive for a while."""
        self.stage = Running("worker", "--clusters", "stage", folder=self.folder, **self.environ)
        self.stage.until(lambda: '"message": "ready"' in self.stage.said())
        wait_until(lambda: "stage" in self.alive(), self.stage.said)


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    folder = tmp_path_factory.mktemp("roles")
    now_ms = int(time.time() * 1000)
    write_stores(folder / "stores", now_ms)
    write_config(folder / "config", folder / "stores")
    redis = EmbeddedRedis(folder / "redis")
    port = free_port()
    environ = {"APPSENTRY_CONFIG": str(folder / "config"), "REDIS_URL": redis.start(), "AUTH_ENABLED": "false"}
    started = [
        Running(*arguments, folder=folder, **environ)
        for arguments in (
            ("web", "--port", str(port)),
            ("worker", "--clusters", ",".join(OTHERS)),
            ("worker", "--merge"),
            ("beat",),
        )
    ]
    installed = Roles(folder, f"http://127.0.0.1:{port}", environ, format_time(now_ms), started[0], started[0])
    try:
        installed.start_stage()
        wait_until(lambda: installed.alive() == set(CLUSTERS), installed.web.said)
        yield installed
    finally:
        for role in (*started, installed.stage):
            role.close()
        redis.stop()


def test_a_role_becomes_its_process_and_is_not_its_parent(roles: Roles) -> None:
    assert "-m workers cluster --clusters stage" in " ".join(psutil.Process(roles.stage.pid).cmdline())
    assert "gunicorn" in " ".join(psutil.Process(roles.web.pid).cmdline())


def test_json_on_standard_output_is_pure_and_coverage_is_on_standard_error(roles: Roles) -> None:
    code, answer, said = roles.sum()
    assert code == 0
    assert float(answer["result"][0]["value"][1]) == sum(COUNTS.values())
    assert answer["coverage"]["complete"]
    for name in CLUSTERS:
        assert f"{name} " in said


def test_people_get_a_table_with_the_answers_time_and_zone(roles: Roles) -> None:
    code, out, _ = roles.ask("query", METRIC, "--at", roles.at)
    assert code == 0
    assert all(name in out for name in CLUSTERS)
    assert "6 series at " in out
    assert " UTC" in out


def test_narrowing_leaves_the_other_clusters_out_and_stays_complete(roles: Roles) -> None:
    code, answer, said = roles.sum("--clusters", "prod,stage")
    assert code == 0
    assert float(answer["result"][0]["value"][1]) == COUNTS["prod"] + COUNTS["stage"]
    assert "· pruned" in said


def test_logs_and_traces_without_a_match_are_complete_and_say_so(roles: Roles) -> None:
    for arguments in (("logs", "--text", "no such line"), ("traces", "--service", "nobody")):
        code, out, _ = roles.ask(*arguments)
        assert code == 0
        assert "matches in the clusters that answered" in out


def test_a_trace_that_nobody_has_is_an_error_and_not_an_empty_answer(roles: Roles) -> None:
    code, _, said = roles.ask("trace", "ab" * 16)
    assert code == 1
    assert "ab" * 16 in said


@pytest.mark.parametrize("arguments", [("query", "sum(up"), ("query", "up", "--clusters", "nowhere"), ("trace", "12")])
def test_a_wrong_question_exits_2(roles: Roles, arguments: tuple[str, ...]) -> None:
    code, _, said = roles.ask(*arguments)
    assert code == 2
    assert said.startswith("Error: ")


def test_explain_shows_what_each_cluster_would_be_asked(roles: Roles) -> None:
    code, out, _ = roles.ask("query", f"sum({METRIC})", "--explain")
    assert code == 0
    asked = dict(line.split()[:2] for line in out.splitlines() if f" a     sum({METRIC})" in line)
    assert asked == dict.fromkeys(CLUSTERS, "a")


def test_a_cluster_is_shown_backend_by_backend(roles: Roles) -> None:
    wait_until(lambda: roles.ask("clusters", "prod")[0] == 0, roles.stage.said)
    code, out, said = roles.ask("clusters", "prod")
    assert (code, said) == (0, "")
    assert out.startswith("prod (prod)  ✓ healthy  worker ✓ alive\n")
    rows = {line.split()[0]: line.split()[1:4] for line in out.splitlines() if " embedded " in line}
    assert rows == {signal: ["embedded", "✓", "up"] for signal in ("metrics", "traces", "logs")}


def test_a_cluster_that_is_not_there_is_a_wrong_question(roles: Roles) -> None:
    code, out, said = roles.ask("clusters", "nowhere")
    assert (code, out, said) == (2, "", "Error: the token opens no cluster 'nowhere'\n")


def test_a_role_that_is_asked_for_a_busy_port_says_so(roles: Roles) -> None:
    done = run("web", "--port", roles.url.rpartition(":")[2], folder=roles.folder, **roles.environ)
    assert done.returncode == 1
    assert "in use by another program" in done.stderr


def test_a_killed_worker_costs_its_cluster_and_no_more_than_the_deadline(roles: Roles) -> None:
    """Nobody knows yet that it is gone, so the query waits for it: until its deadline and not longer."""
    roles.stage.end(signal.SIGKILL)
    code, answer, said = roles.sum("--timeout", "2s")
    roles.start_stage()
    assert code == 3
    assert float(answer["result"][0]["value"][1]) == sum(COUNTS[name] for name in OTHERS)
    rows = {row["cluster"]: row["verdict"] for row in answer["coverage"]["clusters"]}
    assert rows.pop("stage") in ("timed_out", "no_worker")
    assert set(rows.values()) == {"ok"}
    assert answer["elapsedMs"] <= 2_500
    assert "INCOMPLETE: 5 of 6 clusters answered" in said


def test_a_stopped_worker_is_left_out_at_once_and_named(roles: Roles) -> None:
    assert roles.stage.end(signal.SIGTERM) == 0
    code, answer, said = roles.sum("--timeout", "20s")
    refused, problem, why = roles.sum("--require", "all")
    roles.start_stage()
    assert code == 3
    assert float(answer["result"][0]["value"][1]) == sum(COUNTS[name] for name in OTHERS)
    assert answer["elapsedMs"] < 10_000
    assert "✗ no_worker" in said
    assert "no worker serves the queue cluster.stage" in said
    assert refused == 1
    assert "stage" in problem["detail"]
    assert "✗ no_worker" in why


def test_ended_roles_leave_no_process(roles: Roles) -> None:
    assert len(roles.stage.family()) == 1
    assert roles.stage.end(signal.SIGTERM) == 0
    assert roles.stage.family() == {}
    roles.start_stage()


def test_serve_runs_a_configuration_with_a_redis_of_its_own(roles: Roles) -> None:
    log = roles.folder / "serve.log"
    environ = {name: value for name, value in roles.environ.items() if name != "REDIS_URL"}
    environ["LOG_LEVEL"] = "DEBUG"
    serving = Running("serve", "--port", str(free_port()), "--log", str(log), folder=roles.folder, **environ)
    try:
        done = run(
            "query", f"sum({METRIC})", "--at", roles.at, "--json", "--server", serving.url(), folder=roles.folder
        )
        assert done.returncode == 0
        query_id = json.loads(done.stdout)["queryId"]
        assert any("redis-server" in command for command in serving.family().values())
        assert serving.end(signal.SIGTERM) == 0
        assert serving.family() == {}
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert {"web", "worker", "merge"} <= {line["role"] for line in lines if line.get("query_id") == query_id}
    finally:
        serving.close()


def test_serve_shows_why_a_role_did_not_come_up(roles: Roles) -> None:
    broken = {**roles.environ, "REDIS_URL": "redis://127.0.0.1:9/0"}
    done = run("serve", "--port", str(free_port()), folder=roles.folder, **broken)
    assert done.returncode == 1
    assert "Error: Redis does not answer" in done.stderr


def test_serve_shows_the_last_words_of_a_role_that_ends_while_it_starts(roles: Roles) -> None:
    broken = {name: value for name, value in roles.environ.items() if name != "REDIS_URL"}
    broken["CELERY_LOADER"] = "no.such.loader"
    done = run("serve", "--port", str(free_port()), folder=roles.folder, **broken)
    assert done.returncode == 1
    assert "worker ended (exit status" in done.stderr
    assert "The log of all roles is" in done.stderr
